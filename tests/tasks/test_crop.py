"""A box becomes the same square picture whichever detector drew it, and is cut out wherever it lies."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from storage.choices import DetectorName
from tasks.crop import cut_square, decode_crops, encode_crop, middle_square, sharpness, square_around
from tasks.detect import Box, detector_file, make_detector
from tasks.upright import find_faces
from tests.tasks.test_detect import overlap, pixels_of

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
numbers = st.floats(-200, 200, allow_nan=False)


@settings(deadline=None)
@given(numbers, numbers, st.floats(0, 300), st.integers(1, 160))
def test_a_square_is_cut_to_the_side_asked_for_or_lies_outside(x: float, y: float, length: float, side: int) -> None:
    square = Box(x, y, length, length)
    left, top, real = round(x), round(y), max(1, round(length))
    if left + real <= 0 or top + real <= 0 or left >= 60 or top >= 40:
        with pytest.raises(ValueError, match="outside"):
            cut_square(PICTURE, square, side)
    else:
        crop = cut_square(PICTURE, square, side)
        assert (crop.shape, crop.dtype) == ((side, side, 3), np.uint8)


def test_a_square_of_the_asked_side_is_copied() -> None:
    assert np.array_equal(cut_square(PICTURE, Box(5, 7, 20, 20), 20), PICTURE[7:27, 5:25])


def test_what_lies_outside_repeats_the_border() -> None:
    crop = cut_square(PICTURE, Box(-10, 0, 20, 20), 20)
    assert np.array_equal(crop[:, :10], np.repeat(PICTURE[:20, :1], 10, axis=1))


@pytest.mark.parametrize(
    ("shape", "square"), [((40, 60), Box(10, 0, 40, 40)), ((7, 3), Box(0, 2, 3, 3)), ((1, 1), Box(0, 0, 1, 1))]
)
def test_the_middle_square_is_the_largest_one(shape: tuple[int, int], square: Box) -> None:
    assert middle_square(*shape) == square


def test_the_margin_is_a_share_of_the_faces_height() -> None:
    assert square_around(Box(100, 100, 80, 100), "centerface", 0.5).width == 150


@pytest.mark.parametrize("picture", ["hopper", "collins"])
def test_the_three_detectors_crop_one_face_alike(picture: str, shared: Path, request: pytest.FixtureRequest) -> None:
    pixels = pixels_of(request.getfixturevalue(picture))
    yunet = str(shared / "weights/face_detection_yunet_2026may.onnx")
    names: tuple[DetectorName, ...] = ("haar", "centerface", "yunet")
    squares = [
        square_around(
            find_faces(pixels, make_detector(name, detector_file(name, yunet, fetch=False), 0.5), 640, ()).boxes[0],
            name,
            0.03,
        )
        for name in names
    ]
    overlaps = [overlap(squares[one], squares[other]) for one, other in ((0, 1), (0, 2), (1, 2))]
    assert min(overlaps) > 0.5


def test_a_stored_crop_is_close_to_what_was_cut(hopper: Path) -> None:
    crop = cut_square(pixels_of(hopper), Box(180, 70, 150, 150), 128)
    stored = decode_crops([encode_crop(crop)])[0].astype(float)
    assert np.abs(stored - crop).mean() < 2


def test_a_crop_is_stored_with_whole_colour() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    stored = decode_crops([encode_crop(stripes)])[0].astype(float)
    assert np.abs(stored - stripes).mean() < 15


def test_crops_come_back_in_order_as_one_array(hopper: Path) -> None:
    crops = [cut_square(pixels_of(hopper), Box(x, 70, 150, 150), 128) for x in (100, 180)]
    stored = decode_crops([encode_crop(crop) for crop in crops])
    assert (stored.shape, stored.dtype) == ((2, 128, 128, 3), np.uint8)
    assert np.abs(stored.astype(float) - crops).mean() < 2


def test_a_blurred_crop_is_less_sharp(hopper: Path) -> None:
    crop = Image.open(hopper).convert("RGB").crop((180, 70, 330, 220)).resize((128, 128))
    blurred = crop.resize((24, 24)).resize((128, 128))
    assert sharpness(np.asarray(blurred)) < 0.3 * sharpness(np.asarray(crop))


def test_a_plain_crop_has_no_sharpness() -> None:
    assert sharpness(np.full((128, 128, 3), 100, np.uint8)) == 0
