import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import review
from review.charts import GENDER_COLOURS, KIND_COLOURS, LINE_COLOURS
from review.words import (
    card_text,
    gender_colour,
    gender_line,
    gender_share,
    gender_words,
    plain,
    reason_words,
    said_words,
    short_path,
    verdict_words,
)
from storage.worth import REASONS

_JOINER = "\u2060"
_LINES = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")) | st.sampled_from("*_`[]()!<>&$:#-+.~|\\'\"")
)


@given(_LINES)
def test_plain_text_comes_out_of_markdown_as_it_was(text: str) -> None:
    blocks = MarkdownIt("commonmark").parse(plain(text))
    shown = [child for block in blocks for child in block.children or []]
    assert {child.type for child in shown} <= {"text", "text_special"}
    assert "".join(child.content for child in shown).replace(_JOINER, "") == " ".join(text.split()).replace(_JOINER, "")


@pytest.mark.parametrize("text", ["http://a.b", "www.a.b", "a@b.c", ":material/home:", ":fire:"])
def test_what_links_or_draws_an_icon_by_itself_is_broken_invisibly(text: str) -> None:
    assert _JOINER in plain(text)


def test_a_card_keeps_no_link_picture_or_tag() -> None:
    html = MarkdownIt("commonmark").render(card_text("# Title\n\n![x](http://a/b) [y](http://c) <img src=z>"))
    assert "<h3>Title</h3>" in html
    assert not any(tag in html for tag in ("<img", "<a "))


@pytest.mark.parametrize(
    ("female", "words", "share", "line", "colour"),
    [
        (0.999, "very likely female", "over 99 % female", "very likely female, over 99 %", "violet"),
        (0.8, "likely female", "80 % female", "likely female, 80 %", "violet"),
        (0.55, "uncertain", "55 % female", "uncertain, 55 % female", "gray"),
        (0.2, "likely male", "80 % male", "likely male, 80 %", "green"),
        (None, "not judged", "", "not judged", "gray"),
    ],
)
def test_a_probability_is_said_in_words(female: float | None, words: str, share: str, line: str, colour: str) -> None:
    assert (gender_words(female), gender_share(female), gender_line(female)) == (words, share, line)
    assert gender_colour(female) == colour


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    assert short_path("album/Somebody_With_A_Long_Name_0001.jpg") == "Somebod…001.jpg"


def test_a_correction_without_particulars_says_wrong() -> None:
    assert verdict_words("corrected", None, None) == "corrected: wrong"
    assert verdict_words("corrected", 31, "male") == "corrected: 31 years, male"


def test_what_is_known_of_a_face_is_said_on_one_line() -> None:
    assert said_words(31, "male") == "31 years, male"
    assert said_words(None, "male") == "male"
    assert said_words(None, None) == "nothing"


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_to_show_a_face_is_explained(reason: str) -> None:
    assert reason_words(reason).endswith((".", "?"))


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colours_that_carry_meaning_can_be_read(mode: str) -> None:
    theme = tomllib.loads((Path(review.__path__[0]) / ".streamlit" / "config.toml").read_text())["theme"][mode]
    badges = [
        _contrast(theme[f"{name}TextColor"], theme[f"{name}BackgroundColor"]) for name in ("violet", "green", "gray")
    ]
    charts = [
        _contrast(colour, theme["backgroundColor"])
        for colour in (*GENDER_COLOURS.values(), *LINE_COLOURS.values(), *KIND_COLOURS)
    ]
    assert min(badges) >= 4.5
    assert min(charts) >= 3
    assert _contrast(theme["primaryColor"], theme["backgroundColor"]) >= 4.5


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
