"""Faces with a known truth, and models whose errors are known: what their figures must be is known in closed form."""

import numpy as np
import polars as pl
from scipy.special import expit

from models.contract import Answers
from tasks.dataset import Truth
from tasks.evaluation.judged import Judged


def answers_with(errors: np.ndarray, age: np.ndarray, half: float = 5, female: np.ndarray | None = None) -> Answers:
    """Ages off by those errors, with an interval of that half width; years."""
    answered = age + errors
    return Answers(answered, answered - half, answered + half, female)


def judged(truth: Truth, answers: Answers, **groups: list[str | None]) -> Judged:
    columns = [pl.Series(name, values, pl.String) for name, values in groups.items()]
    return Judged(truth, answers, pl.DataFrame(height=len(truth.age)).with_columns(columns))


def known_model(count: int, seed: int, *, spread: float = 5, overconfidence: float = 1) -> Judged:
    """Normal errors of that spread in years, and a 90 % interval that knows it. Genders are drawn with a probability
    whose logit is normal with a spread of 3; the model gives that logit times its overconfidence, 1 being honest."""
    random = np.random.default_rng(seed)
    age, logit = random.uniform(0, 90, count), random.normal(0, 3, count)
    female = (random.random(count) < expit(logit)).astype(float)
    answers = answers_with(random.normal(0, spread, count), age, 1.6449 * spread, expit(overconfidence * logit))
    return judged(Truth(age, female), answers)
