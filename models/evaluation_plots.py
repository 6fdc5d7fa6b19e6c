"""The pictures of an evaluation, each as an SVG element to stand in a page: its texts are text, it refers to nothing
outside itself, and equal figures give equal bytes.

Points are drawn as a bitmap inside it, so that a hundred thousand faces take no more room than a thousand."""

import re
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

INK, MUTED, GRID = "#1f2937", "#667085", "#e4e8ef"
BLUE, ORANGE, VIOLET = "#3b63d8", "#c2621b", "#8465d8"
_SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#dbe4fb", "#3b63d8"])
LOOK: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "faceline",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_DASHED = (0, (4, 3))
_BITMAP_DPI = 200


@mpl.rc_context(LOOK)
def reliability_diagram(said: np.ndarray, seen: np.ndarray, between: np.ndarray, female: np.ndarray) -> str:
    """Per bin the mean probability `said`, the share of female faces `seen`, and its interval, float [bins, 2];
    below, how the probabilities of all faces are spread."""
    figure = Figure(figsize=(4.6, 4.3), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=_DASHED, label="perfect")
    _points(upper, said, seen, between, BLUE)
    upper.set(ylabel="share labelled female", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    upper.legend(loc="upper left")
    lower.hist(female, bins=np.linspace(0, 1, 31), color=BLUE, alpha=0.75)
    lower.set(xlabel="probability of female", ylabel="faces", yscale="log")
    return as_svg(figure, "reliability")


@mpl.rc_context(LOOK)
def error_by_age(age: np.ndarray, error: np.ndarray) -> str:
    """Estimate less truth over the true age, years, float [n] each: mean, mean distance, and where the middle 80 %
    lie, in steps of five years that have ten faces or more."""
    figure, panel = _panel()
    steps = [(step, error[(age >= step) & (age < step + 5)]) for step in range(0, 120, 5)]
    full = [(step + 2.5, errors) for step, errors in steps if len(errors) >= 10]
    middles = [middle for middle, _ in full]
    tenths = np.array([np.percentile(errors, (10, 90)) for _, errors in full]).reshape(-1, 2)
    panel.axhline(0, color=MUTED, linewidth=1)
    panel.fill_between(
        middles, tenths[:, 0], tenths[:, 1], color=BLUE, alpha=0.15, linewidth=0, label="80 % of the errors"
    )
    panel.plot(middles, [np.abs(errors).mean() for _, errors in full], "o-", color=ORANGE, ms=3.5, label="MAE")
    panel.plot(middles, [errors.mean() for _, errors in full], "s-", color=BLUE, ms=3.5, label="bias")
    panel.set(xlabel="true age, years", ylabel="estimate less truth, years")
    panel.legend(loc="best", fontsize=8.5)
    return as_svg(figure, "error")


@mpl.rc_context(LOOK)
def bland_altman(age: np.ndarray, estimate: np.ndarray, lines: tuple[float, float, float]) -> str:
    """The difference over the mean of estimate and truth, years, float [n] each; `lines` are the mean difference and
    the limits of agreement (Bland and Altman, 1986)."""
    figure, panel = _panel()
    size, alpha = (9, 0.35) if len(age) < 5000 else (3, 0.12)
    middle, difference = (age + estimate) / 2, estimate - age
    panel.scatter(middle, difference, s=size, alpha=alpha, color=BLUE, edgecolors="none", rasterized=True)
    for height, style in zip(lines, ("-", _DASHED, _DASHED), strict=True):
        written = f"{height:+.1f}".replace("-", "\N{MINUS SIGN}")
        panel.axhline(height, color=ORANGE, linewidth=1.4, linestyle=style)
        panel.text(0.99, height, written, transform=panel.get_yaxis_transform(), ha="right", va="bottom", color=ORANGE)
    panel.set(xlabel="mean of estimated and true age, years", ylabel="estimate less truth, years")
    return as_svg(figure, "agreement")


@mpl.rc_context(LOOK)
def confusion(counts: np.ndarray, true_names: list[str], said_names: list[str], what: str) -> str:
    """Counts, int [true, said], shaded by the share of their row."""
    figure, panel = _panel()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    panel.pcolormesh(shares, cmap=_SHADES, vmin=0, vmax=1, edgecolors="white", linewidth=2)
    panel.invert_yaxis()
    for (row, column), count in np.ndenumerate(counts):
        dark = shares[row, column] > 0.88
        text = f"{count:,}\n{100 * shares[row, column]:.0f} %" if count else ""
        panel.text(
            column + 0.5, row + 0.5, text, ha="center", va="center", color="white" if dark else INK, fontsize=8.5
        )
    panel.set_xticks(np.arange(len(said_names)) + 0.5, said_names)
    panel.set_yticks(np.arange(len(true_names)) + 0.5, true_names)
    panel.set(xlabel=f"estimated {what}", ylabel=f"labelled {what}")
    panel.spines[:].set_visible(False)
    panel.grid(visible=False)
    panel.tick_params(length=0)
    return as_svg(figure, f"confusion-{what}")


@mpl.rc_context(LOOK)
def coverage_by_band(bands: list[str], coverage: np.ndarray, between: np.ndarray, width: np.ndarray) -> str:
    """The share of ages inside their 90 % interval with its own interval, float [bands, 2], and the mean width in
    years, by age band."""
    figure = Figure(figsize=(4.6, 4.3), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    places = np.arange(len(bands))
    upper.axhline(90, color=MUTED, linewidth=1, linestyle=_DASHED)
    _points(upper, places, 100 * coverage, 100 * between, BLUE)
    upper.set(ylabel="inside the interval, %", ylim=(min(60, 100 * np.nanmin(between) - 3), 101))
    lower.bar(places, width, width=0.6, color=BLUE, alpha=0.75)
    lower.set(xlabel="true age, years", ylabel="width, years")
    lower.set_xticks(places, bands)
    for panel in (upper, lower):
        panel.grid(axis="x", visible=False)
    return as_svg(figure, "coverage")


def _panel() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 3.7), layout="constrained")
    return figure, figure.subplots()


def _points(panel: Axes, across: np.ndarray, values: np.ndarray, between: np.ndarray, colour: str) -> None:
    """Points with whiskers to the ends of their intervals."""
    reach = np.abs(between - values[:, None]).T
    panel.errorbar(across, values, yerr=reach, fmt="o", color=colour, ecolor=colour, elinewidth=1.2, ms=4.5, capsize=2)


def as_svg(figure: Figure, name: str) -> str:
    """Without what stands before the element and without addresses; ids begin with the name, as several share a
    page."""
    text = StringIO()
    figure.savefig(text, format="svg", dpi=_BITMAP_DPI, transparent=True, metadata=_NO_METADATA)
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
