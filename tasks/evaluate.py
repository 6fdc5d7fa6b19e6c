"""How good a model is on labelled faces, overall, by age band and by group, with bootstrap 95 % intervals."""

import numpy as np
from scipy.stats import bootstrap

from models.contract import Answers
from tasks.dataset import Truth

AGE_BANDS = ((0, 4), (5, 15), (16, 29), (30, 44), (45, 59), (60, 74), (75, 116))
_RESAMPLES = 1000
_MOST_GROUPS = 50  # a column of more values is an identifier, not a group
_FEW = 10  # below this many faces, a figure says nothing and isn't given


def report(truth: Truth, answers: Answers, groups: list[dict[str, str]]) -> dict:
    """All figures of a set of faces: `overall`, `intervals`, `bands` (of age), and `groups` (a row for each value of
    each further label column)."""
    columns = sorted({name for labels in groups for name in labels} - {"split"})
    by_group = []
    for column in columns:
        values = [labels.get(column) for labels in groups]
        if len(set(values)) <= _MOST_GROUPS:
            by_group += [row | {"column": column} for row in measure_by_group(truth, answers, values)]
    return {
        "overall": measure(truth, answers),
        "intervals": intervals(truth, answers),
        "bands": measure_by_band(truth, answers),
        "groups": by_group,
    }


def measure(truth: Truth, answers: Answers) -> dict[str, float]:
    """Age MAE, RMSE and bias in years, CS@5 and CS@10 (share within so many years), coverage and mean width of the
    90 % interval; gender accuracy, over all ages and from 16. Only what the labels allow."""
    figures: dict[str, float] = {"faces": float(len(truth.age))}
    known = ~np.isnan(truth.age)
    if known.any():
        errors = (answers.age - truth.age)[known]
        inside = (answers.age_low <= truth.age) & (truth.age <= answers.age_high)
        figures |= {
            "age_mae": float(np.abs(errors).mean()),
            "age_rmse": float(np.sqrt(np.square(errors).mean())),
            "age_bias": float(errors.mean()),
            "cs5": float((np.abs(errors) <= 5).mean()),
            "cs10": float((np.abs(errors) <= 10).mean()),
            "interval_coverage": float(inside[known].mean()),
            "interval_width": float((answers.age_high - answers.age_low)[known].mean()),
        }
    labelled = ~np.isnan(truth.female)
    if answers.female is not None and labelled.any():
        right = _right_gender(truth, answers)
        figures["gender_accuracy"] = float(right[labelled].mean())
        adult = labelled & (truth.age >= 16)
        if adult.any():
            figures["gender_accuracy_from_16"] = float(right[adult].mean())
    return figures


def measure_by_band(truth: Truth, answers: Answers) -> list[dict]:
    """`measure` for each age band with enough faces, as rows with a column `band`."""
    bands = {f"{low}-{high}": (truth.age >= low) & (truth.age < high + 1) for low, high in AGE_BANDS}
    return _by(bands, truth, answers, "band")


def measure_by_group(truth: Truth, answers: Answers, values: list[str | None]) -> list[dict]:
    """`measure` for each value of a group column with enough faces, as rows with a column `group`."""
    named = np.array([value or "" for value in values])
    return _by({value: named == value for value in sorted(set(named) - {""})}, truth, answers, "group")


def intervals(truth: Truth, answers: Answers) -> dict[str, tuple[float, float]]:
    """Bootstrap 95 % intervals (percentile method, faces resampled) of age MAE and gender accuracy."""
    known, labelled = ~np.isnan(truth.age), ~np.isnan(truth.female)
    found = {"age_mae": _interval(np.abs(answers.age - truth.age)[known])}
    if answers.female is not None:
        right = _right_gender(truth, answers)[labelled].astype(np.float32)
        found["gender_accuracy"] = _interval(right)
    return {name: interval for name, interval in found.items() if interval is not None}


def compare(truth: Truth, champion: Answers, challenger: Answers) -> dict[str, float]:
    """The challenger's mean absolute age error less the champion's, in years, on the same faces, with the paired
    bootstrap's 95 % interval; and the gain in gender accuracy. Below 0 years is better."""
    known = ~np.isnan(truth.age)
    gained = (np.abs(challenger.age - truth.age) - np.abs(champion.age - truth.age))[known]
    low, high = _interval(gained) or (float("nan"), float("nan"))
    change = float(gained.mean()) if len(gained) else float("nan")
    figures = {"faces": float(len(gained)), "age_mae_change": change, "low": low, "high": high}
    labelled = ~np.isnan(truth.female)
    if champion.female is not None and challenger.female is not None and labelled.any():
        before, after = (_right_gender(truth, answers)[labelled].mean() for answers in (champion, challenger))
        figures["gender_accuracy_change"] = float(after - before)
    return figures


def _right_gender(truth: Truth, answers: Answers) -> np.ndarray:
    assert answers.female is not None
    return (answers.female >= 0.5) == (truth.female >= 0.5)


def _by(masks: dict[str, np.ndarray], truth: Truth, answers: Answers, column: str) -> list[dict]:
    return [
        {column: name} | measure(truth.take(mask), answers.take(mask))
        for name, mask in masks.items()
        if mask.sum() >= _FEW
    ]


def _interval(values: np.ndarray) -> tuple[float, float] | None:
    if len(values) < _FEW or np.ptp(values) == 0:
        return None
    found = bootstrap(
        (values,), np.mean, n_resamples=_RESAMPLES, method="percentile", batch=50, rng=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)
