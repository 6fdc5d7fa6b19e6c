"""Figures are what they say, on answers whose errors are known."""

import numpy as np
import pytest

from models.contract import Answers
from tasks.dataset import Truth
from tasks.evaluate import compare, intervals, measure, measure_by_band, measure_by_group, report

ERRORS = np.array([0, 1, -2, 5, -5, 6, 10, -10, 11, -20], np.float32)
AGE = np.arange(20, 30, dtype=np.float32)
FEMALE = np.array([1, 0] * 5, np.float32)


def answers_with(errors: np.ndarray, age: np.ndarray, half: float = 5, female: np.ndarray | None = None) -> Answers:
    answered = (age + errors).astype(np.float32)
    return Answers(answered, answered - half, answered + half, female)


def noisy(count: int, spread: float, seed: int = 0) -> tuple[Truth, Answers]:
    """A truth, and a model whose errors are normal with that spread (years); its gender is right nine times in ten."""
    random = np.random.default_rng(seed)
    age = random.uniform(5, 90, count).astype(np.float32)
    female = random.integers(0, 2, count).astype(np.float32)
    answered = np.where(random.random(count) < 0.9, female, 1 - female).astype(np.float32)
    return Truth(age, female), answers_with(random.normal(0, spread, count), age, 1.645 * spread, answered)


def test_the_figures_of_age_are_exact() -> None:
    figures = measure(Truth(AGE, FEMALE), answers_with(ERRORS, AGE, 5))
    assert figures == pytest.approx(
        {
            "faces": 10,
            "age_mae": 7.0,
            "age_rmse": np.sqrt(np.mean(ERRORS**2)),
            "age_bias": -0.4,
            "cs5": 0.5,
            "cs10": 0.8,
            "interval_coverage": 0.5,
            "interval_width": 10.0,
        }
    )


def test_the_figures_of_gender_are_exact() -> None:
    female = FEMALE.copy()
    female[:2] = 1 - female[:2]
    age = AGE.copy()
    age[:4] = 15.9
    figures = measure(Truth(age, FEMALE), answers_with(ERRORS, age, female=female))
    assert (figures["gender_accuracy"], figures["gender_accuracy_from_16"]) == (0.8, 1.0)


def test_faces_of_unknown_age_do_not_count_for_age() -> None:
    age, errors = AGE.copy(), np.zeros(10)
    age[0] = np.nan
    errors[1] = 9
    figures = measure(Truth(age, FEMALE), answers_with(errors, AGE, female=FEMALE))
    assert (figures["age_mae"], figures["interval_coverage"], figures["gender_accuracy"]) == (
        1.0,
        pytest.approx(8 / 9),
        1.0,
    )


def test_faces_of_unknown_gender_do_not_count_for_gender() -> None:
    truth = Truth(AGE, np.where(np.arange(10) < 4, np.nan, FEMALE).astype(np.float32))
    female = np.where(np.arange(10) < 5, 1 - FEMALE, FEMALE)
    assert measure(truth, answers_with(ERRORS, AGE, female=female))["gender_accuracy"] == pytest.approx(5 / 6)


def test_labels_that_say_nothing_give_no_figures() -> None:
    nothing = np.full(10, np.nan, np.float32)
    assert measure(Truth(nothing, nothing), answers_with(ERRORS, AGE, female=FEMALE)) == {"faces": 10.0}


def test_a_model_of_age_alone_has_no_figure_of_gender() -> None:
    assert "gender_accuracy" not in measure(Truth(AGE, FEMALE), answers_with(ERRORS, AGE))


def test_bands_hold_each_face_once() -> None:
    age = np.repeat(np.array([0, 4.9, 5, 15.9, 16, 29, 30, 60, 75, 116], np.float32), 10)
    bands = measure_by_band(Truth(age, np.ones(100)), answers_with(np.zeros(100), age))
    assert {band["band"]: band["faces"] for band in bands} == {
        "0-4": 20, "5-15": 20, "16-29": 20, "30-44": 10, "60-74": 10, "75-116": 20,
    }  # fmt: skip


def test_a_band_of_few_faces_is_not_told() -> None:
    age = np.array([3.0] * 9 + [20.0] * 10, np.float32)
    bands = measure_by_band(Truth(age, np.ones(19)), answers_with(np.zeros(19), age))
    assert [band["band"] for band in bands] == ["16-29"]


def test_groups_are_measured_each_for_itself() -> None:
    values = ["a"] * 10 + ["b"] * 10 + [None] * 10
    age, errors = np.full(30, 40, np.float32), np.repeat([1.0, 3.0, 9.0], 10)
    groups = measure_by_group(Truth(age, np.ones(30)), answers_with(errors, age), values)
    assert [(group["group"], group["age_mae"]) for group in groups] == [("a", 1.0), ("b", 3.0)]


def test_a_report_names_columns_but_neither_split_nor_identifiers() -> None:
    truth, answers = noisy(100, 5)
    labels = [{"race": "x" if index % 2 else "y", "split": "test", "name": str(index)} for index in range(100)]
    assert {row["column"] for row in report(truth, answers, labels)["groups"]} == {"race"}


def test_the_bootstrap_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """The mean absolute error of a normal error of 5 years is 5 * sqrt(2 / pi)."""
    expected, held = 5 * np.sqrt(2 / np.pi), []
    for seed in range(30):
        low, high = intervals(*noisy(200, 5, seed))["age_mae"]
        held.append(low <= expected <= high)
    assert sum(held) >= 25


def test_the_interval_of_gender_holds_the_truth() -> None:
    low, high = intervals(*noisy(1000, 5))["gender_accuracy"]
    assert low < 0.9 < high
    assert high - low < 0.06


def test_too_few_faces_have_no_interval() -> None:
    truth, answers = noisy(9, 5)
    assert intervals(truth, answers) == {}


def test_a_better_challenger_has_a_change_below_zero() -> None:
    truth, champion = noisy(500, 8)
    challenger = answers_with((champion.age - truth.age) / 2, truth.age, female=truth.female)
    figures = compare(truth, champion, challenger)
    assert figures["low"] < figures["age_mae_change"] < figures["high"] < 0
    assert figures["gender_accuracy_change"] == pytest.approx(0.1, abs=0.03)


def test_a_worse_challenger_has_a_change_above_zero() -> None:
    truth, champion = noisy(500, 4)
    challenger = answers_with((champion.age - truth.age) * 2, truth.age, female=1 - truth.female)
    figures = compare(truth, champion, challenger)
    assert figures["low"] > 0
    assert figures["gender_accuracy_change"] < -0.8


def test_comparing_leaves_out_what_is_unknown() -> None:
    truth, champion = noisy(100, 4)
    truth.age[:50] = np.nan
    assert compare(truth, champion, champion)["faces"] == 50
    assert compare(truth, champion, champion)["age_mae_change"] == 0


@pytest.mark.filterwarnings("error")
def test_comparing_on_faces_of_unknown_age_gives_no_change_and_no_error() -> None:
    truth, champion = noisy(100, 4)
    truth.age[:] = np.nan
    assert np.isnan(compare(truth, champion, champion)["age_mae_change"])
