"""A photo whose faces lie is turned until one stands; what isn't a face doesn't become one by turning."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from storage.choices import DetectorName
from tasks.detect import Box, Detect
from tasks.upright import TURNS, Sighting, find_faces, turned, turned_back
from tests.tasks.test_detect import built, pixels_of

STANDING, LYING = Box(2, 3, 9, 10, 0.9, 5), Box(2, 3, 9, 10, 0.9, 85)
MARKED = np.zeros((30, 40, 3), np.uint8)
MARKED[0, 0] = 255


def seeing(found: dict[int, list[Box]]) -> Detect:
    """Stands for a detector that is shown MARKED: what it finds in it, by the turn, which the white corner tells."""
    corners = {0: (0, 0), 90: (0, -1), 180: (-1, -1), 270: (-1, 0)}

    def detect(pixels: np.ndarray) -> list[Box]:
        return next(found.get(turn, []) for turn, corner in corners.items() if pixels[corner].any())

    return detect


def seen(found: dict[int, list[Box]]) -> Sighting:
    return find_faces(MARKED, seeing(found), 640, TURNS)


@pytest.mark.parametrize(
    ("name", "turn"),
    [*[("centerface", turn) for turn in (0, 90, 180, 270)], *[("yunet", turn) for turn in (0, 90, 270)]],
)
def test_a_lying_face_is_found_standing(name: DetectorName, turn: int, shared: Path, hopper: Path) -> None:
    lying = turned(pixels_of(hopper), (360 - turn) % 360)
    sighting = find_faces(lying, built(name, shared), 640, TURNS)
    assert sighting.turn == turn
    assert [box.is_upright() for box in sighting.boxes] == [True]


@pytest.mark.parametrize("roll", [-25, 0, 25])
@pytest.mark.parametrize("name", ["centerface", "yunet"])
def test_a_leaning_head_is_measured_and_left_as_it_is(
    name: DetectorName, roll: int, shared: Path, hopper: Path
) -> None:
    leaning = np.asarray(Image.open(hopper).convert("RGB").rotate(-roll, Image.Resampling.BICUBIC))
    sighting = find_faces(leaning, built(name, shared), 640, TURNS)
    assert sighting.turn == 0
    assert sighting.boxes[0].roll == pytest.approx(roll, abs=15)


@pytest.mark.parametrize("name", ["centerface", "yunet"])
@pytest.mark.slow
def test_no_face_is_found_by_turning_what_has_none(name: DetectorName, shared: Path, faceless: list[Path]) -> None:
    detect = built(name, shared)
    assert {path.stem: find_faces(pixels_of(path), detect, 640, TURNS).turn for path in faceless} == {
        path.stem: 0 for path in faceless
    }


def test_an_upright_face_keeps_the_photo_as_it_is() -> None:
    """A surer one in a turned photo doesn't count, nor do those that lie beside it."""
    assert seen({0: [STANDING, LYING], 90: [Box(2, 3, 9, 10, 0.99, 0)]}).turn == 0


def test_the_turn_with_the_surest_upright_face_is_taken() -> None:
    less, more = Box(2, 3, 9, 10, 0.9, 5), Box(2, 3, 9, 10, 0.95, 40)
    assert seen({90: [less], 180: [more], 270: [Box(2, 3, 9, 10, 0.99, 80)]}).turn == 180


def test_the_first_of_equal_turns_is_taken() -> None:
    assert seen({90: [STANDING], 270: [STANDING]}).turn == 90


def test_all_faces_of_the_turn_are_taken() -> None:
    assert len(seen({90: [STANDING, LYING]}).boxes) == 2


def test_faces_that_lie_in_every_turn_stay_as_they_were_found() -> None:
    sighting = seen({0: [LYING], 90: [LYING, LYING]})
    assert (sighting.turn, len(sighting.boxes)) == (0, 1)


@pytest.mark.parametrize(("first", "turn"), [([], 0), ([LYING], 90)])
def test_where_nothing_was_found_first_a_face_must_be_surer(first: list[Box], turn: int) -> None:
    assert seen({0: first, 90: [Box(2, 3, 9, 10, 0.74, 0)]}).turn == turn


def test_without_turns_a_photo_is_looked_at_once() -> None:
    assert find_faces(MARKED, seeing({90: [STANDING]}), 640, ()) == Sighting(0, [])


def test_the_largest_face_of_a_turned_photo_comes_first() -> None:
    small, large = Box(2, 3, 5, 6, 0.9, 0), Box(9, 9, 12, 14, 0.9, 0)
    assert [max(box.width, box.height) for box in seen({270: [small, large]}).boxes] == [14, 6]


@given(st.sampled_from([0, 90, 180, 270]), st.data())
def test_a_box_is_turned_back_to_the_pixels_that_it_holds(turn: int, data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    pixels = np.arange(width * height).reshape(height, width)
    lying = turned(pixels, turn)
    x, y = data.draw(st.integers(0, lying.shape[1] - 1)), data.draw(st.integers(0, lying.shape[0] - 1))
    box_width, box_height = data.draw(st.integers(1, lying.shape[1] - x)), data.draw(st.integers(1, lying.shape[0] - y))
    back = turned_back(Box(x, y, box_width, box_height), turn, (width, height))
    left, top = int(back.x), int(back.y)
    there = pixels[top : top + int(back.height), left : left + int(back.width)]
    assert np.array_equal(turned(there, turn), lying[y : y + box_height, x : x + box_width])
