"""Photos and people are found by what a person calls them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.forget import Unread
from storage.forgotten import read_tombstones, write_tombstones
from storage.ledger import sha256_of
from storage.workspace import Workspace, open_workspace
from tasks.folder import escape, list_files
from tasks.named import Named, Unknown, named
from tests.rows import content_hash, face_row, faces, file_row, files, label_row, labels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    return tmp_path / "photos"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def record(workspace: Workspace, photos: Path, **changed: str | None) -> None:
    """Rows for the folder's files, as extraction would write them, under hashes that stand for their content."""
    rows = [
        file_row(found.path, source=found.source, file_hash=content_hash(found.path)) | changed
        for found in list_files(str(photos))
    ]
    workspace.append("files", files(*rows))


def add(photos: Path, name: str | bytes) -> str:
    path = os.path.join(os.fsencode(photos), os.fsencode(name))
    Path(os.fsdecode(path)).write_bytes(b"content of " + os.fsencode(name))
    return os.fsdecode(path)


@pytest.mark.parametrize("key", ["a.jpg", "100%41.jpg", "tab\there.jpg"])
def test_a_photo_of_a_bucket_is_found_by_its_address(workspace: Workspace, key: str) -> None:
    kept = escape(key.encode())
    workspace.append("files", files(file_row(kept, source="s3://archive/photos", file_hash=content_hash(key))))
    assert named(workspace, [f"s3://archive/photos/{key}"], None).contents == {content_hash(key)}


@pytest.mark.parametrize(
    "name", ["a.jpg", "inner/b.jpg", b"caf\xe9.jpg", "100%41.jpg", "new\nline.jpg", "it's.jpg", "-rf.jpg", "'.jpg"]
)
def test_a_photo_is_found_by_its_path_though_it_is_gone(workspace: Workspace, photos: Path, name: str | bytes) -> None:
    path = add(photos, name)
    record(workspace, photos)
    Path(path).unlink()
    (escaped,) = workspace.scan("files").collect()["path"]
    assert named(workspace, [path], None) == Named(frozenset({content_hash(escaped)}))


def test_a_path_means_what_was_there_and_what_is_there(workspace: Workspace, photos: Path) -> None:
    path = add(photos, "a.jpg")
    record(workspace, photos)
    record(workspace, photos, file_hash=content_hash("an earlier content"))
    expected = {content_hash("a.jpg"), content_hash("an earlier content"), sha256_of(Path(path))}
    assert named(workspace, [path], None).contents == expected


def test_a_path_may_be_relative_or_lead_through_a_link(
    workspace: Workspace, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(photos, "a.jpg")
    record(workspace, photos)
    (photos / "a.jpg").unlink()
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(photos / "inner")
    expected = Named(frozenset({content_hash("a.jpg")}))
    assert named(workspace, ["../a.jpg"], None) == expected
    assert named(workspace, [str(tmp_path / "link" / "a.jpg")], None) == expected


def test_a_link_that_was_listed_as_such_is_found(workspace: Workspace, photos: Path) -> None:
    (photos / "dangling.jpg").symlink_to("gone.jpg")
    record(workspace, photos, file_hash=None)
    found = named(workspace, [str(photos / "dangling.jpg")], None)
    assert found == Named(unread=frozenset({Unread(str(photos), "dangling.jpg")}))


def test_a_photo_that_was_never_met_is_meant_by_its_file(workspace: Workspace, photos: Path) -> None:
    path = add(photos, "new.jpg")
    assert named(workspace, [path], None) == Named(frozenset({sha256_of(Path(path))}))


@pytest.mark.parametrize("written", [str.lower, str.upper])
def test_a_photo_is_found_by_its_hash(workspace: Workspace, written: Callable[[str], str]) -> None:
    workspace.append("faces", faces(face_row("a.jpg")))
    assert named(workspace, [written(content_hash("a.jpg"))], None) == Named(frozenset({content_hash("a.jpg")}))


def test_what_is_forgotten_already_can_be_named_again(workspace: Workspace) -> None:
    write_tombstones(workspace, read_tombstones(workspace).with_contents([content_hash("a.jpg")]))
    assert named(workspace, [content_hash("a.jpg")], None).contents == {content_hash("a.jpg")}


def test_a_subject_means_each_of_its_photos(workspace: Workspace) -> None:
    of_anna = [label_row(name, subject_id="anna") for name in ("a.jpg", "b.jpg")]
    workspace.append("labels", labels(*of_anna, label_row("c.jpg", subject_id="ben")))
    assert named(workspace, [], "anna").contents == {content_hash("a.jpg"), content_hash("b.jpg")}


def test_blanks_around_a_subject_make_nobody_else_of_it(workspace: Workspace) -> None:
    workspace.append("labels", labels(label_row("a.jpg", subject_id=" 7"), label_row("b.jpg", subject_id="7")))
    assert named(workspace, [], "7 ").contents == {content_hash("a.jpg"), content_hash("b.jpg")}


def test_photos_and_a_subject_add_up(workspace: Workspace) -> None:
    workspace.append("labels", labels(label_row("a.jpg", subject_id="anna"), label_row("c.jpg", subject_id="ben")))
    found = named(workspace, [content_hash("c.jpg")], "anna")
    assert found.contents == {content_hash("a.jpg"), content_hash("c.jpg")}


@pytest.mark.parametrize("photo", ["/no/such/photo.jpg", "0" * 64, ".", ""])
def test_what_nobody_knows_is_refused(workspace: Workspace, photo: str) -> None:
    workspace.append("files", files(file_row("a.jpg")))
    with pytest.raises(Unknown):
        named(workspace, [photo], None)


def test_a_subject_that_nobody_knows_is_refused(workspace: Workspace) -> None:
    workspace.append("labels", labels(label_row("a.jpg", subject_id="ben")))
    with pytest.raises(Unknown, match="anna"):
        named(workspace, [], "anna")
