"""Training, validation and test faces without a person in two of them.

A person is known by the subject id; where there is none, near-duplicates (perceptual hash of the crop, within 3 of 64
bits) are taken as one group, so that the same shot doesn't stand on both sides, and so are the faces of one photo. A
group's side is drawn from a hash of its name, so a subject stays on its side as photos are added, and all models of a
workspace are tested on people that none of them was trained on. (A group of near-duplicates can move when a photo joins
it that gives it another name: subject ids are better.)"""

import hashlib
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.duplicates import alike, near_duplicates

_VALIDATION_SHARE = 0.1
_TEST_SHARE = 0.1


def groups_of(subjects: Sequence[str | None], photos: Sequence[str], crops: Sequence[bytes]) -> list[str]:
    """The group of each face: its photo's subject; without one its near-duplicates, with all faces of their photos."""
    return _named(subjects, photos, near_duplicates(crops[index] for index in _nameless(subjects)))


def groups_by_look(subjects: Sequence[str | None], photos: Sequence[str], looks: np.ndarray) -> list[str]:
    """`groups_of` by the crops' perceptual hashes, uint64 [n], where they are known already."""
    return _named(subjects, photos, alike(looks[_nameless(subjects)]))


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


def _nameless(subjects: Sequence[str | None]) -> list[int]:
    return [index for index, subject in enumerate(subjects) if subject is None]


def _named(subjects: Sequence[str | None], photos: Sequence[str], looks: list[str]) -> list[str]:
    """`looks` are the groups of those without a subject, in their order."""
    left = iter(_hanging_together(looks, [photos[index] for index in _nameless(subjects)]))
    return [f"look {next(left)}" if subject is None else f"subject {subject}" for subject in subjects]


def _hanging_together(looks: list[str], photos: list[str]) -> list[str]:
    """For each face the smallest look that it is linked to by photos that two looks are in."""
    names, look = np.unique(looks, return_inverse=True)
    _, photo = np.unique(photos, return_inverse=True)
    nodes = len(names) + len(looks)
    links = coo_array((np.ones(len(looks)), (look, len(names) + photo)), shape=(nodes, nodes))
    _, members = connected_components(links, directed=False)
    _, smallest = np.unique(members[: len(names)], return_index=True)  # `names` is in order, so the first is smallest
    return names[smallest[members[look]]].tolist()


def _uniform(group: str) -> float:
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64


def _side(value: float) -> str:
    if value < _VALIDATION_SHARE:
        return "val"
    return "test" if value < _VALIDATION_SHARE + _TEST_SHARE else "train"
