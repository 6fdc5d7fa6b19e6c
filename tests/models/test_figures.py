"""A figure is written as a person reads it, with its unit and its sign."""

import pytest

from models.figures import FIGURES


@pytest.mark.parametrize(
    ("name", "value", "written", "change"),
    [
        ("faces", 1951, "1,951", "+1,951"),
        ("age_mae", 5.1789, "5.18", "+5.18"),
        ("age_bias", -0.284, "-0.28", "-0.28"),
        ("cs5", 0.62634, "62.6\N{NO-BREAK SPACE}%", "+62.6 points"),
        ("gender_ece", 0.0188, "0.019", "+0.019"),
    ],
)
def test_a_figure_is_written_in_its_unit(name: str, value: float, written: str, change: str) -> None:
    assert (FIGURES[name].written(value), FIGURES[name].change(value)) == (written, change)


def test_figures_of_error_are_better_when_lower_and_of_hits_when_higher() -> None:
    better = {name: FIGURES[name].better for name in ("age_mae", "gender_brier", "cs10", "gender_auc", "age_bias")}
    assert better == {
        "age_mae": "lower", "gender_brier": "lower", "cs10": "higher", "gender_auc": "higher", "age_bias": None,
    }  # fmt: skip


def test_the_ends_of_an_interval_have_their_unit_once() -> None:
    assert FIGURES["cs5"].change_between(-0.02, 0.01) == "-2.0 to +1.0 points"
    assert FIGURES["age_mae"].change_between(-0.2, 0.1) == "-0.20 to +0.10"
