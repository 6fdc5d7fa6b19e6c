"""The pictures of a training run: curves of loss and metrics, and what the model makes of faces it never saw."""

from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

matplotlib.use("Agg")
_TRAIN, _VALIDATION = "#5b8def", "#e8743b"
_METRICS = {"loss": "loss", "age_mae": "mean absolute age error, years", "gender_accuracy": "gender accuracy"}


def draw_curves(history: pl.DataFrame, file: Path) -> None:
    """Loss and metrics over the epochs, of training and validation."""
    metrics = [name for name in _METRICS if f"val_{name}" in history.columns]
    figure = Figure(figsize=(4.2 * len(metrics), 3.4), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    epochs = history["epoch"] + 1
    for panel, name in zip(panels, metrics, strict=True):
        for column, color, side in ((name, _TRAIN, "training"), (f"val_{name}", _VALIDATION, "validation")):
            if column in history.columns:
                panel.plot(epochs, history[column], "o-", color=color, label=side)
        panel.set(title=_METRICS[name], xlabel="epoch")
        panel.legend(frameon=False)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.25)
    figure.savefig(file, dpi=100)  # small enough to stand in an artifact of Prefect's


def draw_ages(true_age: np.ndarray, age: np.ndarray, file: Path) -> None:
    """Estimated over true age, years, float [n] each."""
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    panel = figure.subplots()
    panel.plot([0, 100], [0, 100], color="#999999", linewidth=1)
    panel.scatter(true_age, age, s=6, alpha=0.35, color=_TRAIN, edgecolors="none")
    panel.set(xlabel="true age, years", ylabel="estimated age, years", xlim=(0, 105), ylim=(0, 105))
    panel.set_title(f"{len(age)} faces that weren't trained on", fontsize=10)
    panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)


def errors_by_age(bands: list[str], champion: np.ndarray, new: np.ndarray) -> bytes:
    """Mean absolute age error, years, float [bands], of two models on the same faces, as a PNG; NaN where a model
    has none."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    panel = figure.subplots()
    places = np.arange(len(bands))
    panel.bar(places - 0.2, champion, width=0.38, color="#b9bfca", label="champion")
    panel.bar(places + 0.2, new, width=0.38, color=_TRAIN, label="new")
    panel.set(xlabel="true age, years", ylabel="mean absolute error, years")
    panel.set_xticks(places, bands)
    panel.legend(frameon=False)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", alpha=0.25)
    content = BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()
