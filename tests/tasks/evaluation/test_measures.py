"""Figures are what closed forms say they must be, on models whose errors are known."""

import numpy as np
import pytest
from scipy.special import erf, expit
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, roc_auc_score

from tasks.dataset import Truth
from tasks.evaluation.judged import Judged
from tasks.evaluation.measures import AGE_BANDS, Meter, area_under_curve, bands_of, calibration_error, chance_error
from tests.judged import answers_with, judged, known_model

MANY = 40_000
ERRORS = np.array([0, 1, -2, 5, -5, 6, 10, -10, 11, -20], float)
AGE = np.arange(20, 30, dtype=float)
FEMALE = np.array([1, 0] * 5, float)


def figures_of(faces: Judged) -> dict[str, float]:
    figures = Meter(faces).figures(np.ones((1, len(faces))))
    return {name: float(values[0]) for name, values in figures.items()}


@pytest.mark.parametrize("spread", [2.0, 6.0])
def test_normal_errors_give_the_figures_of_a_normal_distribution(spread: float) -> None:
    figures = figures_of(known_model(MANY, 0, spread=spread))
    mean = spread * np.sqrt(2 / np.pi)
    years = {"age_mae": mean, "age_mae_classwise": mean, "age_rmse": spread, "age_bias": 0}
    years["interval_width"] = 2 * 1.6449 * spread
    shares = {"cs5": erf(5 / (spread * np.sqrt(2))), "cs10": erf(10 / (spread * np.sqrt(2))), "interval_coverage": 0.9}
    assert {name: figures[name] for name in years} == pytest.approx(years, abs=0.02 * spread)
    assert {name: figures[name] for name in shares} == pytest.approx(shares, abs=0.006)


def test_the_figures_of_age_are_exact() -> None:
    figures = figures_of(judged(Truth(AGE, np.full(10, np.nan)), answers_with(ERRORS, AGE, 5)))
    assert figures == pytest.approx(
        {
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
    age = np.where(np.arange(10) < 4, 15.9, AGE)
    said = np.array([0.4, 0.6, 0.9, 0.1, 0.7, 0.2, 0.99, 0.3, 0.8, 0.01])
    figures = figures_of(judged(Truth(age, FEMALE), answers_with(ERRORS, age, female=said)))
    expected = {
        "gender_accuracy": 0.8,
        "gender_accuracy_from_16": 1.0,
        "female_recall": 0.8,
        "male_recall": 0.8,
        "uncertain_share": 0.4,  # 0.4, 0.6, 0.7 and 0.3: a gender is named from 0.75 on
        "sure_accuracy": 1.0,
        "gender_auc": roc_auc_score(FEMALE, said),
        "gender_brier": brier_score_loss(FEMALE, said),
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


def test_a_class_counts_alike_however_many_faces_it_has() -> None:
    """90 children off by 1 year and 10 people in their thirties off by 9: an MAE of 1.8, class-wise of 5."""
    age, errors = np.repeat([3.0, 33.0], [90, 10]), np.repeat([1.0, 9.0], [90, 10])
    figures = figures_of(judged(Truth(age, np.full(100, np.nan)), answers_with(errors, age)))
    assert (figures["age_mae"], figures["age_mae_classwise"]) == pytest.approx((1.8, 5.0))


def test_a_class_of_few_faces_does_not_count() -> None:
    age = np.repeat([3.0, 33.0, 50.0], [20, 20, 9])
    errors = np.repeat([1.0, 3.0, 100.0], [20, 20, 9])
    figures = figures_of(judged(Truth(age, np.full(49, np.nan)), answers_with(errors, age)))
    assert figures["age_mae_classwise"] == pytest.approx(2)


def test_faces_of_unknown_age_do_not_count_for_age() -> None:
    age, errors = AGE.copy(), np.zeros(10)
    age[0], errors[1] = np.nan, 9
    figures = figures_of(judged(Truth(age, FEMALE), answers_with(errors, AGE, female=FEMALE)))
    assert (figures["age_mae"], figures["interval_coverage"], figures["gender_accuracy"]) == (
        1,
        pytest.approx(8 / 9),
        1,
    )


def test_faces_of_unknown_gender_do_not_count_for_gender() -> None:
    truth = Truth(AGE, np.where(np.arange(10) < 4, np.nan, FEMALE))
    said = np.where(np.arange(10) < 5, 1 - FEMALE, FEMALE)
    faces = judged(truth, answers_with(ERRORS, AGE, female=said))
    assert figures_of(faces)["gender_accuracy"] == pytest.approx(5 / 6)
    assert Meter(faces).faces["gender_accuracy"] == 6


def test_labels_that_say_nothing_give_no_figures() -> None:
    nothing = np.full(10, np.nan)
    assert figures_of(judged(Truth(nothing, nothing), answers_with(ERRORS, AGE, female=FEMALE))) == {}


def test_a_model_of_age_alone_has_no_figure_of_gender() -> None:
    figures = figures_of(judged(Truth(AGE, FEMALE), answers_with(ERRORS, AGE)))
    assert [name for name in figures if "gender" in name or "recall" in name or "sure" in name] == []


def test_a_model_that_only_names_genders_has_no_calibration() -> None:
    """One half stands for uncertain: it's right for nobody."""
    said = np.array([1, 0, 0.5, 0.5, 0, 1, 1, 0, 1, 0])
    figures = figures_of(judged(Truth(AGE, FEMALE), answers_with(ERRORS, AGE, female=said)))
    assert (figures["gender_accuracy"], figures["uncertain_share"], figures["sure_accuracy"]) == (0.6, 0.2, 0.75)
    assert {"gender_ece", "gender_auc", "gender_brier"} & set(figures) == set()


def test_among_faces_of_one_gender_nothing_can_be_calibrated() -> None:
    said = np.linspace(0.1, 0.9, 10)
    figures = figures_of(judged(Truth(AGE, np.ones(10)), answers_with(ERRORS, AGE, female=said)))
    assert {"gender_ece", "gender_auc", "male_recall"} & set(figures) == set()
    assert figures["female_recall"] == figures["gender_accuracy"]


def test_an_honest_probability_has_almost_no_calibration_error() -> None:
    assert figures_of(known_model(MANY, 1))["gender_ece"] < 0.01


def test_chance_explains_the_calibration_error_of_an_honest_probability() -> None:
    """Of small samples of an honest model, the mean error is the one by chance."""
    samples = [figures_of(known_model(500, seed)) for seed in range(60)]
    measured, expected = (
        np.mean([sample[name] for sample in samples]) for name in ("gender_ece", "gender_ece_by_chance")
    )
    assert measured == pytest.approx(expected, rel=0.08)


def test_an_overconfident_probability_has_the_known_calibration_error() -> None:
    """A model that says 0.9 or 0.1 where 0.7 and 0.3 are true is 0.2 off everywhere."""
    random = np.random.default_rng(2)
    higher = random.random(MANY) < 0.5
    truth = (random.random(MANY) < np.where(higher, 0.7, 0.3)).astype(float)
    error = calibration_error(truth, np.where(higher, 0.9, 0.1), np.ones((1, MANY)))[0]
    assert error == pytest.approx(0.2, abs=0.01)


def test_a_model_that_is_always_sure_and_always_wrong_has_the_largest_calibration_error() -> None:
    assert calibration_error(FEMALE, 1 - FEMALE, np.ones((1, 10)))[0] == 1
    assert chance_error(FEMALE, np.ones((1, 10)))[0] == 0


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
def test_two_shifted_normals_have_the_known_area_under_the_curve(distance: float) -> None:
    random = np.random.default_rng(3)
    truth = np.repeat([0.0, 1.0], MANY // 2)
    female = expit(random.normal(0, 1, MANY) + distance * truth)
    area = area_under_curve(truth, female, np.ones((1, MANY)))[0]
    assert area == pytest.approx(norm.cdf(distance / np.sqrt(2)), abs=0.01)


def test_the_area_under_the_curve_with_weights_and_ties_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(4)
    truth, female = random.integers(0, 2, 300).astype(float), random.integers(0, 12, 300) / 11
    weights = random.integers(0, 4, (5, 300)).astype(float)
    expected = [roc_auc_score(truth, female, sample_weight=row) for row in weights]
    assert area_under_curve(truth, female, weights) == pytest.approx(expected)


def test_a_face_that_counts_twice_is_as_two_faces() -> None:
    faces, twice = known_model(200, 5), np.arange(200) < 50
    rows = np.concatenate([np.arange(200), np.flatnonzero(twice)])
    repeated = judged(faces.truth.take(rows), faces.answers.take(rows))
    weighted = Meter(faces).figures(1.0 + twice[None, :])
    assert {name: values[0] for name, values in weighted.items()} == pytest.approx(figures_of(repeated))


def test_a_draw_without_a_face_for_a_figure_has_no_value() -> None:
    age = np.repeat([10.0, 40.0], 10)
    faces = judged(Truth(age, np.tile(FEMALE, 2)), answers_with(np.zeros(20), age, female=np.tile(FEMALE, 2)))
    figures = Meter(faces).figures((age < 16)[None, :].astype(float))
    assert np.isnan(figures["gender_accuracy_from_16"][0])
    assert figures["gender_accuracy"][0] == 1


def test_every_age_is_in_one_band_and_an_unknown_one_in_none() -> None:
    ages = np.array([0, 4.9, 5, 15.9, 16, 29, 30, 60, 75, 116, np.nan])
    assert [AGE_BANDS[band] if band >= 0 else None for band in bands_of(ages)] == [
        (0, 4), (0, 4), (5, 15), (5, 15), (16, 29), (16, 29), (30, 44), (60, 74), (75, 116), (75, 116), None,
    ]  # fmt: skip
