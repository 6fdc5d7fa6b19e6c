"""Nobody is on two sides, adding photos moves nobody, and one shot stored twice is one person."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.duplicates import near_duplicates, perceptual_hashes
from tasks.split import draw_sides, groups_by_look, groups_of
from tests.rows import crop_of

SIDES = {"train", "val", "test"}
names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=60)


@settings(deadline=None)
@given(names)
def test_no_group_is_on_two_sides(groups: list[str]) -> None:
    met = defaultdict(set)
    for group, side in zip(groups, draw_sides(groups), strict=True):
        met[group].add(side)
    assert {len(sides) for sides in met.values()} == {1}


@settings(deadline=None)
@given(names.filter(lambda groups: len(set(groups)) > 1))
def test_two_people_are_enough_to_train_and_to_validate(groups: list[str]) -> None:
    assert set(draw_sides(groups)) >= {"train", "val"}


def test_one_person_has_one_side() -> None:
    assert len(set(draw_sides(["anna"] * 9))) == 1


def test_no_face_has_no_side() -> None:
    assert draw_sides([]) == []


def test_shares_are_kept() -> None:
    sides = draw_sides([str(index) for index in range(5000)])
    shares = [sides.count(side) / len(sides) for side in ("train", "val", "test")]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_adding_people_moves_nobody() -> None:
    before = [str(index) for index in range(200)]
    after = [*(f"new {index}" for index in range(300)), *before]
    assert draw_sides(after)[300:] == draw_sides(before)


def test_the_order_of_photos_does_not_matter() -> None:
    groups = [str(index) for index in range(200)]
    assert draw_sides(groups[::-1]) == draw_sides(groups)[::-1]


@pytest.fixture(scope="module")
def looks() -> list[bytes]:
    """Crops that look like nothing else."""
    return [crop_of(seed) for seed in range(4)]


def test_a_subject_is_a_group_whatever_its_photos_look_like(looks: list[bytes]) -> None:
    groups = groups_of(["anna", "anna", "ben", None], ["1", "2", "3", "4"], [*looks[:2], looks[0], looks[0]])
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3


def test_nobody_can_be_called_like_a_look(looks: list[bytes]) -> None:
    look = near_duplicates(looks[:1])[0]
    assert len(set(groups_of([look, None], ["1", "2"], [looks[1], looks[0]]))) == 2


def test_hashes_give_the_groups_that_crops_give(looks: list[bytes]) -> None:
    crops, subjects, photos = [*looks, looks[0]], [None, "anna", None, "anna", None], ["1", "2", "1", "3", "4"]
    assert groups_by_look(subjects, photos, perceptual_hashes(crops)) == groups_of(subjects, photos, crops)
    assert groups_by_look([], [], np.empty(0, np.uint64)) == groups_of([], [], [])


def test_the_faces_of_one_photo_and_what_looks_like_them_are_a_group(looks: list[bytes]) -> None:
    crops, photos = [looks[0], looks[1], looks[1], looks[2], looks[3]], ["1", "1", "2", "2", "3"]
    groups = groups_of([None] * 5, photos, crops)
    assert len(set(groups[:4])) == 1
    assert groups[4] not in groups[:4]
    assert groups[0] == min(groups_of([None] * 4, ["1", "2", "3", "4"], crops[:4]))
