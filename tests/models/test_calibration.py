"""90 % means 90 %, and a probability means a share, on faces that the calibration didn't see."""

import numpy as np
import pytest
from scipy.special import expit

from models.calibration import Calibration, RawAnswers, interval, interval_width, temperature


def heteroscedastic(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ages answered, the spread that the model claims (half of the real one), and the truth."""
    random = np.random.default_rng(seed)
    age, spread = random.uniform(5, 90, count), random.uniform(1, 12, count)
    return age, spread, age + random.normal(0, 2 * spread)


@pytest.mark.parametrize("seed", range(3))
def test_an_interval_holds_nine_of_ten_faces(seed: int) -> None:
    width = interval_width(*heteroscedastic(3000, seed))
    age, spread, truth = heteroscedastic(20_000, seed + 100)
    low, high = interval(age, spread, width)
    assert 0.88 <= np.mean((low <= truth) & (truth <= high)) <= 0.92


def test_an_interval_is_wider_where_the_model_doubts() -> None:
    low, high = interval(np.array([30.0, 30.0]), np.array([1.0, 9.0]), 2.0)
    assert (high - low).tolist() == [8.0, 40.0]


def test_few_faces_give_an_interval_that_is_rather_too_wide() -> None:
    age, spread, truth = heteroscedastic(5, 0)
    ratios = np.abs(age - truth) / (spread + 1)
    assert interval_width(age, spread, truth) == pytest.approx(ratios.max())


def test_without_faces_there_is_nothing_to_calibrate_on() -> None:
    with pytest.raises(ValueError, match="can't be calibrated"):
        interval_width(np.empty(0), np.empty(0), np.empty(0))


@pytest.mark.parametrize("real", [0.5, 1.0, 2.0, 5.0])
def test_a_temperature_that_is_known_is_found(real: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, 20_000) * real
    female = (random.random(20_000) < expit(logits / real)).astype(float)
    assert temperature(logits, female) == pytest.approx(real, rel=0.08)


def test_a_model_that_is_always_right_keeps_a_finite_temperature() -> None:
    assert temperature(np.array([9.0, -9.0] * 50), np.array([1.0, 0.0] * 50)) == pytest.approx(0.25)


def test_a_temperature_without_faces_changes_nothing() -> None:
    assert temperature(np.empty(0), np.empty(0)) == 1.0


def test_calibrated_answers_are_the_raw_ones_tempered_and_with_an_interval() -> None:
    raw = RawAnswers(np.array([30.0]), np.array([3.0]), np.array([2.0]))
    answers = Calibration(width=1.5, temperature=2.0).answers(raw)
    assert (answers.age[0], answers.age_low[0], answers.age_high[0]) == (30, 24, 36)
    assert answers.female is not None
    assert answers.female[0] == pytest.approx(expit(1.0))


def test_a_model_of_age_alone_gives_no_probability() -> None:
    assert Calibration(1.0, 1.0).answers(RawAnswers(np.ones(3), np.ones(3), None)).female is None
