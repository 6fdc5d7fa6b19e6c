"""Three detectors find the faces that are there; a model that isn't theirs is refused."""

import csv
import http.server
import threading
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import centerface
from storage.choices import DetectorName
from tasks import detect
from tasks.decode import decode
from tasks.detect import Box, Detect, NoDetector, detector_file, fetch_yunet, file_hash, make_detector
from tasks.upright import find_faces

NAMES: tuple[DetectorName, ...] = ("haar", "centerface", "yunet")


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    both = max(0.0, width) * max(0.0, height)
    return both / (one.width * one.height + other.width * other.height - both)


def pixels_of(path: Path) -> np.ndarray:
    return decode(path.read_bytes(), max_pixels=10**8, decode_side=1280).pixels


@pytest.fixture(scope="module")
def yunet_file(shared: Path) -> Path:
    return shared / "weights/face_detection_yunet_2026may.onnx"


def built(name: DetectorName, shared: Path) -> Detect:
    given = str(shared / "weights/face_detection_yunet_2026may.onnx") if name == "yunet" else None
    return make_detector(name, detector_file(name, given, fetch=False), 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_each_detector_finds_the_one_face(name: DetectorName, shared: Path, hopper: Path) -> None:
    boxes = find_faces(pixels_of(hopper), built(name, shared), 640, ()).boxes
    assert len(boxes) == 1
    assert overlap(boxes[0], Box(175, 125, 180, 205)) > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_no_detector_finds_a_face_in_a_cup_of_coffee(name: DetectorName, shared: Path, coffee: Path) -> None:
    assert find_faces(pixels_of(coffee), built(name, shared), 640, ()).boxes == []


@pytest.mark.parametrize("name", ["centerface", "yunet"])
def test_nearly_all_faces_in_group_photos_are_found(name: DetectorName, shared: Path) -> None:
    truth: dict[str, list[Box]] = defaultdict(list)
    with (shared / "data/photos/boxes.csv").open() as stream:
        for row in csv.DictReader(stream):
            truth[row["file"]].append(Box(*(float(row[side]) for side in ("x", "y", "width", "height"))))
    detector = built(name, shared)
    found = {file: find_faces(pixels_of(shared / "data/photos" / file), detector, 640, ()).boxes for file in truth}
    hits = [any(overlap(box, real) > 0.3 for box in found[file]) for file, boxes in truth.items() for real in boxes]
    assert len(hits) == 43
    assert sum(hits) >= 41


def test_pictures_of_changing_shapes_do_not_change_what_is_found(shared: Path, hopper: Path) -> None:
    """OpenCV 4.14 keeps state of the shape that it saw before, and ONNX Runtime plans its memory by it."""
    photos = [pixels_of(path) for path in sorted((shared / "data/photos").glob("200*.jpg"))[:4]]
    pictures = [*photos, pixels_of(hopper), photos[0][:200, :310], pixels_of(hopper)[:300], photos[1]]
    one = built("centerface", shared)
    fresh = [find_faces(picture, built("centerface", shared), 640, ()).boxes for picture in pictures]
    assert [find_faces(picture, one, 640, ()).boxes for picture in pictures] == fresh
    assert sum(map(len, fresh)) > 5


def test_the_largest_face_comes_first(shared: Path) -> None:
    boxes = find_faces(pixels_of(shared / "data/photos/bald_guys.jpg"), built("centerface", shared), 640, ()).boxes
    sizes = [box.width * box.height for box in boxes]
    assert len(sizes) > 1
    assert sizes == sorted(sizes, reverse=True)


def test_boxes_are_in_pixels_of_the_picture_given(shared: Path, hopper: Path) -> None:
    pixels, detector = pixels_of(hopper), built("centerface", shared)
    twice = cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    (small,), (large,) = (find_faces(picture, detector, 600, ()).boxes for picture in (pixels, twice))
    assert overlap(large, small.scaled(2)) > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (33, 31), (2, 2000)])
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_of_odd_sides_gives_no_endless_box(name: DetectorName, shape: tuple[int, int], shared: Path) -> None:
    boxes = find_faces(np.full((*shape, 3), 90, np.uint8), built(name, shared), 640, ()).boxes
    assert [box for box in boxes if not np.isfinite([box.x, box.y, box.width, box.height]).all()] == []


def test_yunet_needs_a_file_and_says_how_to_get_it() -> None:
    with pytest.raises(NoDetector, match=r"--detector-model FILE, or --fetch-detector"):
        detector_file("yunet", None, fetch=False)


def test_a_missing_detector_model_is_named() -> None:
    with pytest.raises(NoDetector, match=r"nothing\.onnx: there is no such"):
        detector_file("yunet", "nothing.onnx", fetch=False)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NoDetector, match="pip install"):
        detector_file("centerface", None, fetch=False)


@pytest.mark.parametrize("content", [b"", b"this is no model", b"\x00" * 100], ids=["empty", "text", "nul"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_no_model_is_refused(name: DetectorName, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(NoDetector, match=name):
        make_detector(name, tmp_path / "model.onnx", 0.5)


def test_a_changed_byte_of_centerfaces_model_is_refused(tmp_path: Path) -> None:
    """A changed weight would still load, and find other faces."""
    content = bytearray(detector_file("centerface", None, fetch=False).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(NoDetector, match=centerface.SHA256):
        make_detector("centerface", tmp_path / "model.onnx", 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_is_not_there_is_refused(name: DetectorName, tmp_path: Path) -> None:
    with pytest.raises(NoDetector, match=name):
        make_detector(name, tmp_path / "nothing.onnx", 0.5)


@pytest.mark.parametrize("name", ["centerface", "yunet"])
def test_another_models_file_is_refused(name: DetectorName, model_file: Path) -> None:
    with pytest.raises(NoDetector, match=name):
        make_detector(name, model_file, 0.5)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder that is served on loopback, and its address; what is fetched goes to a cache of the test's own."""
    (tmp_path / "served").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path / "served", f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_yunet_is_fetched_once(publisher: tuple[Path, str], yunet_file: Path) -> None:
    served, address = publisher
    (served / "yunet.onnx").write_bytes(yunet_file.read_bytes())
    fetched = fetch_yunet(f"{address}/yunet.onnx")
    (served / "yunet.onnx").unlink()
    assert fetch_yunet(f"{address}/yunet.onnx") == fetched
    assert file_hash(fetched) == file_hash(yunet_file)


def test_a_changed_byte_is_refused_and_not_kept(publisher: tuple[Path, str], yunet_file: Path, tmp_path: Path) -> None:
    served, address = publisher
    content = bytearray(yunet_file.read_bytes())
    content[len(content) // 2] ^= 1
    (served / "yunet.onnx").write_bytes(content)
    with pytest.raises(NoDetector) as caught:
        fetch_yunet(f"{address}/yunet.onnx")
    assert detect.YUNET_SHA256 in str(caught.value)
    assert file_hash(served / "yunet.onnx") in str(caught.value)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_publisher_that_does_not_answer_is_told(publisher: tuple[Path, str]) -> None:
    with pytest.raises(NoDetector, match="could not be fetched"):
        fetch_yunet(f"{publisher[1]}/nothing.onnx")
