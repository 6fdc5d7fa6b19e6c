"""Training, validation and test faces without a person in two of them.

A person is known by the subject id; where there is none, near-duplicates (perceptual hash of the crop, within 3 of
64 bits) are taken as one group, so that the same shot doesn't stand on both sides. A group's side is drawn from a
hash of its name, so a subject stays on its side as photos are added, and all models of a workspace are tested on
people that none of them was trained on. (A group of near-duplicates can move when a photo joins it that gives it
another name: subject ids are better.)"""

import hashlib
import io
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_VALIDATION_SHARE = 0.1
_TEST_SHARE = 0.1
_BITS_APART = 3
_BANDS = 4  # two hashes within 3 bits agree in at least one of 4 bands of 16 bits


def groups_of(subjects: Sequence[str | None], crops: Sequence[bytes]) -> list[str]:
    """The group of each face: its subject, or its near-duplicates."""
    unnamed = [index for index, subject in enumerate(subjects) if subject is None]
    duplicates = dict(zip(unnamed, near_duplicates([crops[index] for index in unnamed]), strict=True))
    return [
        f"subject {subject}" if subject is not None else f"look {duplicates[index]}"
        for index, subject in enumerate(subjects)
    ]


def near_duplicates(crops: Sequence[bytes]) -> list[str]:
    """For each crop (JPEG bytes) the name of its group: the smallest perceptual hash in it."""
    hashes = [imagehash.phash(Image.open(io.BytesIO(crop))).hash.ravel() for crop in crops]
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for index, bits in enumerate(hashes):
        for band, part in enumerate(np.split(bits, _BANDS)):
            buckets[band, part.tobytes()].append(index)
    pairs = {
        pair
        for members in buckets.values()
        for pair in combinations(members, 2)
        if np.count_nonzero(hashes[pair[0]] != hashes[pair[1]]) <= _BITS_APART
    }
    first, second = zip(*pairs, strict=True) if pairs else ((), ())
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(crops), len(crops)))
    _, members = connected_components(links, directed=False)
    names = [np.packbits(bits).tobytes().hex() for bits in hashes]
    smallest: dict[int, str] = {}
    for group, name in zip(members, names, strict=True):
        smallest[group] = min(name, smallest.get(group, name))
    return [smallest[group] for group in members]


def draw_sides(groups: Sequence[str]) -> list[str]:
    """`train`, `val` or `test` for each face. With two groups or more, none of train and val stays empty."""
    drawn = {group: _uniform(group) for group in set(groups)}
    sides = {group: _side(value) for group, value in drawn.items()}
    ordered = sorted(drawn, key=lambda group: drawn[group])
    if len(ordered) > 1 and "val" not in sides.values():
        sides[ordered[0]] = "val"
    if len(ordered) > 1 and "train" not in sides.values():
        sides[ordered[-1]] = "train"
    return [sides[group] for group in groups]


def _uniform(group: str) -> float:
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64


def _side(value: float) -> str:
    if value < _VALIDATION_SHARE:
        return "val"
    return "test" if value < _VALIDATION_SHARE + _TEST_SHARE else "train"
