"""Every figure of models/figures.py, from weighted faces.

With each face weighed once they are the figures themselves; with a row of weights for each resample, those of all
resamples at once. Nearly all are the mean of something that each face has, so that a matrix product gives them."""

import numpy as np

from storage.queries import SURE_FROM
from tasks.evaluation.judged import Judged

AGE_BANDS = ((0, 4), (5, 15), (16, 29), (30, 44), (45, 59), (60, 74), (75, 116))
BAND_NAMES = [f"{low}-{high}" for low, high in AGE_BANDS]
FEW = 10  # of fewer faces a figure says nothing
CALIBRATION_BINS = 15
_ADULT_YEARS = 16
_NAMED = (0.0, 0.5, 1.0)  # the "probabilities" of a model that only names genders: there's no calibration to measure


class Meter:
    """Measures some faces, under many weights. `faces` has, of each figure that their labels allow, how many of them
    it is taken from."""

    def __init__(self, judged: Judged) -> None:
        columns = _age_columns(judged) | _gender_columns(judged)
        self._columns = {name: column for name, column in columns.items() if not np.isnan(column).all()}
        self._classes = _class_columns(judged)
        self._truth, self._female = _graded(judged)
        self.faces = {name: _count(column) for name, column in self._columns.items()}
        if len(self._classes) > 1:
            self.faces["age_mae_classwise"] = sum(map(_count, self._classes))
        if _count(self._truth):
            self.faces["gender_brier"] = _count(self._truth)
        if {0, 1} <= set(self._truth):  # among women alone, no probability but 1 is calibrated, and none is higher
            self.faces |= dict.fromkeys(("gender_auc", "gender_ece", "gender_ece_by_chance"), _count(self._truth))

    def figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Each figure of `faces`, float [draws], for `weights` of [draws, n]; NaN in a draw without a face for it."""
        found = dict(zip(self._columns, _means(list(self._columns.values()), weights), strict=True))
        if "age_rmse" in found:
            found["age_rmse"] = np.sqrt(found["age_rmse"])
        if "age_mae_classwise" in self.faces:
            found["age_mae_classwise"] = np.mean(_means(self._classes, weights), axis=0)
        if "gender_brier" in self.faces:
            found["gender_brier"] = _means([(self._female - self._truth) ** 2], weights)[0]
        if "gender_ece" in self.faces:
            found["gender_auc"] = area_under_curve(self._truth, self._female, weights)
            found["gender_ece"] = calibration_error(self._truth, self._female, weights)
            found["gender_ece_by_chance"] = chance_error(self._female, weights)
        return found


def bands_of(age: np.ndarray) -> np.ndarray:
    """The place in AGE_BANDS of each age in years, int [n]; -1 where unknown."""
    starts = [low for low, _ in AGE_BANDS]
    return np.where(np.isnan(age), -1, np.searchsorted(starts, age, side="right") - 1)


def calibration_bins(female: np.ndarray) -> np.ndarray:
    """The bin of each probability, int [n], 0 to 14; the last holds 1 too."""
    return np.minimum((female * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def calibration_error(truth: np.ndarray, female: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The expected calibration error, float [draws]: how far the mean probability of female is from the share of
    female faces, over 15 bins of equal width of that probability, each counting as its faces do (Naeini et al., 2015;
    15 as in Guo et al., 2017). `truth` and `female` are float [n], NaN where unknown."""
    known = ~np.isnan(truth)
    sums = _by_bin(female[known], (female - truth)[known], weights[:, known])
    with np.errstate(invalid="ignore"):
        return np.abs(sums).sum(axis=1) / weights[:, known].sum(axis=1)


def chance_error(female: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The calibration error that a perfectly calibrated model of these probabilities would show on so many faces, by
    chance, float [draws]: each bin's is the mean distance from 0 of a normal variable of its variance."""
    known = ~np.isnan(female)
    variances = _by_bin(female[known], (female * (1 - female))[known], weights[:, known])
    with np.errstate(invalid="ignore"):
        return np.sqrt(variances * 2 / np.pi).sum(axis=1) / weights[:, known].sum(axis=1)


def area_under_curve(truth: np.ndarray, female: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The ROC's, float [draws]: in what share of pairs of a female and a male face the female one has the higher
    probability, ties counting half (Hanley and McNeil, 1982). scikit-learn's function takes one draw at a time, a
    thousand times as long."""
    order = np.argsort(female, kind="stable")[: _count(truth)]  # NaN, where unknown, comes last
    truth, female, weights = truth[order], female[order], weights[:, order]
    starts = np.flatnonzero(np.diff(female, prepend=-1))
    women = np.add.reduceat(weights * (truth > 0.5), starts, axis=1)
    men = np.add.reduceat(weights * (truth < 0.5), starts, axis=1)
    below = np.cumsum(men, axis=1) - men / 2
    with np.errstate(invalid="ignore"):
        return (women * below).sum(axis=1) / (women.sum(axis=1) * men.sum(axis=1))


def _by_bin(female: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    member = np.eye(CALIBRATION_BINS)[calibration_bins(female)]
    return weights @ (member * values[:, None])


def _age_columns(judged: Judged) -> dict[str, np.ndarray]:
    low, high, truth = judged.answers.age_low, judged.answers.age_high, judged.truth.age
    error = judged.age_errors()
    distance, bounded = np.abs(error), ~np.isnan(truth + low + high)
    return {
        "age_mae": distance,
        "age_rmse": distance**2,
        "age_bias": error,
        "cs5": _where(~np.isnan(error), distance <= 5),
        "cs10": _where(~np.isnan(error), distance <= 10),
        "interval_coverage": _where(bounded, (low <= truth) & (truth <= high)),
        "interval_width": _where(bounded, high - low),
    }


def _class_columns(judged: Judged) -> list[np.ndarray]:
    """For the class-wise MAE: the classes are AGE_BANDS, those of FEW faces or more."""
    distance, band = np.abs(judged.age_errors()), bands_of(judged.truth.age)
    columns = [_where(band == place, distance) for place in range(len(AGE_BANDS))]
    return [column for column in columns if _count(column) >= FEW]


def _gender_columns(judged: Judged) -> dict[str, np.ndarray]:
    """Right is an answer on the labelled side of one half; a probability of exactly that names neither."""
    truth, female = judged.truth.female, judged.probability()
    labelled = ~np.isnan(truth - female)
    right = _where(labelled, np.where(truth > 0.5, female > 0.5, female < 0.5))
    sure = np.maximum(female, 1 - female) >= SURE_FROM
    return {
        "gender_accuracy": right,
        "gender_accuracy_from_16": _where(judged.truth.age >= _ADULT_YEARS, right),
        "female_recall": _where(truth > 0.5, right),
        "male_recall": _where(truth < 0.5, right),
        "uncertain_share": _where(labelled, ~sure),
        "sure_accuracy": _where(sure, right),
    }


def _graded(judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probability of female, float [n] each, NaN where either is unknown: everywhere, for a model that only
    names genders."""
    female = judged.probability()
    known = ~np.isnan(judged.truth.female - female) & (not np.isin(female[~np.isnan(female)], _NAMED).all())
    return _where(known, judged.truth.female), _where(known, female)


def _where(condition: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(condition, values, np.nan)


def _count(column: np.ndarray) -> int:
    return int((~np.isnan(column)).sum())


def _means(columns: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Weighted means of each column over the faces that have it, float [columns, draws]."""
    if not columns:
        return np.empty((0, len(weights)))
    stacked = np.stack(columns, axis=1)
    known = ~np.isnan(stacked)
    with np.errstate(invalid="ignore"):
        return ((weights @ np.where(known, stacked, 0)) / (weights @ known)).T
