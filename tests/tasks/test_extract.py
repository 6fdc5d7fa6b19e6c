"""One photo to faces, one content once, and a row for every file."""

import csv
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from storage.schemas import FileStatus
from storage.settings import ExtractSettings, Finding
from storage.workspace import Workspace, open_workspace
from tasks.contents import Contents
from tasks.decode import Photo
from tasks.detect import Box, detector_file
from tasks.extract import Extraction, look_at
from tasks.folder import Found, list_files
from tasks.read import Ask, PhotoReader, faces_in, finding_of, is_known, photo_workers
from tests.pictures import encoded, turned
from tests.rows import content_hash, face_row, faces, file_row, files
from tests.tasks.test_detect import overlap

DETECTOR = detector_file("centerface", None, fetch=False)


def settings_of(**changed) -> ExtractSettings:
    return ExtractSettings(folders=["."], workers=1, photo_timeout_s=20, **changed)


FINDING = finding_of(settings_of(), DETECTOR, 0.03, 128)


@pytest.fixture(scope="module")
def reader() -> PhotoReader:
    return PhotoReader(FINDING, DETECTOR, None)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


@pytest.fixture
def known_file(tmp_path: Path) -> Callable[[list[str]], Path]:
    """Writes the prefixes of hashes as a run does."""

    def write(hashes: list[str]) -> Path:
        contents = Contents(open_workspace(str(tmp_path / "other")), "0" * 16)
        contents.remember(hashes)
        np.save(tmp_path / "known.npy", contents.prefixes)
        return tmp_path / "known.npy"

    return write


def test_a_photo_gives_its_face(reader: PhotoReader, hopper: Path) -> None:
    looked = reader(Ask(os.fsencode(hopper)))
    assert (looked.status, looked.file_hash) == (FileStatus.OK, hashlib.sha256(hopper.read_bytes()).hexdigest())
    assert looked.faces is not None
    assert len(looked.faces) == 1


def test_a_crop_is_a_jpeg_of_the_models_side(reader: PhotoReader, hopper: Path, tmp_path: Path) -> None:
    looked = reader(Ask(os.fsencode(hopper)))
    assert looked.faces
    (tmp_path / "crop.jpg").write_bytes(looked.faces[0].crop)
    with Image.open(tmp_path / "crop.jpg") as crop:
        assert (crop.format, crop.size) == ("JPEG", (128, 128))


def test_a_photo_without_a_face_is_fine(reader: PhotoReader, coffee: Path) -> None:
    looked = reader(Ask(os.fsencode(coffee)))
    assert (looked.status, looked.faces) == (FileStatus.OK, ())


def test_a_file_that_is_no_photo_has_a_reason(reader: PhotoReader, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("text")
    looked = reader(Ask(os.fsencode(tmp_path / "a.jpg")))
    assert (looked.status, looked.faces) == (FileStatus.NOT_AN_IMAGE, ())
    assert looked.detail


def test_an_upload_is_looked_at_as_its_file_would_be(reader: PhotoReader, hopper: Path) -> None:
    assert reader(Ask(content=hopper.read_bytes())) == reader(Ask(os.fsencode(hopper)))


def test_a_face_has_its_place_in_the_full_size_photo(reader: PhotoReader, hopper: Path) -> None:
    """Whole, or decoded at a half since the photo is large."""
    large = Image.open(hopper).convert("RGB").resize((2560, 3000), Image.Resampling.BICUBIC)
    small_looked, large_looked = (
        reader(Ask(os.fsencode(hopper))),
        reader(Ask(content=encoded(large, "JPEG", quality=95))),
    )
    assert small_looked.faces
    assert large_looked.faces
    assert overlap(large_looked.faces[0].box, small_looked.faces[0].box.scaled(5)) > 0.8


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_photo_has_its_face_in_the_same_place(reader: PhotoReader, collins: Path, orientation: int) -> None:
    picture = Image.open(collins).convert("RGB")
    upright = reader(Ask(content=encoded(picture, "JPEG", quality=95)))
    looked = reader(Ask(content=turned(picture, "JPEG", orientation, quality=95)))
    assert upright.faces
    assert looked.faces
    one, other = upright.faces[0].box, looked.faces[0].box
    assert [other.x, other.y, other.width, other.height] == pytest.approx([one.x, one.y, one.width, one.height], abs=4)


def test_a_whole_picture_is_one_face(coffee: Path) -> None:
    finding = finding_of(settings_of(faces="whole"), DETECTOR, 0.03, 128)
    looked = PhotoReader(finding, DETECTOR, None)(Ask(os.fsencode(coffee)))
    assert looked.faces
    box = looked.faces[0].box
    assert (box.x, box.y, box.width, box.height, box.score) == (100, 0, 400, 400, None)


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (33, 31), (2, 2000)])
def test_a_picture_of_odd_sides_has_no_face_and_no_error(reader: PhotoReader, shape: tuple[int, int]) -> None:
    looked = reader(Ask(content=encoded(Image.new("RGB", shape, (90, 90, 90)), "PNG")))
    assert (looked.status, looked.faces) == (FileStatus.OK, ())


def test_faces_that_are_too_small_or_outside_are_left_out() -> None:
    def stub_detector(pixels: np.ndarray) -> list[Box]:
        return [Box(10, 10, 15.9, 40), Box(-50, 10, 60, 60), Box(10, 10, 16, 16), Box(90, 90, 30, 30)]

    found = faces_in(Photo(np.zeros((100, 100, 3), np.uint8), 1.0), FINDING, stub_detector)
    assert [(face.box.x, face.box.y) for face in found] == [(10, 10)]


def test_a_small_face_is_measured_in_the_full_size_photo() -> None:
    def stub_detector(pixels: np.ndarray) -> list[Box]:
        return [Box(10, 10, 4, 5)]

    (found,) = faces_in(Photo(np.zeros((100, 100, 3), np.uint8), 0.25), FINDING, stub_detector)
    assert (found.box.width, found.box.height) == (16, 20)


def test_a_known_content_is_not_decoded_again(known_file: Callable[[list[str]], Path], tmp_path: Path) -> None:
    """It can't even be decoded: only its hash counts."""
    (tmp_path / "text.jpg").write_text("not a photo at all")
    known = known_file([hashlib.sha256(b"not a photo at all").hexdigest()])
    looked = PhotoReader(FINDING, DETECTOR, known)(Ask(os.fsencode(tmp_path / "text.jpg")))
    assert looked.faces is None


def test_a_known_content_is_decoded_when_asked_again(known_file: Callable[[list[str]], Path], hopper: Path) -> None:
    known = known_file([hashlib.sha256(hopper.read_bytes()).hexdigest()])
    looked = PhotoReader(FINDING, DETECTOR, known)(Ask(os.fsencode(hopper), again=True))
    assert looked.faces


def test_no_content_is_known_in_a_new_workspace(known_file: Callable[[list[str]], Path], hopper: Path) -> None:
    assert PhotoReader(FINDING, DETECTOR, known_file([]))(Ask(os.fsencode(hopper))).faces


def test_contents_know_what_was_extracted_with_the_same_settings(workspace: Workspace) -> None:
    fingerprint = FINDING.fingerprint()
    workspace.append("files", files(file_row("done.jpg", fingerprint=fingerprint), file_row("other settings.jpg")))
    workspace.append("faces", faces(face_row("half done.jpg", fingerprint=fingerprint)))
    contents = Contents(workspace, fingerprint)
    names = ("done.jpg", "half done.jpg", "other settings.jpg", "new.jpg")
    assert {name: contents.is_new(content_hash(name)) for name in names} == {
        "done.jpg": False,
        "half done.jpg": False,
        "other settings.jpg": True,
        "new.jpg": True,
    }


def test_contents_recall_what_came_of_them(workspace: Workspace) -> None:
    fingerprint = FINDING.fingerprint()
    bad = file_row("bad.jpg", fingerprint=fingerprint, status=FileStatus.TRUNCATED, detail="cut", face_count=0)
    workspace.append("files", files(bad))
    (recalled,) = Contents(workspace, fingerprint).recall([content_hash("bad.jpg"), content_hash("new.jpg")]).values()
    assert (recalled.status, recalled.detail, recalled.faces) == (FileStatus.TRUNCATED, "cut", None)


def test_a_hash_that_only_begins_alike_is_confirmed_in_the_tables(workspace: Workspace) -> None:
    contents = Contents(workspace, FINDING.fingerprint())
    contents.remember(["ab" * 32])
    twin = "ab" * 8 + "cd" * 24
    assert is_known(contents.prefixes, twin)
    assert contents.is_new(twin)


def test_nothing_is_known_to_no_prefixes() -> None:
    assert not is_known(np.empty(0, np.uint64), "ff" * 32)


@pytest.fixture
def extraction(workspace: Workspace) -> Extraction:
    return Extraction(workspace, FINDING, Contents(workspace, FINDING.fingerprint()), "run")


def looked_at(
    folder: Path, extraction: Extraction, tmp_path: Path, finding: Finding = FINDING
) -> list[tuple[Found, object]]:
    np.save(tmp_path / "known.npy", extraction.contents.prefixes)
    with photo_workers(settings_of(), finding, tmp_path / "known.npy") as photos:
        return look_at(list(list_files(str(folder))), photos, extraction.contents)


@pytest.fixture(autouse=True, scope="module")
def importable() -> Iterator[None]:
    sys.path.insert(0, str(Path(__file__).parent.parent.parent))
    yield
    sys.path.pop(0)


def commit(extraction: Extraction, looked) -> None:
    extraction.workspace.append("faces", extraction.new_faces(looked))
    extraction.workspace.append("files", extraction.file_rows(looked))


def test_one_content_at_two_paths_has_two_rows_and_its_faces_once(
    tmp_path: Path, extraction: Extraction, hopper: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_bytes(hopper.read_bytes())
    looked = looked_at(tmp_path / "photos", extraction, tmp_path)
    assert extraction.new_faces(looked).num_rows == 1
    assert extraction.file_rows(looked)["face_count"].to_pylist() == [1, 1]


def test_a_renamed_photo_is_known_by_its_content(tmp_path: Path, workspace: Workspace, hopper: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(hopper.read_bytes())
    first = Extraction(workspace, FINDING, Contents(workspace, FINDING.fingerprint()), "first")
    commit(first, looked_at(tmp_path / "photos", first, tmp_path))
    (tmp_path / "photos/a.jpg").rename(tmp_path / "photos/renamed.jpg")
    second = Extraction(workspace, FINDING, Contents(workspace, FINDING.fingerprint()), "second")
    looked = looked_at(tmp_path / "photos", second, tmp_path)
    assert [seen.faces for _, seen in looked] == [None]
    assert second.new_faces(looked).num_rows == 0
    assert second.file_rows(looked)["face_count"].to_pylist() == [1]


def test_every_file_of_the_damaged_corpus_has_a_row_with_a_status_that_is_expected(
    shared: Path, tmp_path: Path, extraction: Extraction
) -> None:
    folder = shared / "data/bad_images"
    with (folder / "EXPECTED.csv").open() as stream:
        expected = {row["file"]: row["status_any_of"].split("|") for row in csv.DictReader(stream)}
    rows = extraction.file_rows(looked_at(folder, extraction, tmp_path)).to_pylist()
    statuses = {row["path"]: row["status"] for row in rows if row["path"] in expected}
    assert {path: status for path, status in statuses.items() if status not in expected[path]} == {}
    assert len(statuses) == len(expected) > 60
    assert [row["path"] for row in rows if row["status"] != "ok" and not row["detail"]] == []
