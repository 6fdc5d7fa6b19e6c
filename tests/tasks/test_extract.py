"""One photo to faces, one content once, and a row for every file."""

import csv
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from models.session import OnnxModel
from storage.choices import Finding
from storage.forgotten import read_tombstones, write_tombstones
from storage.registry import model_content
from storage.settings import ExtractSettings
from storage.values import SMALLEST_JUDGED_SIDE, FileStatus
from storage.workspace import Workspace, open_workspace
from tasks.contents import Contents, drop_unread, still_to_do
from tasks.crop import decode_crops
from tasks.decode import Photo, decode
from tasks.detect import Box, Detect, detector_file
from tasks.extract import Extraction, look_at
from tasks.folder import LEADS_NOWHERE, Found, list_files
from tasks.heif import MISSING
from tasks.read import (
    Ask,
    Face,
    PhotoReader,
    cut_faces,
    finding_of,
    finer_side,
    is_known,
    photo_workers,
    sight,
)
from tasks.upright import Sighting, turned_back
from tasks.upright import turned as turned_pixels
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
        contents = Contents(open_workspace(str(tmp_path / "other")), ["0" * 16])
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
    of_file = reader(Ask(os.fsencode(hopper)))
    assert reader(Ask(content=hopper.read_bytes())) == replace(of_file, size=None, mtime_ns=None)


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


def cut(photo: Photo, detect: Detect) -> list[Face]:
    return cut_faces(photo, sight(photo, FINDING, detect), FINDING)


def test_what_lies_outside_or_has_no_size_is_no_face() -> None:
    def stub_detector(pixels: np.ndarray) -> list[Box]:
        return [Box(10, 10, 3.9, 40), Box(-50, 10, 60, 60), Box(10, 10, 4, 4), Box(90, 90, 30, 30)]

    found = cut(Photo(np.zeros((100, 100, 3), np.uint8), 1.0), stub_detector)
    assert [(face.box.x, face.box.y) for face in found] == [(10, 10)]


def test_a_small_face_is_kept_and_measured_in_the_full_size_photo() -> None:
    def stub_detector(pixels: np.ndarray) -> list[Box]:
        return [Box(10, 10, 4, 5)]

    (found,) = cut(Photo(np.zeros((100, 100, 3), np.uint8), 0.25), stub_detector)
    assert (found.box.width, found.box.height) == (16, 20)


def test_a_small_face_of_a_large_photo_is_cut_from_more_pixels_than_it_was_found_in(
    reader: PhotoReader, collins: Path
) -> None:
    canvas = Image.new("RGB", (4000, 3000), (120, 120, 120))
    canvas.paste(Image.open(collins).convert("RGB").resize((360, 360), Image.Resampling.LANCZOS), (2000, 1000))
    content = encoded(canvas, "JPEG", quality=95)
    [face] = reader(Ask(content=content)).faces or ()
    coarse = decode(content, max_pixels=10**8, decode_side=FINDING.decode_side)
    [blurred] = cut_faces(coarse, Sighting(0, [face.box.scaled(coarse.scale)]), FINDING)
    assert coarse.scale == 0.5
    assert SMALLEST_JUDGED_SIDE < face.box.height < 2 * SMALLEST_JUDGED_SIDE
    assert face.sharpness > 2 * blurred.sharpness


@pytest.mark.parametrize(("side", "scale", "needed"), [(47, 0.5, 818), (48, 0.5, None), (12, 0.25, 3200), (9, 1, None)])
def test_a_photo_is_decoded_again_only_for_a_face_that_is_too_small(
    side: int, scale: float, needed: int | None
) -> None:
    photo = Photo(np.zeros((600, 800, 3), np.uint8), scale)
    boxes = [Box(10, 10, 200, 200), Box(400, 10, side - 5, side)]
    assert finer_side(photo, Sighting(0, boxes)) == needed


def test_a_photo_without_a_face_is_decoded_once() -> None:
    assert finer_side(Photo(np.zeros((600, 800, 3), np.uint8), 0.5), Sighting(0, [])) is None


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("name", ["hopper", "collins"])
@pytest.mark.slow
def test_a_photo_that_lies_gives_an_upright_crop_and_a_box_where_the_face_is(
    reader: PhotoReader, name: str, rotation: int, request: pytest.FixtureRequest
) -> None:
    pixels = np.asarray(Image.open(request.getfixturevalue(name)).convert("RGB"))
    lying = turned_pixels(pixels, 360 - rotation)
    [upright], [found] = (
        reader(Ask(content=encoded(Image.fromarray(one), "PNG"))).faces or () for one in (pixels, lying)
    )
    assert (upright.rotation, found.rotation) == (0, rotation)
    assert overlap(found.box, turned_back(upright.box, rotation, lying.shape[1::-1])) > 0.8
    crops = decode_crops([upright.crop, found.crop]).astype(float)
    assert np.abs(crops[0] - crops[1]).mean() < 20
    assert np.abs(crops[0] - crops[1][::-1]).mean() > 30


@pytest.mark.slow
def test_a_turned_photo_is_judged_nearly_as_the_upright_one(reader: PhotoReader, shared: Path) -> None:
    """Of 28 LFW faces, ages differ by 0.2 to 0.4 years on average and 1.8 at most; by 10 to 32 if judged lying."""
    content, version = model_content(None, "pretrained")
    model = OnnxModel(content, version, "cpu")
    for photo in sorted((shared / "data/lfw/images").glob("*.jpg"))[::240]:
        pixels = np.asarray(Image.open(photo).convert("RGB"))
        lying = [encoded(Image.fromarray(turned_pixels(pixels, turn)), "PNG") for turn in (0, 90, 180, 270)]
        faces = [(reader(Ask(content=content)).faces or ())[0] for content in lying]
        ages = model(decode_crops([face.crop for face in faces])).age
        assert [face.rotation for face in faces] == [0, 270, 180, 90]
        assert np.abs(ages - ages[0]).max() < 3
        assert np.abs(ages - ages[0]).mean() < 1


def test_turns_can_be_left_out(hopper: Path) -> None:
    finding = finding_of(settings_of(turns=False), DETECTOR, 0.03, 128)
    upside_down = encoded(Image.open(hopper).rotate(180), "PNG")
    looked = PhotoReader(finding, DETECTOR, None)(Ask(content=upside_down))
    assert [face.rotation for face in looked.faces or ()] in ([], [0])
    assert finding.fingerprint() != FINDING.fingerprint()


def test_haar_is_not_asked_about_turned_photos() -> None:
    """Of 206 pictures without a face it finds one in 13 as they are, and in 19 more once they are turned."""
    assert finding_of(settings_of(detector="haar"), DETECTOR, 0.03, 128).turns == ()


@pytest.mark.timeout(120)  # who waits for a pipe waits for ever
def test_a_photo_that_became_a_pipe_is_not_waited_for(tmp_path: Path, forgetful: Extraction, hopper: Path) -> None:
    photo = tmp_path / "photos/a.jpg"
    photo.parent.mkdir()
    photo.write_bytes(hopper.read_bytes())
    listed = list(list_files(str(photo.parent)))
    photo.unlink()
    os.mkfifo(photo)
    assert statuses_within(20, listed, forgetful) == [FileStatus.NOT_AN_IMAGE]


@pytest.mark.timeout(120)
def test_a_file_that_takes_hours_to_hash_takes_no_longer_than_a_photo_may(
    tmp_path: Path, forgetful: Extraction, hopper: Path
) -> None:
    (tmp_path / "photos").mkdir()
    with (tmp_path / "photos/huge.jpg").open("wb") as stream:
        stream.truncate(8 * 2**40)  # sparse: nothing on disk
    (tmp_path / "photos/small.jpg").write_bytes(hopper.read_bytes())
    assert statuses_within(3, list(list_files(str(tmp_path / "photos"))), forgetful) == [FileStatus.TOO_LARGE]


@pytest.mark.slow
def test_the_turn_is_in_the_table(tmp_path: Path, extraction: Extraction, hopper: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.open(hopper).rotate(90, expand=True).save(tmp_path / "photos/lying.png")
    faces = extraction.new_faces(looked_at(tmp_path / "photos", extraction, tmp_path))
    assert faces["rotation"].to_pylist() == [90]


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


def test_a_forgotten_content_is_not_decoded_even_when_asked_again(workspace: Workspace, hopper: Path) -> None:
    tombstones = read_tombstones(workspace).with_contents([hashlib.sha256(hopper.read_bytes()).hexdigest()])
    looked = PhotoReader(FINDING, DETECTOR, None, tombstones)(Ask(os.fsencode(hopper), again=True))
    assert looked.faces is None


def test_no_content_is_known_in_a_new_workspace(known_file: Callable[[list[str]], Path], hopper: Path) -> None:
    assert PhotoReader(FINDING, DETECTOR, known_file([]))(Ask(os.fsencode(hopper))).faces


def test_contents_know_what_was_extracted_with_the_same_settings(workspace: Workspace) -> None:
    fingerprint = FINDING.fingerprint()
    workspace.append("files", files(file_row("done.jpg", fingerprint=fingerprint), file_row("other settings.jpg")))
    workspace.append("faces", faces(face_row("half done.jpg", fingerprint=fingerprint)))
    contents = Contents(workspace, [fingerprint])
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
    (recalled,) = Contents(workspace, [fingerprint]).recall([content_hash("bad.jpg"), content_hash("new.jpg")]).values()
    assert (recalled.status, recalled.detail, recalled.faces) == (FileStatus.TRUNCATED, "cut", None)


def test_what_lacked_pillow_heif_is_read_again_once_it_is_there(workspace: Workspace) -> None:
    lacking = file_row("a.heic", status=FileStatus.UNREADABLE, detail=MISSING, face_count=0)
    workspace.append("files", files(lacking, file_row("b.jpg")))
    drop_unread(workspace, [])
    assert workspace.scan("files").collect()["path"].to_list() == ["b.jpg"]


def test_what_lacks_pillow_heif_is_not_tried_again_without_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.append("files", files(file_row("a.heic", status=FileStatus.UNREADABLE, detail=MISSING, face_count=0)))
    monkeypatch.setattr("tasks.contents.can_read_heif", lambda: False)  # stands for a machine without the extra
    drop_unread(workspace, [])
    assert workspace.scan("files").collect().height == 1


def test_what_could_not_be_opened_is_tried_again_where_the_run_looks(workspace: Workspace) -> None:
    """A chmod changes neither the size nor the time."""
    shut = {"status": FileStatus.UNREADABLE, "file_hash": None, "detail": "no permission", "face_count": 0}
    refused = file_row("refused.jpg", status=FileStatus.UNREADABLE, detail="its decoder refused it", face_count=0)
    link = file_row("link.jpg", **shut | {"detail": LEADS_NOWHERE}, source="/o'clock")
    here = [file_row("shut.jpg", source="/o'clock", **shut), file_row("whole.jpg", source="/o'clock"), link, refused]
    workspace.append("files", files(*here, file_row("shut elsewhere.jpg", source="/elsewhere", **shut)))
    drop_unread(workspace, ["/o'clock"])
    assert workspace.scan("files").collect()["path"].sort().to_list() == [
        "link.jpg",
        "refused.jpg",
        "shut elsewhere.jpg",
        "whole.jpg",
    ]


@pytest.mark.slow
def test_a_heic_photo_gives_the_face_that_its_jpeg_gives(reader: PhotoReader, collins: Path) -> None:
    picture = Image.open(collins).convert("RGB")
    [heic], [jpeg] = (
        reader(Ask(content=turned(picture, kind, 6, quality=95))).faces or () for kind in ("HEIF", "JPEG")
    )
    assert (heic.rotation, jpeg.rotation) == (0, 0)
    assert overlap(heic.box, jpeg.box) > 0.95


def test_a_hash_that_only_begins_alike_is_confirmed_in_the_tables(workspace: Workspace) -> None:
    contents = Contents(workspace, FINDING.fingerprints())
    contents.remember(["ab" * 32])
    twin = "ab" * 8 + "cd" * 24
    assert is_known(contents.prefixes, twin)
    assert contents.is_new(twin)


def test_nothing_is_known_to_no_prefixes() -> None:
    assert not is_known(np.empty(0, np.uint64), "ff" * 32)


@pytest.fixture
def extraction(workspace: Workspace) -> Extraction:
    return Extraction(workspace, FINDING, Contents(workspace, FINDING.fingerprints()), "run")


def looked_at(
    folder: Path, extraction: Extraction, tmp_path: Path, finding: Finding = FINDING
) -> list[tuple[Found, object]]:
    np.save(tmp_path / "known.npy", extraction.contents.prefixes)
    with photo_workers(settings_of(), finding, tmp_path / "known.npy") as photos:
        return look_at(list(list_files(str(folder))), photos, extraction.contents)


@pytest.fixture
def forgetful(workspace: Workspace, hopper: Path) -> Extraction:
    """The extraction of a workspace in which a photo was forgotten."""
    forgotten = hashlib.sha256(hopper.read_bytes()).hexdigest()
    write_tombstones(workspace, read_tombstones(workspace).with_contents([forgotten]))
    return Extraction(workspace, FINDING, Contents(workspace, FINDING.fingerprints()), "run")


def statuses_within(timeout_s: float, listed: list[Found], extraction: Extraction) -> list[FileStatus]:
    settings = ExtractSettings(folders=["."], workers=1, photo_timeout_s=timeout_s)
    with photo_workers(settings, FINDING, None, extraction.contents.tombstones) as photos:
        return [looked.status for _, looked in look_at(listed, photos, extraction.contents)]


@pytest.fixture(autouse=True, scope="module")
def importable() -> Iterator[None]:
    sys.path.insert(0, str(Path(__file__).parent.parent.parent))
    yield
    sys.path.pop(0)


def test_what_c_libraries_say_of_a_damaged_photo_stays_off_the_terminal(
    extraction: Extraction, collins: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cut.png").write_bytes(collins.read_bytes()[:99_999])  # libpng: its input is incomplete
    [(_, looked)] = looked_at(tmp_path / "photos", extraction, tmp_path)
    assert (getattr(looked, "status", None), capfd.readouterr().err) == (FileStatus.TRUNCATED, "")


def test_what_is_written_after_a_photo_reaches_the_terminal(
    reader: PhotoReader, hopper: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / "cut.jpg").write_bytes(hopper.read_bytes()[:5000])
    open_before = os.listdir("/dev/fd")
    statuses = [reader(Ask(os.fsencode(path))).status for path in (hopper, tmp_path / "cut.jpg")]
    os.write(2, b"a traceback")
    assert statuses == [FileStatus.OK, FileStatus.TRUNCATED]
    assert capfd.readouterr().err == "a traceback"
    assert os.listdir("/dev/fd") == open_before


def commit(extraction: Extraction, looked) -> None:
    extraction.workspace.append("faces", extraction.new_faces(looked))
    extraction.workspace.append("files", extraction.file_rows(looked))


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True], ids=["new", "known already"])
def test_a_photo_that_was_replaced_since_its_listing_has_a_row_of_what_was_read(
    tmp_path: Path, extraction: Extraction, hopper: Path, coffee: Path, known: bool
) -> None:
    """Or the next run would read it again, and give it a second row."""
    folder = tmp_path / "photos"
    folder.mkdir()
    if known:
        (folder / "first.png").write_bytes(coffee.read_bytes())
        commit(extraction, looked_at(folder, extraction, tmp_path))
        extraction.contents.remember([hashlib.sha256(coffee.read_bytes()).hexdigest()])
    (folder / "a.jpg").write_bytes(hopper.read_bytes())
    listed = [found for found in list_files(str(folder)) if found.path == "a.jpg"]
    (folder / "a.jpg").write_bytes(coffee.read_bytes())
    os.utime(folder / "a.jpg", (1_700_000_000, 1_700_000_000))
    np.save(tmp_path / "known.npy", extraction.contents.prefixes)
    with photo_workers(settings_of(), FINDING, tmp_path / "known.npy") as photos:
        commit(extraction, look_at(listed, photos, extraction.contents))
    row = extraction.workspace.scan("files").collect().row(by_predicate=pl.col("path") == "a.jpg", named=True)
    size = len(coffee.read_bytes())
    assert (row["size"], row["mtime_ns"]) == (size, 1_700_000_000 * 10**9)
    assert still_to_do(list(list_files(str(folder))), extraction.workspace, FINDING.fingerprints()) == []


@pytest.mark.slow
def test_one_content_at_two_paths_has_two_rows_and_its_faces_once(
    tmp_path: Path, extraction: Extraction, hopper: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_bytes(hopper.read_bytes())
    looked = looked_at(tmp_path / "photos", extraction, tmp_path)
    assert extraction.new_faces(looked).num_rows == 1
    assert extraction.file_rows(looked)["face_count"].to_pylist() == [1, 1]


@pytest.mark.slow
def test_a_renamed_photo_is_known_by_its_content(tmp_path: Path, workspace: Workspace, hopper: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(hopper.read_bytes())
    first = Extraction(workspace, FINDING, Contents(workspace, FINDING.fingerprints()), "first")
    commit(first, looked_at(tmp_path / "photos", first, tmp_path))
    (tmp_path / "photos/a.jpg").rename(tmp_path / "photos/renamed.jpg")
    second = Extraction(workspace, FINDING, Contents(workspace, FINDING.fingerprints()), "second")
    looked = looked_at(tmp_path / "photos", second, tmp_path)
    assert [seen.faces for _, seen in looked] == [None]
    assert second.new_faces(looked).num_rows == 0
    assert second.file_rows(looked)["face_count"].to_pylist() == [1]


@pytest.mark.slow
def test_every_file_of_the_damaged_corpus_has_a_row_with_a_status_that_is_expected(
    shared: Path, tmp_path: Path, extraction: Extraction
) -> None:
    folder = shared / "data/bad_images"
    with (folder / "EXPECTED.csv").open() as stream:
        expected = {row["file"]: row["status_any_of"].split("|") for row in csv.DictReader(stream)}
    rows = extraction.file_rows(looked_at(folder, extraction, tmp_path)).to_pylist()
    statuses = {row["path"]: row["status"] for row in rows if row["path"] in expected}
    expected["hopper.heif"].append(FileStatus.OK)  # the table is of decoders without pillow-heif, which is here
    assert {path: status for path, status in statuses.items() if status not in expected[path]} == {}
    assert len(statuses) == len(expected) > 60
    assert [row["path"] for row in rows if row["status"] != "ok" and not row["detail"]] == []
