"""Nobody is on two sides, adding photos moves nobody, and one shot stored twice is one person."""

from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.crop import decode_crops, encode_crop
from tasks.split import draw_sides, groups_of, near_duplicates
from tests.pictures import encoded

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
def people(shared: Path) -> list[bytes]:
    """One face each of 60 people, as crops are stored."""
    files = sorted((shared / "data/lfw/images").glob("*.jpg"))
    by_person = {file.stem.rsplit("_", 1)[0]: file for file in files}
    pictures = [np.asarray(cv2.imread(str(file)))[60:190, 60:190, ::-1] for file in list(by_person.values())[:60]]
    return [encode_crop(np.ascontiguousarray(cv2.resize(picture, (128, 128)))) for picture in pictures]


def again(crop: bytes) -> bytes:
    """The same shot, a little brighter, and encoded once more and worse."""
    pixels = decode_crops([crop])[0]
    brighter = np.clip(pixels.astype(np.float32) * 1.06 + 4, 0, 255).astype(np.uint8)
    return encoded(Image.fromarray(brighter), "JPEG", quality=70)


def test_people_are_told_apart(people: list[bytes]) -> None:
    assert len(set(near_duplicates(people))) == len(people)


def test_one_shot_stored_twice_is_one_group(people: list[bytes]) -> None:
    twice = near_duplicates([*people, *map(again, people)])
    together = [first == second for first, second in zip(twice[: len(people)], twice[len(people) :], strict=True)]
    assert sum(together) >= 0.9 * len(people)


def test_no_crops_have_no_groups() -> None:
    assert near_duplicates([]) == []


def test_a_subject_is_a_group_whatever_its_photos_look_like(people: list[bytes]) -> None:
    groups = groups_of(["anna", "anna", "ben", None], [*people[:2], people[0], people[0]])
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3


def test_nobody_can_be_called_like_a_look(people: list[bytes]) -> None:
    look = near_duplicates(people[:1])[0]
    assert len(set(groups_of([look, None], [people[1], people[0]]))) == 2
