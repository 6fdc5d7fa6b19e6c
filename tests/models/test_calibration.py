"""90 % means 90 %, and a probability means a share, on faces that the calibration didn't see."""

import numpy as np
import pytest
from scipy.special import expit

from models.calibration import YEARS, Calibration, RawAnswers, calibrate, interval, reaches, temperature


def heteroscedastic(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ages answered, the spread that the model claims (half of the real one), and the truth."""
    random = np.random.default_rng(seed)
    age, spread = random.uniform(5, 90, count), random.uniform(1, 8, count)
    return age, spread, (age + random.normal(0, 2 * spread)).clip(0, YEARS[-1]).round()


def held(age: np.ndarray, spread: np.ndarray, truth: np.ndarray, of_years: np.ndarray) -> np.ndarray:
    low, high = interval(age, spread, of_years)
    return (low <= truth) & (truth <= high)


@pytest.mark.parametrize("seed", range(3))
def test_an_interval_holds_nine_of_ten_faces(seed: int) -> None:
    fitted = reaches(*heteroscedastic(3000, seed))
    assert 0.88 <= held(*heteroscedastic(20_000, seed + 100), fitted).mean() <= 0.92


def taken_for_younger(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A model that is right of most and takes everyone over 75 for ten years younger."""
    random = np.random.default_rng(seed)
    truth = random.uniform(1, 90, count).round()
    return truth - np.where(truth >= 75, 10, 0) + random.normal(0, 4, count), np.full(count, 3.0), truth


def test_the_old_are_held_as_often_as_the_others_though_they_are_few_and_taken_for_younger() -> None:
    age, spread, truth = taken_for_younger(20_000, 1)
    fitted = reaches(*taken_for_younger(3000, 0))
    old = truth >= 77
    assert held(age, spread, truth, fitted)[old].mean() >= 0.86
    assert 0.88 <= held(age, spread, truth, fitted).mean() <= 0.93
    one_for_all = np.full(len(YEARS), np.quantile(np.abs(age - truth) / (spread + 1), 0.9))
    assert held(age, spread, truth, one_for_all)[old].mean() < 0.6


def test_an_interval_is_wider_where_the_model_doubts() -> None:
    low, high = interval(np.array([30.0, 30.0]), np.array([1.0, 9.0]), np.full(len(YEARS), 2.0))
    assert (high - low).tolist() == [8.0, 40.0]


def test_an_interval_holds_its_own_answer_and_stays_within_a_life() -> None:
    age = np.array([0.0, 0.3, 58.5, 116.0])
    low, high = interval(age, np.zeros(4), np.full(len(YEARS), 0.1))
    assert (low <= age).all()
    assert (age <= high).all()
    wide_low, wide_high = interval(age, np.full(4, 50.0), np.full(len(YEARS), 9.0))
    assert set(wide_low) == {0.0}
    assert set(wide_high) == {116.0}


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 12])
def test_few_faces_give_an_interval_that_still_holds_nine_of_ten(count: int) -> None:
    draws = [
        held(*heteroscedastic(20, seed + 10_000), reaches(*heteroscedastic(count, seed))).mean() for seed in range(2000)
    ]
    assert np.mean(draws) >= 0.895  # of nine faces it is 90 % exactly, and 0.5 points are chance


def test_an_interval_of_too_few_faces_is_the_whole_life() -> None:
    low, high = interval(np.array([0.0, 35.5, 116.0]), np.zeros(3), reaches(*heteroscedastic(8, 0)))
    assert set(low) == {0.0}
    assert set(high) == {116.0}


def test_without_faces_there_is_nothing_to_calibrate_on() -> None:
    with pytest.raises(ValueError, match="can't be calibrated"):
        reaches(np.empty(0), np.empty(0), np.empty(0))


def test_unknown_labels_are_left_out_of_a_calibration() -> None:
    age, spread, truth = heteroscedastic(300, 0)
    logits = np.random.default_rng(1).normal(0, 3, 300)
    female = (np.random.default_rng(2).random(300) < expit(logits)).astype(float)
    known = calibrate(RawAnswers(age[:200], spread[:200], logits[:200]), truth[:200], female[:200])
    truth[200:], female[200:] = np.nan, np.nan
    assert calibrate(RawAnswers(age, spread, logits), truth, female) == known


@pytest.mark.parametrize("real", [0.5, 1.0, 2.0, 5.0])
def test_a_temperature_that_is_known_is_found(real: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, 20_000) * real
    female = (random.random(20_000) < expit(logits / real)).astype(float)
    assert temperature(logits, female) == pytest.approx(real, rel=0.08)


def test_a_model_that_is_always_right_of_a_few_sure_faces_is_made_little_surer() -> None:
    assert 0.7 < temperature(np.array([9.0, -9.0] * 50), np.array([1.0, 0.0] * 50)) < 1


def answered(count: int, seed: int, overconfidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Gender logits that are so many times too large, and the truth."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 4, count)
    return logits * overconfidence, (random.random(count) < expit(logits)).astype(float)


def calibration_errors(count: int, overconfidence: float, draws: int) -> list[float]:
    """The expected calibration error (ECE) after each of so many calibrations on `count` faces each; the last is
    without any."""
    logits, female = answered(20_000, 0, overconfidence)
    heats = [temperature(*answered(count, seed, overconfidence)) for seed in range(1, draws + 1)]
    return [ece(expit(logits / heat), female) for heat in [*heats, 1.0]]


def ece(probability: np.ndarray, female: np.ndarray) -> float:
    bins = (probability * 15).astype(int).clip(0, 14)
    return float(np.abs(np.bincount(bins, probability - female, 15)).sum() / len(female))


@pytest.mark.parametrize("count", [10, 20, 40])
def test_few_faces_leave_an_honest_model_nearly_as_honest(count: int) -> None:
    *after, before = calibration_errors(count, 1.0, 200)
    assert before < 0.01
    assert np.mean(after) < before + 0.012


@pytest.mark.parametrize(("count", "left"), [(40, 0.8), (200, 0.4), (1000, 0.2)])
def test_a_model_that_is_too_sure_is_put_right_the_more_faces_say_so(count: int, left: float) -> None:
    *after, before = calibration_errors(count, 2.0, 20)
    assert before > 0.05
    assert np.mean(after) < left * before


def test_a_temperature_without_faces_changes_nothing() -> None:
    assert temperature(np.empty(0), np.empty(0)) == 1.0


def test_calibrated_answers_are_the_raw_ones_tempered_and_with_an_interval() -> None:
    raw = RawAnswers(np.array([30.0]), np.array([3.0]), np.array([2.0]))
    answers = Calibration((1.5,) * len(YEARS), temperature=2.0).answers(raw)
    assert (answers.age[0], answers.age_low[0], answers.age_high[0]) == (30, 24, 36)
    assert answers.female is not None
    assert answers.female[0] == pytest.approx(expit(1.0))


def test_a_model_of_age_alone_gives_no_probability() -> None:
    assert Calibration((1.0,) * len(YEARS)).answers(RawAnswers(np.ones(3), np.ones(3), None)).female is None
