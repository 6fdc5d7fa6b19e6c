"""Makes a model's doubt honest, on validation faces that it wasn't trained on.

The age interval is split-conformal (Lei et al., 2018) on the error divided by the model's own spread, so that its
width follows the difficulty. The gender probability is tempered (Guo et al., 2017)."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from models.contract import Answers

COVERAGE = 0.9
_SPREAD_FLOOR_YEARS = 1.0  # added to a spread, so that a very sure answer keeps some width


@dataclass(frozen=True)
class Calibration:
    """Interval = age -+ `width` * (spread + 1 year); probability = sigmoid(logit / `temperature`)."""

    width: float
    temperature: float

    def answers(self, raw: "RawAnswers") -> Answers:
        low, high = interval(raw.age, raw.spread, self.width)
        female = None if raw.gender is None else expit(raw.gender / self.temperature)
        return Answers(raw.age, low, high, female)


@dataclass(frozen=True)
class RawAnswers:
    """A network's answers before calibration, float32 [n] each: years, years, and a gender logit (female above 0)."""

    age: np.ndarray
    spread: np.ndarray
    gender: np.ndarray | None


def interval_width(age: np.ndarray, spread: np.ndarray, truth: np.ndarray) -> float:
    """The factor that makes the interval hold 90 % of the errors, with the finite-sample correction. Float [n] each,
    years, without NaN.
    Raises ValueError when there are none."""
    if len(age) == 0:
        raise ValueError("no validation face with an age: the interval can't be calibrated")
    ratios = np.sort(np.abs(age - truth) / (spread + _SPREAD_FLOOR_YEARS))
    rank = int(np.ceil((len(ratios) + 1) * COVERAGE))
    return float(ratios[min(rank, len(ratios)) - 1])


def interval(age, spread, width: float):  # of arrays and of tensors alike
    half = width * (spread + _SPREAD_FLOOR_YEARS)
    return age - half, age + half


def temperature(logits: np.ndarray, female: np.ndarray) -> float:
    """The temperature of least cross entropy, in 0.25 to 8; 1 where there is nothing to fit on. Float [n] each."""
    if len(logits) == 0:
        return 1.0
    candidates = np.geomspace(0.25, 8, 400)
    tempered = logits[None, :] / candidates[:, None]
    losses = np.mean(np.logaddexp(0, tempered) - tempered * female, axis=1)
    return float(candidates[np.argmin(losses)])
