"""Training, validation and test faces without a person in two of them.

A person is known by the subject id; where there is none, near-duplicates (perceptual hash of the crop, within 3 of
64 bits) are taken as one group, so that the same shot doesn't stand on both sides. A group's side is drawn from a
hash of its name, so a subject stays on its side as photos are added, and all models of a workspace are tested on
people that none of them was trained on. (A group of near-duplicates can move when a photo joins it that gives it
another name: subject ids are better.)"""

import hashlib
from collections.abc import Sequence

import numpy as np

from tasks.duplicates import alike, near_duplicates

_VALIDATION_SHARE = 0.1
_TEST_SHARE = 0.1


def groups_of(subjects: Sequence[str | None], crops: Sequence[bytes]) -> list[str]:
    """The group of each face: its subject, or its near-duplicates among those without one."""
    return _named(subjects, near_duplicates(crops[index] for index in _nameless(subjects)))


def groups_by_look(subjects: Sequence[str | None], looks: np.ndarray) -> list[str]:
    """`groups_of` by the crops' perceptual hashes, uint64 [n], where they are known already."""
    return _named(subjects, alike(looks[_nameless(subjects)]))


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


def _named(subjects: Sequence[str | None], looks: list[str]) -> list[str]:
    """`looks` are the groups of those without a subject, in their order."""
    left = iter(looks)
    return [f"look {next(left)}" if subject is None else f"subject {subject}" for subject in subjects]


def _uniform(group: str) -> float:
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64


def _side(value: float) -> str:
    if value < _VALIDATION_SHARE:
        return "val"
    return "test" if value < _VALIDATION_SHARE + _TEST_SHARE else "train"
