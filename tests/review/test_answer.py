import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review.answer import PATTERN, Answer, written


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("", Answer("right")),
        ("y", Answer("right")),
        (" N ", Answer("not_a_face")),
        ("s", Answer("skip")),
        ("u", Answer("undo")),
        ("g", Answer("corrected", None, other_gender=True)),
        ("34", Answer("corrected", 34)),
        ("0", Answer("corrected", 0)),
        ("34g", Answer("corrected", 34, other_gender=True)),
        ("34 G", Answer("corrected", 34, other_gender=True)),
    ],
)
def test_a_few_keys_say_it(typed: str, answer: Answer) -> None:
    assert written(typed) == answer


@pytest.mark.parametrize("typed", ["117", "-3", "3.5", "x", "gg", "34n", "1234", "g34", "٣٤"])
def test_what_means_nothing_is_no_answer(typed: str) -> None:
    assert written(typed) is None


@given(st.text(max_size=5))
def test_the_browser_lets_through_whatever_is_an_answer(typed: str) -> None:
    assert written(typed) is None or re.search(PATTERN, typed)
