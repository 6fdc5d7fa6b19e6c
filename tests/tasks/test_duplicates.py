"""Crops that look alike are found, all of them, and in no more time than there are crops."""

import io
import time
from functools import reduce
from operator import xor
from pathlib import Path

import cv2
import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.crop import decode_crops, encode_crop
from tasks.duplicates import BITS_APART, alike, bits_apart, near_duplicates, perceptual_hashes
from tests.pictures import encoded
from tests.rows import crop_of


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


def test_a_look_is_named_by_its_hash() -> None:
    """The sides of faces without a subject are drawn from these names: another spelling would move them all."""
    crop = crop_of(1)
    assert near_duplicates([crop]) == [str(imagehash.phash(Image.open(io.BytesIO(crop))))]


def grouped_by_comparing_all(hashes: list[int]) -> list[str]:
    """What `alike` must give, as slowly and plainly as can be."""
    groups: list[set[int]] = []
    for value in set(hashes):
        near = [group for group in groups if any((value ^ other).bit_count() <= BITS_APART for other in group)]
        groups = [group for group in groups if group not in near] + [{value}.union(*near)]
    return [next(f"{min(group):016x}" for group in groups if value in group) for value in hashes]


flips = st.lists(st.integers(0, 63), max_size=5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 2**64 - 1, 0x0123456789ABCDEF]), flips), max_size=25))
def test_every_chain_of_near_hashes_is_found(made: list[tuple[int, list[int]]]) -> None:
    hashes = [reduce(xor, (1 << bit for bit in bits), value) for value, bits in made]
    assert alike(np.array(hashes, np.uint64)) == grouped_by_comparing_all(hashes)


def test_equal_crops_are_not_compared_with_each_other() -> None:
    started = time.perf_counter()
    names = alike(np.zeros(50_000, np.uint64))  # in pairs, these would be 1,250,000,000
    assert set(names) == {"0" * 16}
    assert time.perf_counter() - started < 10


@pytest.mark.slow
def test_five_thousand_equal_crops_take_no_longer_than_as_many_different_ones() -> None:
    equal, different = [crop_of(1)] * 5000, [crop_of(seed) for seed in range(5000)]
    times = []
    for crops in (equal, different):
        started = time.perf_counter()
        near_duplicates(crops)
        times.append(time.perf_counter() - started)
    assert times[0] < 2 * times[1]


def test_bits_are_counted_from_the_name_of_the_group() -> None:
    hashes = perceptual_hashes([crop_of(1), crop_of(1)]) ^ np.array([0, 0b101], np.uint64)
    names = alike(hashes)
    assert names[0] == names[1]
    assert sorted(bits_apart(hashes, names).tolist()) == [0, 2]
