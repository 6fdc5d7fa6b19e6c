"""Makes a model's doubt honest, on validation faces that it wasn't trained on.

The age interval is label-conditional split-conformal (Vovk et al., 2005; Ding et al., 2023): each year of age has a
reach of its own, from the errors of the validation faces nearest to it in age, in units of the model's own spread.
One reach for all ages held 90 % of all errors but 72 % of those over 75, whom models take for younger. The gender
probability is tempered (Guo et al., 2017), by a temperature that few faces move little from 1."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from models.contract import Answers
from storage.values import LONGEST_LIFE_YEARS

COVERAGE = 0.9
YEARS = np.arange(LONGEST_LIFE_YEARS + 1, dtype=np.float32)
SPREAD_FLOOR_YEARS = 1.0  # added to a spread, so that a very sure answer keeps some width
_NEIGHBOURS = 80  # faces whose errors speak for a year of age
_WHOLE_LIFE = LONGEST_LIFE_YEARS / SPREAD_FLOOR_YEARS  # a reach from any age to any other, however sure the answer
_PRIOR_FACES = 40  # what a temperature of 1 weighs: with 10 faces an honest model's ECE is 0.01, without it 0.06
_INFORMATION = 0.25  # of the log of the temperature in one face's answer (Fisher), whose logits spread by 2 to 5


@dataclass(frozen=True)
class RawAnswers:
    """A network's answers before calibration, float32 [n] each: years, years, and a gender logit (female above 0)."""

    age: np.ndarray
    spread: np.ndarray
    gender: np.ndarray | None


@dataclass(frozen=True)
class Calibration:
    """`reaches` is how far each year of `YEARS` may be from an answer, in units of its spread plus one year;
    probability = sigmoid(logit / `temperature`)."""

    reaches: tuple[float, ...]
    temperature: float = 1.0

    def answers(self, raw: RawAnswers) -> Answers:
        low, high = interval(raw.age, raw.spread, np.array(self.reaches, np.float32))
        female = None if raw.gender is None else expit(raw.gender / self.temperature)
        return Answers(raw.age, low, high, female)


def calibrate(raw: RawAnswers, age: np.ndarray, female: np.ndarray) -> Calibration:
    """Fits all of it. `age` is in years, `female` 0 or 1, NaN where unknown, float [n] each.
    Raises ValueError when no face has an age."""
    known, labelled = ~np.isnan(age), ~np.isnan(female)
    fitted = reaches(raw.age[known], raw.spread[known], age[known])
    heat = 1.0 if raw.gender is None else temperature(raw.gender[labelled], female[labelled])
    return Calibration(tuple(map(float, fitted)), heat)


def reaches(age: np.ndarray, spread: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For each of `YEARS`, what 90 % of the errors of the faces of about that age stay within, over the spread plus
    one year, with the finite-sample correction: under nine faces can't tell 90 %, and each year reaches the whole life.
    Float [n] each, years, without NaN. Raises ValueError when there are none."""
    if len(age) == 0:
        raise ValueError("no validation face with an age: the interval can't be calibrated")
    ratios = np.abs(age - truth) / (spread + SPREAD_FLOOR_YEARS)
    count = min(_NEIGHBOURS, len(ratios))
    rank = int(np.ceil((count + 1) * COVERAGE))
    if rank > count:
        return np.full(len(YEARS), _WHOLE_LIFE)
    nearest = np.argsort(np.abs(truth[None, :] - YEARS[:, None]), axis=1, kind="stable")[:, :count]
    return np.sort(ratios[nearest], axis=1)[:, rank - 1]


def interval(age: np.ndarray, spread: np.ndarray, of_years: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest age that reach the answer, between years by interpolation; `models.export` has the
    same as a graph."""
    over = of_years * (spread[:, None] + SPREAD_FLOOR_YEARS) - np.abs(YEARS - age[:, None])
    low = np.where(over >= 0, YEARS - _share(over, np.pad(over[:, :-1], ((0, 0), (1, 0)))), YEARS[-1]).min(axis=1)
    high = np.where(over >= 0, YEARS + _share(over, np.pad(over[:, 1:], ((0, 0), (0, 1)))), YEARS[0]).max(axis=1)
    return np.minimum(low, age), np.maximum(high, age)


def _share(over: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """How far, of a year, the reach goes on towards the year beside, which it doesn't get to."""
    crossed = (over >= 0) & (beside < 0)
    return np.where(crossed, over / np.where(crossed, over - beside, 1), 0)


def temperature(logits: np.ndarray, female: np.ndarray) -> float:
    """The temperature of least cross entropy, in 0.25 to 8, with a log-normal prior around 1: ten faces that a model
    happens to get right don't make it certain, nor does one that it gets wrong make it doubt all. Float [n] each."""
    candidates = np.geomspace(0.25, 8, 401)  # 1 is one of them
    tempered = logits[None, :] / candidates[:, None]
    losses = np.sum(np.logaddexp(0, tempered) - tempered * female, axis=1)
    prior = _PRIOR_FACES * _INFORMATION / 2 * np.log(candidates) ** 2
    return float(candidates[np.argmin(losses + prior)])
