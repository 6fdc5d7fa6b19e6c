"""Every name in a folder comes out once, whatever it is; what mustn't be opened comes with its reason."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.values import FileStatus
from storage.workspace import Workspace, open_workspace
from tasks.contents import still_to_do
from tasks.folder import BadFolder, Found, escape, growing, list_files, unescape
from tests.rows import FINGERPRINT, file_row, files

LATIN1 = b"caf\xe9 \xff.jpg"


def by_path(folder: Path) -> dict[str, Found]:
    listed = list(list_files(str(folder)))
    found = {each.path: each for each in listed}
    assert len(found) == len(listed)
    return found


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """A folder with one of every kind of thing that a name can stand for."""
    folder, outside = tmp_path / "photos", tmp_path / "outside"
    for path in (folder / "sub", folder / "directory.jpg", outside):
        path.mkdir(parents=True)
    for name in (
        "photo.jpg",
        "notes.txt",
        ".hidden.jpg",
        "sub/photo.jpg",
        "-rf.jpg",
        "line\nbreak.jpg",
        "%s{0}'\".jpg",
    ):
        (folder / name).write_bytes(b"content")
    (outside / "secret.jpg").write_bytes(b"secret")
    with open(os.path.join(os.fsencode(folder), LATIN1), "wb"):
        pass
    (folder / "inside link.jpg").symlink_to(folder / "photo.jpg")
    (folder / "outside link.jpg").symlink_to(outside / "secret.jpg")
    (folder / "relative outside link.jpg").symlink_to("../outside/secret.jpg")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "up").symlink_to("..")
    (folder / "self").symlink_to(".")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(folder / "socket.jpg"))
    return folder


REFUSED = {
    "outside link.jpg": FileStatus.UNSUPPORTED,
    "relative outside link.jpg": FileStatus.UNSUPPORTED,
    "dangling.jpg": FileStatus.UNREADABLE,
    "loop.jpg": FileStatus.UNREADABLE,
    "up": FileStatus.UNSUPPORTED,
    "self": FileStatus.UNSUPPORTED,
    "zero.jpg": FileStatus.UNSUPPORTED,
    "pipe.jpg": FileStatus.NOT_AN_IMAGE,
    "socket.jpg": FileStatus.NOT_AN_IMAGE,
}
OPENED = {
    "photo.jpg",
    "notes.txt",
    ".hidden.jpg",
    "sub/photo.jpg",
    "-rf.jpg",
    "line%0Abreak.jpg",
    "%s{0}'\".jpg",
    "caf%E9 %FF.jpg",
    "inside link.jpg",
}


def test_every_name_comes_out_once(odd_folder: Path) -> None:
    assert set(by_path(odd_folder)) == OPENED | set(REFUSED)


def test_what_must_not_be_opened_is_refused(odd_folder: Path) -> None:
    assert {path: found.refusal for path, found in by_path(odd_folder).items() if found.refusal} == REFUSED


def test_every_refusal_has_a_reason(odd_folder: Path) -> None:
    assert [path for path, found in by_path(odd_folder).items() if bool(found.refusal) != bool(found.reason)] == []


def test_every_path_leads_back_to_its_file(odd_folder: Path) -> None:
    listed = by_path(odd_folder)
    assert [path for path, found in listed.items() if not os.path.lexists(found.full_path())] == []
    assert listed["caf%E9 %FF.jpg"].full_path().endswith(b"/" + LATIN1)


def test_two_listings_are_equal(odd_folder: Path) -> None:
    assert list(list_files(str(odd_folder))) == list(list_files(str(odd_folder)))


def test_a_link_has_the_size_and_time_of_what_it_leads_to(odd_folder: Path) -> None:
    listed = by_path(odd_folder)
    assert (listed["inside link.jpg"].size, listed["inside link.jpg"].mtime_ns) == (
        listed["photo.jpg"].size,
        listed["photo.jpg"].mtime_ns,
    )


def test_composed_and_decomposed_names_are_two(tmp_path: Path) -> None:
    for name in ("caf\u00e9.jpg", "cafe\u0301.jpg"):
        (tmp_path / name).touch()
    assert len(by_path(tmp_path)) == 2


def test_a_name_of_255_bytes_is_listed(tmp_path: Path) -> None:
    (tmp_path / ("x" * 251 + ".jpg")).touch()
    assert len(by_path(tmp_path)) == 1


def test_a_folder_named_in_latin_1_is_a_source_like_another(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(folder)
    with open(os.path.join(folder, b"photo.jpg"), "wb"):
        pass
    (found,) = list_files(os.fsdecode(folder))
    assert found.full_path() == os.path.join(os.path.realpath(folder), b"photo.jpg")


def test_a_folder_given_by_a_link_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/photo.jpg").touch()
    (tmp_path / "link").symlink_to("real")
    assert list(list_files(str(tmp_path / "link"))) == list(list_files(str(tmp_path / "real")))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFolder, match="no such folder"):
        list(list_files(str(tmp_path / "nothing")))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(BadFolder, match="not a folder"):
        list(list_files(str(tmp_path / "photo.jpg")))


def test_a_folder_can_be_left_out(tmp_path: Path) -> None:
    for name in ("workspace", "workspace2", "sub/workspace"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "photo.jpg").touch()
    listed = [found.path for found in list_files(str(tmp_path), leave_out=str(tmp_path / "workspace"))]
    assert listed == ["sub/workspace/photo.jpg", "workspace2/photo.jpg"]


def test_a_folder_is_left_out_though_it_is_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real/workspace").mkdir(parents=True)
    (tmp_path / "real/workspace/photo.jpg").touch()
    (tmp_path / "link").symlink_to("real")
    assert list(list_files(str(tmp_path / "link"), leave_out=str(tmp_path / "link/workspace"))) == []


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that other users can enter, unlike tmp_path."""
    folder = Path(tempfile.mkdtemp(prefix="faceline-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def without_rights(open_to_all: Path) -> Iterator[Path]:
    """The same, and this process isn't root, for whom every folder is open."""
    as_root = os.geteuid() == 0
    (open_to_all / "closed").mkdir(mode=0o000)
    (open_to_all / "closed").chmod(0o000)
    (open_to_all / "listed").mkdir()
    (open_to_all / "listed" / "a.jpg").write_bytes(b"a")
    (open_to_all / "listed").chmod(0o444)
    if as_root:
        os.seteuid(65534)
    yield open_to_all
    if as_root:
        os.seteuid(0)
    for name in ("closed", "listed"):
        (open_to_all / name).chmod(0o700)


def test_folders_a_thousand_deep_are_listed(tmp_path: Path) -> None:
    deepest = tmp_path / "deep"
    deepest.mkdir()
    try:
        for _ in range(1500):
            deepest /= "d"
            deepest.mkdir()
        (deepest / "a.jpg").write_bytes(b"a")
        assert [found.path for found in list_files(str(tmp_path / "deep"))] == ["d/" * 1500 + "a.jpg"]
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "deep")], check=True)  # shutil's calls itself, as os.walk does


def test_a_folder_that_cannot_be_listed_has_a_row(without_rights: Path) -> None:
    assert by_path(without_rights)["closed"].refusal == FileStatus.UNREADABLE


def test_a_file_whose_folder_cannot_be_entered_has_a_reason(without_rights: Path) -> None:
    found = by_path(without_rights)["listed/a.jpg"]
    assert (found.refusal, found.reason) == (FileStatus.UNREADABLE, "can't be looked at: Permission denied")


def test_a_source_that_cannot_be_listed_is_refused(without_rights: Path) -> None:
    with pytest.raises(BadFolder, match="can't be listed"):
        list(list_files(str(without_rights / "closed")))


@given(st.binary(min_size=1).filter(lambda name: b"\x00" not in name and b"/" not in name))
@example(b"100%25.jpg")
@example(b"%\xff%41%%4")
@example(b"\xed\xa0\x80.jpg")
def test_an_escaped_name_gives_back_its_bytes(name: bytes) -> None:
    assert unescape(escape(name)) == name


@given(st.binary(min_size=1))
def test_an_escaped_name_is_printable_utf8_on_one_line(name: bytes) -> None:
    text = escape(name)
    assert text.encode("utf-8")
    assert not any(character < " " or character == "\x7f" for character in text)


def test_a_common_name_is_left_as_it_is() -> None:
    name = "Sommer 2019/100 % Großeltern (日本).jpg"
    assert escape(name.encode()) == name


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def test_all_is_to_do_in_a_new_workspace(workspace: Workspace) -> None:
    listed = [Found("/photos", f"{index}.jpg", 1000, 1) for index in range(3)]
    assert still_to_do(listed, workspace, [FINGERPRINT]) == listed


def test_nothing_is_to_do_in_an_empty_folder(workspace: Workspace) -> None:
    assert still_to_do([], workspace, [FINGERPRINT]) == []


def test_only_what_has_no_row_for_the_same_content_and_settings_is_to_do(workspace: Workspace) -> None:
    workspace.append("files", files(*(file_row(f"{name}.jpg") for name in ("done", "grown", "touched"))))
    workspace.append("files", files(file_row("failed.jpg", status=FileStatus.UNREADABLE, file_hash=None)))
    workspace.append("files", files(file_row("other settings.jpg", fingerprint="0" * 16)))
    listed = [
        Found("/photos", "done.jpg", 1000, 1),
        Found("/photos", "touched.jpg", 1000, 2),
        Found("/photos", "grown.jpg", 1001, 1),
        Found("/photos", "failed.jpg", 1000, 1),
        Found("/photos", "other settings.jpg", 1000, 1),
        Found("/elsewhere", "done.jpg", 1000, 1),
        Found("/photos", "new.jpg", 1000, 1),
    ]
    assert still_to_do(listed, workspace, [FINGERPRINT]) == [*listed[1:3], *listed[4:]]


@pytest.mark.parametrize(
    ("age_s", "still"), [(0, True), (50, True), (70, False), (-50, True), (-70, False), (-3e9, False), (1.7e9, False)]
)
def test_a_file_grows_while_it_changed_within_the_minute(age_s: float, still: bool, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"half of it")
    changed = time.time() - age_s
    os.utime(tmp_path / "photo.jpg", (changed, changed))
    (found,) = list_files(str(tmp_path))
    assert growing(found, 60) == still


def test_a_link_grows_with_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"whole")
    os.utime(tmp_path / "photo.jpg", (1, 1))
    (tmp_path / "link.jpg").symlink_to("photo.jpg")
    assert [found.path for found in list_files(str(tmp_path)) if growing(found, 60)] == []


def test_nothing_grows_when_nothing_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    (found,) = list_files(str(tmp_path))
    assert not growing(found, 0)


def test_what_is_refused_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (found,) = list_files(str(tmp_path))
    assert not growing(found, 60)
