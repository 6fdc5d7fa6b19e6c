"""How good a model is on the photos that really come in, from what people said of faces drawn at random.

It is a person's eye against the model, not a birth certificate: `right` counts as no error at all, so the age error is
what reviewers would change, and less than a labelled test set shows. scipy.stats is imported where it's needed: that
takes longer than the rest of the page that shows it."""

from dataclasses import dataclass

import numpy as np
import polars as pl

AGE_ERROR, GENDER_ACCURACY = "age error, years", "gender accuracy"  # figures of live_error_by_week
_RESAMPLES = 1000
_FEW = 20  # reviewed faces; of fewer, no figure is given


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, and of how many faces it is."""

    value: float
    low: float
    high: float
    faces: int


@dataclass(frozen=True)
class LiveError:
    """None where too few faces were reviewed."""

    reviewed: int
    age_mae: Estimate | None  # years
    gender_accuracy: Estimate | None  # share
    no_faces: Estimate | None  # share of what isn't a face


def live_error(answers: pl.DataFrame) -> LiveError:
    """`answers` is those of Reviews.given_for("random") that judge one model."""
    judged = answers.filter(pl.col("verdict") != "not_a_face")
    said = pl.when(pl.col("verdict") == "corrected").then("age")
    errors = judged.select((said - pl.col("old_age")).abs().fill_null(0))["age"]
    gendered = judged.filter(pl.col("old_gender").is_not_null())
    wrong = gendered.select((pl.col("gender") != pl.col("old_gender")).fill_null(False))["gender"]
    return LiveError(
        len(answers),
        _mean(errors.to_numpy()),
        _share(len(wrong) - int(wrong.sum()), len(wrong)),
        _share(len(answers) - len(judged), len(answers)),
    )


def live_error_by_week(answers: pl.DataFrame) -> pl.DataFrame:
    """The error of each model week by week, where there are enough faces: week (its Monday), model_version, figure
    (AGE_ERROR or GENDER_ACCURACY), value, low, high, faces. `answers` is Reviews.given_for("random")."""
    weeks = answers.with_columns(week=pl.col("reviewed_at").dt.truncate("1w").dt.date())
    rows = [
        (week, version, figure, found.value, found.low, found.high, found.faces)
        for (week, version), judged in weeks.group_by("week", "model_version")
        for figure, found in _figures(live_error(judged))
        if found
    ]
    schema = {"week": pl.Date, "model_version": pl.String, "figure": pl.String}
    schema |= {"value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "faces": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("week", "model_version", "figure")


def _figures(found: LiveError) -> list[tuple[str, Estimate | None]]:
    return [(AGE_ERROR, found.age_mae), (GENDER_ACCURACY, found.gender_accuracy)]


def _mean(values: np.ndarray) -> Estimate | None:
    """With the percentile bootstrap's interval."""
    if len(values) < _FEW:
        return None
    mean = float(values.mean())
    if np.ptp(values) == 0:
        return Estimate(mean, mean, mean, len(values))
    from scipy.stats import bootstrap

    resampled = bootstrap(
        (values,), np.mean, n_resamples=_RESAMPLES, method="percentile", batch=50, rng=np.random.default_rng(0)
    ).confidence_interval
    return Estimate(mean, float(resampled.low), float(resampled.high), len(values))


def _share(count: int, of: int) -> Estimate | None:
    """With Wilson's interval, which holds for shares near 0 and 1 as well."""
    if of < _FEW:
        return None
    from scipy.stats import binomtest

    interval = binomtest(count, of).proportion_ci(method="wilson")
    return Estimate(count / of, float(interval.low), float(interval.high), of)
