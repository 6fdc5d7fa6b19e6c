"""What the pictures of an evaluation show, and what each says in words, for those who can't see it."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from markupsafe import Markup
from scipy.stats import binomtest

from models import evaluation_plots as plots
from models.figures import FIGURES
from storage.queries import SURE_FROM
from tasks.evaluation.judged import Judged
from tasks.evaluation.measures import BAND_NAMES, FEW, bands_of, calibration_bins


@dataclass(frozen=True)
class Picture:
    """`svg` is of our own making, without a word of the data's; `alt` says what it shows."""

    title: str
    svg: Markup
    alt: str
    caption: str


def pictures_of(judged: Judged, measured: pl.DataFrame) -> list[Picture]:
    """Those that the labels and the answers allow."""
    everybody = measured.filter(pl.col("column").is_null())
    values = dict(everybody.select("figure", "value").iter_rows())
    aged = "age_mae" in values and (~np.isnan(judged.age_errors())).sum() >= FEW
    pictures = []
    if aged:
        pictures += [_error_by_age(judged), _agreement(judged), *_coverage(measured)]
    if "gender_ece" in values:
        pictures.append(_reliability(judged, values))
    if "gender_accuracy" in values:
        pictures.append(_genders(judged))
    if aged:
        pictures.append(_age_bands(judged))
    return pictures


def _error_by_age(judged: Judged) -> Picture:
    known = ~np.isnan(judged.age_errors())
    age, error = judged.truth.age[known], judged.age_errors()[known]
    by_age, quarter = error[np.argsort(age, kind="stable")], len(age) // 4
    young, old = by_age[:quarter].mean(), by_age[-quarter:].mean()
    return Picture(
        "Error by age",
        Markup(plots.error_by_age(age, error)),
        "Error of the age over the true age in steps of five years: mean absolute error, bias, and the middle 80 % of "
        f"the errors. The mean error of the youngest quarter is {young:+.1f} years, of the oldest {old:+.1f}.",
        f"In steps of five years that have {FEW} faces or more. Above 0: estimated too old.",
    )


def _agreement(judged: Judged) -> Picture:
    known = ~np.isnan(judged.age_errors())
    error = judged.age_errors()[known]
    mean, reach = float(error.mean()), 1.96 * float(error.std(ddof=1))
    said = f"mean difference {mean:+.1f} years, limits of agreement {mean - reach:+.1f} and {mean + reach:+.1f}"
    return Picture(
        "Agreement with the truth (Bland-Altman)",
        Markup(
            plots.bland_altman(judged.truth.age[known], judged.answers.age[known], (mean, mean - reach, mean + reach))
        ),
        f"Bland-Altman plot of {len(error):,} faces: {said}.",
        f"{said.capitalize()}: were the errors normal, 95 % of them would lie between these.",
    )


def _coverage(measured: pl.DataFrame) -> list[Picture]:
    bands = measured.filter(pl.col("column") == "age", pl.col("figure") == "interval_coverage")
    if bands.is_empty():
        return []
    width = measured.filter(pl.col("column") == "age", pl.col("figure") == "interval_width")["value"]
    between = bands.select(pl.coalesce("low", "value"), pl.coalesce("high", "value").alias("high")).to_numpy()
    least = bands.sort("value").row(0, named=True)
    said = f"lowest at {least['group']}, {FIGURES['interval_coverage'].written(least['value'])}"
    svg = plots.coverage_by_band(bands["group"].to_list(), bands["value"].to_numpy(), between, width.to_numpy())
    return [
        Picture(
            "Coverage of the 90 % interval",
            Markup(svg),
            f"Coverage of the 90 % interval by age band, {said}; below, its mean width in years.",
            f"Share of the true ages inside their interval, with its own 95 % interval: {said}. Below: how wide it is.",
        )
    ]


def _reliability(judged: Judged, values: dict[str, float]) -> Picture:
    female = judged.probability()
    known = ~np.isnan(judged.truth.female - female)
    truth, female = judged.truth.female[known], female[known]
    bins = calibration_bins(female)
    full = [bins == place for place in np.unique(bins)]
    said = np.array([female[each].mean() for each in full])
    seen = np.array([truth[each].mean() for each in full])
    between = np.array([_wilson(truth[each]) for each in full])
    error, chance = (FIGURES["gender_ece"].written(values[name]) for name in ("gender_ece", "gender_ece_by_chance"))
    caption = f"The expected calibration error is {error}; of a perfect model it would be {chance}, by chance."
    return Picture(
        "Reliability of the probability of female",
        Markup(plots.reliability_diagram(said, seen, between, female)),
        f"Share labelled female over the probability of female in {len(full)} bins, beside the diagonal. {caption}",
        f"{caption} Whiskers are 95 % intervals (Wilson). Below: how many faces have which probability.",
    )


def _genders(judged: Judged) -> Picture:
    truth, female = judged.truth.female, judged.probability()
    said = np.select([np.isnan(female), female >= SURE_FROM, female <= 1 - SURE_FROM], [-1, 0, 2], 1)
    names = ["female", "uncertain", "male"]
    counts = np.array([[((truth == value) & (said == place)).sum() for place in range(3)] for value in (1, 0)])
    return Picture(
        "Gender: labelled and named",
        Markup(plots.confusion(counts, ["female", "male"], names, "gender")),
        "Confusion matrix. "
        + "; ".join(
            f"of {row.sum():,} labelled {name}: "
            + ", ".join(f"{count:,} {said}" for said, count in zip(names, row, strict=True))
            for name, row in zip(("female", "male"), counts, strict=True)
        ),
        f"A gender is named from a probability of {100 * SURE_FROM:.0f} % on; below, the face is uncertain.",
    )


def _age_bands(judged: Judged) -> Picture:
    known = ~np.isnan(judged.age_errors())
    truth, said = bands_of(judged.truth.age[known]), bands_of(np.maximum(judged.answers.age[known], 0))
    bands = len(BAND_NAMES)
    counts = np.zeros((bands, bands), int)
    np.add.at(counts, (truth, said), 1)
    right = np.trace(counts) / counts.sum()
    return Picture(
        "Age bands: labelled and estimated",
        Markup(plots.confusion(counts, BAND_NAMES, BAND_NAMES, "age")),
        f"Confusion matrix of {bands} age bands: {100 * right:.0f} % of the faces are estimated into their own.",
        "Shaded by the share of a row: of the faces labelled so, how many are estimated to be of which age.",
    )


def _wilson(values: np.ndarray) -> tuple[float, float]:
    interval = binomtest(int(values.sum()), len(values)).proportion_ci(method="wilson")
    return interval.low, interval.high
