import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from review.pictures import CANVAS_SIDE, Area, Mark, as_jpeg, judged_mark, label_area, with_faces
from tasks.decode import Photo
from tasks.detect import Box

_VIOLET = (91, 47, 194)
_WHOLE = st.integers(-200, 1500)


def _judged(x: float, y: float, side: float) -> Mark:
    return judged_mark(Box(x, y, side, side, 0.9), 40.0, 30.0, 50.0, 0.99)


def _black(width: int, height: int, scale: float = 1.0) -> Photo:
    return Photo(np.zeros((height, width, 3), np.uint8), scale)


@given(_WHOLE, _WHOLE, st.integers(1, 400), st.integers(1, 300), st.integers(1, 120))
def test_a_label_is_always_whole_on_the_picture(left: int, top: int, side: int, width: int, height: int) -> None:
    area = label_area(Area(left, top, left + side, top + side), (width, height), (1280, 960), [])
    assert area.left >= 0
    assert area.top >= 0
    assert area.right <= 1280
    assert area.bottom <= 960


def test_a_label_goes_below_where_it_would_cover_another_face() -> None:
    face, above = Area(100, 100, 200, 200), Area(100, 20, 200, 99)
    assert label_area(face, (90, 30), (600, 600), [face, above]).top == face.bottom


def test_a_box_in_full_size_pixels_lands_on_the_scaled_picture() -> None:
    """The photo was decoded at half its size, so a box at 800 of 2000 lies at 400 of 1000."""
    drawn = with_faces(_black(1000, 800, scale=0.5), [_judged(800, 800, 400)])
    assert drawn.size == (1000, 800)
    assert drawn.getpixel((401, 500)) == _VIOLET
    assert drawn.getpixel((500, 500)) == (0, 0, 0)


def test_a_small_photo_is_enlarged_and_a_large_one_shrunk_so_that_labels_can_be_read() -> None:
    assert with_faces(_black(100, 50), []).size == (720, 360)
    assert max(with_faces(_black(3000, 2000), []).size) == CANVAS_SIDE


def test_a_photo_of_one_pixel_can_be_drawn() -> None:
    assert with_faces(_black(1, 1), [_judged(0, 0, 1)]).size == (720, 720)


def test_each_of_many_faces_gets_a_label() -> None:
    faces = [_judged(100.0 * column, 100.0 * row, 40.0) for row in range(8) for column in range(10)]
    drawn = np.asarray(with_faces(_black(1000, 800), faces))
    coloured = (np.abs(drawn.astype(int) - _VIOLET).sum(axis=2) < 10).sum()
    assert coloured > len(faces) * 300


def test_the_picture_is_sent_as_jpeg() -> None:
    assert Image.open(io.BytesIO(as_jpeg(with_faces(_black(10, 10), [])))).format == "JPEG"


def test_a_face_that_no_model_judged_gets_a_box_without_words() -> None:
    mark = judged_mark(Box(100, 100, 200, 200), None, None, None, None)
    drawn = np.asarray(with_faces(_black(1000, 800), [mark]))
    assert mark.lines == ()
    assert drawn[:90].max() == 0  # where a label would be
    assert drawn.max() > 0
