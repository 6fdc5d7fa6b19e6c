"""An interval holds the truth as often as it says; pairing narrows it, and several photos of a person widen it."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from tasks.dataset import Truth
from tasks.evaluation.bootstrap import RESAMPLES, Drawn, drawn_figures, draws
from tasks.evaluation.judged import Judged
from tasks.evaluation.measures import Meter
from tests.judged import answers_with, judged, known_model


def drawn_of(faces: Judged) -> dict[str, Drawn]:
    return drawn_figures(faces, [np.ones(len(faces), bool)])[0]


def interval_of(faces: Judged, figure: str) -> tuple[float, float]:
    interval = drawn_of(faces)[figure].interval()
    assert interval is not None
    return interval


@pytest.fixture(scope="module")
def samples() -> list[dict[str, Drawn]]:
    """What 120 samples of 200 faces give, all of one overconfident model."""
    return [drawn_of(known_model(200, seed, overconfidence=1.5)) for seed in range(120)]


@pytest.fixture(scope="module")
def truth() -> dict[str, float]:
    """The same model's figures on so many faces that they are its true ones."""
    faces = known_model(100_000, 1000, overconfidence=1.5)
    return {name: values[0] for name, values in Meter(faces).figures(np.ones((1, len(faces)))).items()}


@pytest.mark.parametrize(
    "figure",
    [
        "age_mae",
        "age_mae_classwise",
        "age_rmse",
        "age_bias",
        "cs5",
        "interval_coverage",
        "gender_accuracy",
        "female_recall",
        "gender_auc",
        "gender_brier",
        "uncertain_share",
        "sure_accuracy",
    ],
)
@pytest.mark.slow
def test_an_interval_holds_the_truth_about_as_often_as_it_says(
    figure: str, samples: list[dict[str, Drawn]], truth: dict[str, float]
) -> None:
    """Of 120 intervals at 95 %, fewer than 105 or all would come by chance two or three times in a thousand."""
    assert 105 <= held(figure, samples, truth[figure]) < 120


@pytest.mark.slow
def test_the_interval_of_a_calibration_error_holds_it_though_samples_overstate_it(
    samples: list[dict[str, Drawn]], truth: dict[str, float]
) -> None:
    assert np.mean([sample["gender_ece"].value for sample in samples]) > truth["gender_ece"] + 0.01
    assert held("gender_ece", samples, truth["gender_ece"]) >= 110


def test_an_honest_model_may_have_no_calibration_error() -> None:
    """Percentiles alone, which the samples' overstating shifts, held its error of 0 in none of 100 samples."""
    assert held("gender_ece", [drawn_of(known_model(200, seed)) for seed in range(20)], 0) >= 19


def held(figure: str, samples: list[dict[str, Drawn]], truth: float) -> int:
    intervals = [sample[figure].interval() for sample in samples]
    return sum(low <= truth <= high for low, high in filter(None, intervals))


def test_the_interval_is_that_of_scipy() -> None:
    faces = known_model(300, 0)
    errors = np.abs(faces.age_errors())
    expected = bootstrap((errors,), np.mean, n_resamples=2000, method="percentile", rng=0).confidence_interval
    assert interval_of(faces, "age_mae") == pytest.approx((expected.low, expected.high), abs=0.05)


def test_two_runs_give_the_same_interval() -> None:
    assert interval_of(known_model(100, 0), "gender_auc") == interval_of(known_model(100, 0), "gender_auc")


def test_the_first_draw_is_the_faces_themselves_and_each_other_has_as_many() -> None:
    first, *others = draws(np.arange(50))
    assert (first == 1).all()
    assert [len(batch) for batch in others] == [RESAMPLES]
    assert (others[0].sum(axis=1) == 50).all()


def test_batches_hold_all_draws_of_many_faces() -> None:
    sizes = [len(batch) for batch in draws(np.arange(9_000))]
    assert (len(sizes), sum(sizes)) == (4, 1 + RESAMPLES)


def test_photos_of_one_person_are_drawn_together() -> None:
    people = np.repeat(np.arange(10), 3)
    weights = np.concatenate(list(draws(people)))
    assert (weights[:, ::3] == weights[:, 1::3]).all()
    assert (weights[:, ::3] == weights[:, 2::3]).all()


def test_ten_photos_of_each_person_say_little_more_than_one_of_each() -> None:
    """The photos of a person are all as wrong as each other, so 500 of them are worth 50."""
    age, errors = np.full(50, 40.0), np.random.default_rng(0).normal(0, 5, 50)
    once = judged(Truth(age, np.full(50, np.nan)), answers_with(errors, age))
    ten = np.repeat(np.arange(50), 10)
    often = judged(Truth(age[ten], np.full(500, np.nan), people=ten), answers_with(errors[ten], age[ten]))
    (low, high), (low_often, high_often) = (interval_of(faces, "age_mae") for faces in (once, often))
    assert high_often - low_often == pytest.approx(high - low, rel=0.1)


@pytest.mark.parametrize(("faces", "error"), [(9, 5.0), (50, 0.0)])
def test_few_faces_and_equal_faces_have_no_interval(faces: int, error: float) -> None:
    age = np.full(faces, 40.0)
    errors = error * np.arange(faces) if error else np.full(faces, 3.0)
    drawn = drawn_of(judged(Truth(age, np.full(faces, np.nan)), answers_with(errors, age)))
    assert drawn["age_mae"].interval() is None
    assert drawn["age_mae"].value == pytest.approx(np.abs(errors).mean())


def test_a_figure_of_few_faces_is_told_of_the_whole_only() -> None:
    faces = known_model(9, 0)
    small = np.zeros(200, bool)
    small[:9] = True
    whole, part = drawn_figures(known_model(200, 0), [np.ones(200, bool), small])
    assert "age_mae" in drawn_of(faces)
    assert ("age_mae" in whole, "age_mae" in part) == (True, False)


def test_the_difference_of_two_models_is_known_better_than_either() -> None:
    """A second model that errs as the first does, and half a year less each time."""
    first = known_model(300, 0)
    second = judged(first.truth, answers_with(0.9 * first.age_errors(), first.truth.age))
    before, after = drawn_of(first)["age_mae"], drawn_of(second)["age_mae"]
    (low, high), (low_change, high_change) = before.interval() or (0, 0), after.less(before).interval() or (0, 0)
    assert low_change < -0.1 * before.value < high_change < 0
    assert high_change - low_change < 0.2 * (high - low)
