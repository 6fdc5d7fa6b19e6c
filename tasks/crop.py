"""A box to the square picture that the model sees.

Detectors draw their boxes differently around one face, so a box is first turned into the face that CenterFace would
box, by factors measured on 400 aligned UTKFace crops; then the same margin means the same picture for all three."""

import hashlib

import cv2
import numpy as np

from storage.choices import DetectorName
from tasks.detect import Box

# Of the box's height: how tall the face is, and how far down its centre lies. Medians of 400 UTKFace crops.
_FACE_HEIGHT: dict[DetectorName, float] = {"centerface": 1.0, "yunet": 1.0, "haar": 1.19}
_FACE_DROP: dict[DetectorName, float] = {"centerface": 0.03, "yunet": 0.01, "haar": 0.086}
_DOWN = {0: (0, 1), 90: (1, 0), 180: (0, -1), 270: (-1, 0)}  # a face's x and y, by the turn that stands it upright
_JPEG_QUALITY = 95


def square_around(box: Box, detector: DetectorName, margin: float, turn: int = 0) -> Box:
    """The square to crop: `margin` is the share of the face's height that is added to it, half at either end. The face
    stands upright once the picture is turned clockwise by `turn` degrees."""
    side = max(box.width, box.height) * _FACE_HEIGHT[detector] * (1 + margin)
    right, down = _DOWN[turn]
    middle_x = box.x + box.width * (0.5 + right * _FACE_DROP[detector])
    middle_y = box.y + box.height * (0.5 + down * _FACE_DROP[detector])
    return Box(middle_x - side / 2, middle_y - side / 2, side, side, box.score)


def middle_square(height: int, width: int) -> Box:
    """The largest square in the middle of a picture: a picture that is one face."""
    side = min(height, width)
    return Box((width - side) / 2, (height - side) / 2, side, side)


def cut_square(pixels: np.ndarray, square: Box, side: int) -> np.ndarray:
    """Cuts a square out, in pixels of the picture given, as uint8 [side, side, 3]. What lies outside the picture
    repeats its border."""
    left, top, length = round(square.x), round(square.y), max(1, round(square.width))
    height, width = pixels.shape[:2]
    inside = pixels[max(0, top) : max(0, top + length), max(0, left) : max(0, left + length)]
    if inside.size == 0:
        raise ValueError(f"the square {square} lies outside a picture of {width} x {height}")
    above, below = max(0, -top), max(0, top + length - height)
    before, after = max(0, -left), max(0, left + length - width)
    whole = cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_REPLICATE)
    interpolation = cv2.INTER_AREA if length > side else cv2.INTER_CUBIC
    return cv2.resize(whole, (side, side), interpolation=interpolation)


def sharpness(crop: np.ndarray) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al., 2000); under about 50, a crop looks blurred."""
    return float(laplacian(crop).var())


def laplacian(crop: np.ndarray) -> np.ndarray:
    """Of the grey crop, float64 [side, side]."""
    return cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_64F)


def encode_crop(crop: np.ndarray, quality: int = _JPEG_QUALITY) -> bytes:
    """A JPEG of the crop, without subsampled colour: what training and scoring both read."""
    settings = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    done, buffer = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), settings)
    assert done
    return buffer.tobytes()


def crop_hash(crop: bytes) -> str:
    """SHA-256 of a stored crop, in hex: by it, a flipped bit is noticed before a crop is judged."""
    return hashlib.sha256(crop).hexdigest()


def decode_crops(crops: list[bytes]) -> np.ndarray:
    """Stored crops as uint8 [n, side, side, 3], RGB."""
    return np.stack([np.asarray(cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR_RGB)) for crop in crops])
