"""What a person says of a face with a few keys: `y` right, `g` wrong gender, `34` the age, `34g` both, `n` not a face,
`s` skip, `u` undo. A letter is also its button's key; nothing at all, sent with Enter, means right."""

import re
from dataclasses import dataclass
from typing import Literal

from storage.values import LONGEST_LIFE_YEARS

Kind = Literal["right", "corrected", "not_a_face", "skip", "undo"]
PATTERN = r"^\s*([0-9]{1,3}\s*[gG]?|[ygnsuYGNSU])?\s*$"  # for the browser; `written` decides
HINT = f"An age up to {LONGEST_LIFE_YEARS} (34), with g if the gender is wrong too (34g), or one of y, g, n, s, u"
_KINDS: dict[str, Kind] = {"": "right", "y": "right", "n": "not_a_face", "s": "skip", "u": "undo"}


@dataclass(frozen=True)
class Answer:
    """`age` in years, where the person gave one; `other_gender`: the one shown is wrong."""

    kind: Kind
    age: int | None = None
    other_gender: bool = False


def written(text: str) -> Answer | None:
    """What was typed; None where it means nothing."""
    typed = text.strip().lower()
    if typed in _KINDS:
        return Answer(_KINDS[typed])
    found = re.fullmatch(r"([0-9]{1,3})?\s*(g)?", typed)
    if not found or (found[1] and int(found[1]) > LONGEST_LIFE_YEARS):
        return None
    return Answer("corrected", int(found[1]) if found[1] else None, other_gender=bool(found[2]))
