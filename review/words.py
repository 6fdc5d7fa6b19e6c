"""Figures and names as a person reads them. Names of files and of people in label tables are other people's text:
Streamlit reads Markdown in most of its calls, so they pass through `plain` first."""

import re
from pathlib import PurePosixPath
from typing import Literal

from storage.queries import SURE_FROM

Colour = Literal["violet", "green", "gray"]
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>$~:&^=\"'])")
_SELF_LINKING = re.compile(r"([:@]|[wW]{3}(?=\\?\.))")
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
    if 1 - SURE_FROM < female < SURE_FROM:
        return "uncertain"
    name, probability = ("female", female) if female >= SURE_FROM else ("male", 1 - female)
    return f"{'very likely' if probability >= _NEARLY_SURE else 'likely'} {name}"


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
    if female is None or 1 - SURE_FROM < female < SURE_FROM:
        return "gray"
    return "violet" if female >= SURE_FROM else "green"


def interval_words(low: float, high: float) -> str:
    return f"{low:.0f} to {high:.0f}"


def verdict_words(verdict: str, age: float | None, gender: str | None) -> str:
    """A review on one line."""
    match verdict:
        case "right":
            return "reviewed: right"
        case "not_a_face":
            return "reviewed: not a face"
        case _:
            said = [f"{age:.0f} years" if age is not None else None, gender]
            return "corrected: " + (", ".join(part for part in said if part) or "wrong")


def status_words(status: str) -> str:
    return status.replace("_", " ")


def percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"


def _percent(share: float) -> str:
    """Never 100 %: no estimate here is that sure."""
    return "over 99 %" if share > 0.99 else percent(share, 0)
