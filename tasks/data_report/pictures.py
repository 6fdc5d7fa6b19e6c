"""The pictures of a data report: whom the labels are of, and which ages stand out."""

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from models.evaluation_plots import BLUE, LOOK, MUTED, ORANGE, as_svg
from storage.values import LONGEST_LIFE_YEARS
from tasks.data_report.suspects import TIMES_TYPICAL, Expected, times_typical
from tasks.dataset import Truth
from tasks.evaluation.pictures import Picture

_COLOURS = {"female": "#8465d8", "male": "#128a75", "unknown": MUTED}
_YEARS_A_BAR = 5


def ages_labelled(truth: Truth) -> Picture:
    known = ~np.isnan(truth.age)
    gender = np.select([truth.female == 1, truth.female == 0], ["female", "male"], "unknown")
    ages = {name: truth.age[known & (gender == name)] for name in _COLOURS}
    there = {name: values for name, values in ages.items() if len(values)}
    return Picture(
        "Ages and genders",
        Markup(_bars(there)),
        f"Histogram of {known.sum():,} labelled ages in steps of {_YEARS_A_BAR} years: "
        + ", ".join(f"{len(values):,} {name}, median {np.median(values):.0f}" for name, values in there.items()),
        f"Labelled ages of the faces to train on, in steps of {_YEARS_A_BAR} years.",
    )


def ages_expected(truth: Truth, found: Expected) -> Picture:
    times = times_typical(truth, found)
    known, far = ~np.isnan(times), times >= TIMES_TYPICAL
    return Picture(
        "Labelled and expected ages",
        Markup(_cloud(truth.age[known & ~far], found.age[known & ~far], truth.age[far], found.age[far])),
        f"Expected over labelled age of {known.sum():,} faces; {far.sum():,} are marked as suspicious.",
        f"Marked: {far.sum():,} ages that are {TIMES_TYPICAL} or more typical errors away from what is expected.",
    )


@mpl.rc_context(LOOK)
def _bars(ages: dict[str, np.ndarray]) -> str:
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    panel = figure.subplots()
    oldest = max([80.0, *(values.max() for values in ages.values())])
    steps = np.arange(0, oldest + _YEARS_A_BAR, _YEARS_A_BAR)
    colours = [_COLOURS[name] for name in ages]
    if ages:
        panel.hist(list(ages.values()), steps.tolist(), stacked=True, color=colours, label=list(ages), rwidth=0.88)
        panel.legend()
    panel.grid(axis="x", visible=False)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set(xlabel="labelled age, years", ylabel="faces", xlim=(0, steps[-1]))
    return as_svg(figure, "ages")


@mpl.rc_context(LOOK)
def _cloud(age: np.ndarray, expected: np.ndarray, far_age: np.ndarray, far_expected: np.ndarray) -> str:
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    panel = figure.subplots()
    size, alpha = (8, 0.3) if len(age) < 5000 else (3, 0.12)
    panel.plot([0, LONGEST_LIFE_YEARS], [0, LONGEST_LIFE_YEARS], color=MUTED, linewidth=1)
    panel.scatter(age, expected, s=size, alpha=alpha, color=BLUE, edgecolors="none", rasterized=True)
    panel.scatter(far_age, far_expected, s=11, color=ORANGE, edgecolors="none", rasterized=True)
    most = max(80.0, *(values.max(initial=0) for values in (age, far_age))) + 3
    panel.set(xlabel="labelled age, years", ylabel="expected age, years", xlim=(-2, most), ylim=(-2, most))
    return as_svg(figure, "expected")
