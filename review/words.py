"""Figures and names as a person reads them. Names of files and of people in label tables are other people's text:
Streamlit reads Markdown in most of its calls, so they pass through `plain` first."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Literal

from storage.queries import gender_named
from storage.values import SMALLEST_JUDGED_SIDE

Colour = Literal["violet", "green", "gray"]
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>$~:&^=\"'])")
_SELF_LINKING = re.compile(r"([:@]|[wW]{3}(?=\\?\.))")
_REASONS = {  # of storage/worth.py
    "suspicious label": "Shown because its label is probably wrong. Is it right?",
    "uncertain gender": "Shown because the model is unsure of the gender.",
    "models disagree": "Shown because two models disagree on this face.",
    "wide interval": "Shown because the model is unsure of the age.",
    "low quality": "Shown because the crop is of low quality.",
    "random": "Drawn at random: answers to such faces measure how good the model is.",
}
NOTHING_DRAWN = (
    "Each scored face has a label, so none is drawn at random: a model may know by heart what it learnt from. How good "
    "it is on labelled faces that it didn't learn from is on the page Models; to measure it here, score photos that "
    "have no label."
)
_WORD_JOINER = "\u2060"  # no width; breaks `:icon:`, addresses and e-mail, which Streamlit finds after unescaping
_NEARLY_SURE = 0.95
_LONGEST_NAME = 15


def plain(text: str) -> str:
    """Text for a Markdown call that is shown as it is: no markup, link, picture, formula or icon comes of it."""
    one_line = " ".join(text.split())
    return _SELF_LINKING.sub(rf"\1{_WORD_JOINER}", _MARKDOWN.sub(r"\\\1", one_line))


def card_text(card: str) -> str:
    """A model's card, which is Markdown of ours with group names of other people's: links and pictures are taken out
    of it, and its headings made to fit below the page's."""
    unlinked = card.replace("[", r"\[").replace("<", r"\<")
    return re.sub(r"^#", "###", unlinked, flags=re.MULTILINE)


def short_path(path: str) -> str:
    """The file's name, cut in its middle to fit on a card."""
    name = PurePosixPath(path).name
    if len(name) <= _LONGEST_NAME:
        return name
    half = (_LONGEST_NAME - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def gender_words(female: float | None) -> str:
    """A probability in words; an age-only model says nothing of gender."""
    if female is None:
        return "not judged"
    name = gender_named(female)
    if name == "uncertain":
        return name
    return f"{'very likely' if max(female, 1 - female) >= _NEARLY_SURE else 'likely'} {name}"


def gender_share(female: float | None) -> str:
    """The probability of the more probable gender; nothing where gender isn't judged."""
    if female is None:
        return ""
    return f"{_percent(female)} female" if female >= 0.5 else f"{_percent(1 - female)} male"


def gender_line(female: float | None) -> str:
    """Words and probability on one line."""
    words, share = gender_words(female), gender_share(female)
    if not share:
        return words
    return f"{words}, {share if words == 'uncertain' else share.rsplit(' ', 1)[0]}"


def gender_colour(female: float | None) -> Colour:
    """Violet and green differ in lightness and to colour-blind eyes; the words say the same without colour."""
    match gender_named(female):
        case "female":
            return "violet"
        case "male":
            return "green"
        case _:
            return "gray"


def interval_words(low: float, high: float) -> str:
    return f"{low:.0f} to {high:.0f}"


def rotation_words(degrees: int) -> str:
    """Of a photo in which no face stood upright."""
    return f"No face stood upright, so the photo was judged turned clockwise by {degrees} degrees."


def too_small_words(numbers: Sequence[int]) -> str:
    """Of the faces of a photo that are too small to judge, by the numbers that they are shown with."""
    which = f"Face {numbers[0]} is" if len(numbers) == 1 else f"Faces {', '.join(map(str, numbers))} are"
    return f"{which} too small to judge well, under {SMALLEST_JUDGED_SIDE} pixels."


def verdict_words(verdict: str, age: float | None, gender: str | None) -> str:
    """A review on one line."""
    match verdict:
        case "right":
            return "reviewed: right"
        case "not_a_face":
            return "reviewed: not a face"
        case _:
            return "corrected: " + (said_words(age, gender) if age is not None or gender else "wrong")


def said_words(age: float | None, gender: str | None) -> str:
    """An age and a gender, as far as they are known."""
    said = [f"{age:.0f} years" if age is not None else None, gender]
    return ", ".join(part for part in said if part) or "nothing"


def reason_words(reason: str) -> str:
    """Why a face is shown for review."""
    return _REASONS[reason]


def finding_words(kind: str) -> str:
    """A kind of finding of the data report."""
    return kind.replace("_", " ")


def since_words(moment: datetime) -> str:
    """Of a visit; in UTC, as no other zone is known here."""
    return f"since your visit of {moment:%-d %B %Y, %H:%M} UTC"


def failed_words(count: int) -> str:
    return f"{count:,} of them failed" if count else "none of them failed"


def status_words(status: str) -> str:
    return status.replace("_", " ")


def percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"


def _percent(share: float) -> str:
    """Never 100 %: no estimate here is that sure."""
    return "over 99 %" if share > 0.99 else percent(share, 0)
