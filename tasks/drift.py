"""Whether the faces that come in are still like those that a model knows: the population stability index of its
scores' distributions, against its answers for the faces that it learnt from, which its export notes, or against an
earlier set of its scores.

The index of two sets of shares p and q is the sum of (p - q) ln(p / q) over bins, that is Jeffreys' divergence. From
0.1 on it is taken for a change, from 0.25 for a large one (N. Siddiqi, Credit Risk Scorecards, 2006). Of two samples
of n and m from one distribution it is about (1/n + 1/m) times a chi-squared with bins - 1 degrees of freedom
(B. Yurdakul, Statistical Properties of Population Stability Index, 2018), so a small week scatters beyond 0.1 by
itself: only what is over that scatter's 99th percentile counts too."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import polars as pl
from scipy.stats import chi2

from models.contract import Model
from storage.queries import FACE_KEY, collect, scored_models
from storage.registry import metrics_of
from storage.values import LabelStatus
from storage.workspace import Workspace
from tasks.quality import make_quality

Verdict = Literal["steady", "moved", "moved far", "too few faces"]
FIGURES = ("age", "female", "quality")
LEARNT = "answers_for_the_learnt"  # among a version's metrics: a histogram of each of FIGURES
MOVED, MOVED_FAR = 0.1, 0.25
_BINS = 10  # between the earlier set's deciles
_FEWEST = 100  # faces on either side; below, a bin would hold fewer than ten
_CHANCE = 0.99
_UNITS = {"age": "years"}


@dataclass(frozen=True)
class Histogram:
    """One figure of some faces, between its own deciles."""

    edges: list[float]  # ascending; equal deciles are one
    counts: list[int]  # of the faces below, between and above them
    median: float  # NaN without faces

    @property
    def faces(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True)
class Drift:
    """How far one figure of the faces has moved."""

    figure: str
    faces: int  # of the later set
    before: float  # median of the earlier set, in the figure's unit; NaN without faces
    now: float  # median of the later set
    index: float  # 0 and up; NaN where there are too few faces
    verdict: Verdict


@dataclass(frozen=True)
class Week:
    """How the faces found lately compare with those that stand for the normal state."""

    reference: str  # in words
    drifts: tuple[Drift, ...]  # one for each of FIGURES; none when nothing was scored yet

    @property
    def moved(self) -> list[Drift]:
        return [each for each in self.drifts if each.verdict in {"moved", "moved far"}]


def drift_since(workspace: Workspace, since: datetime) -> Week:
    """Compares the faces found since then as the model that scored last sees them: with those that it learnt from;
    where its export noted none, or too few, with the labelled faces; and where it scored few of those, with all that
    were found before. What counts is when a face was found: a new model scores the old ones again. Raises BadWorkspace
    and UnknownModel."""
    models = scored_models(workspace)
    if models.is_empty():
        return Week("nothing was scored yet", ())
    model_hash = models["model_hash"][0]
    faces = _scored_faces(workspace, model_hash, since)
    late = pl.col("late")
    learnt = metrics_of(workspace, model_hash).get(LEARNT, {})
    earlier = {figure: Histogram(**noted) for figure, noted in learnt.items()}
    reference = "the faces that the model learnt from"
    if not earlier or earlier["age"].faces < _FEWEST:
        labelled = faces.filter(pl.col("labelled"), ~late)
        few = len(labelled) < _FEWEST
        reference = "the faces found before" if few else "the labelled faces"
        rows = faces.filter(~late) if few else labelled
        earlier = {figure: histogram(_values(rows, figure)) for figure in FIGURES}
    later = faces.filter(late)
    nothing = histogram(np.empty(0))
    return Week(reference, tuple(drift(each, earlier.get(each, nothing), _values(later, each)) for each in FIGURES))


def answers_for(model: Model, crops: np.ndarray) -> dict[str, dict]:
    """FIGURES of the model's answers, as a histogram each, for LEARNT. A figure that it doesn't have is left out. Crops
    as `models/contract.py` has them."""
    answers = model(crops)
    figures: Mapping[str, np.ndarray | None] = {
        "age": answers.age, "female": answers.female, "quality": make_quality()(crops),
    }  # fmt: skip
    return {figure: asdict(histogram(values)) for figure, values in figures.items() if values is not None}


def in_words(moved: Drift) -> str:
    unit = f" {_UNITS[moved.figure]}" if moved.figure in _UNITS else ""
    return (
        f"{moved.figure} has {moved.verdict} this week (stability index {moved.index:.2f}): the median was "
        f"{moved.before:.2f}{unit} and is {moved.now:.2f}{unit}, of {moved.faces} faces"
    )


def histogram(values: np.ndarray) -> Histogram:
    """Of a sample, float [n]; values that aren't numbers are left out."""
    values = values[np.isfinite(values)].astype(np.float64)
    deciles = np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]) if len(values) else values
    edges = np.unique(deciles)
    return Histogram(edges.tolist(), _counts(values, edges).tolist(), _median(values))


def drift(figure: str, earlier: Histogram, later: np.ndarray) -> Drift:
    """Compares a sample, float [m], with an earlier one; values that aren't numbers are left out."""
    later = later[np.isfinite(later)]
    now = _median(later)
    if min(earlier.faces, len(later)) < _FEWEST:
        return Drift(figure, len(later), earlier.median, now, float("nan"), "too few faces")
    edges = np.array(earlier.edges)
    index = stability_index(np.array(earlier.counts), _counts(later, edges))
    by_chance = float((1 / earlier.faces + 1 / len(later)) * chi2.ppf(_CHANCE, len(edges)))
    return Drift(figure, len(later), earlier.median, now, index, _verdict(index, by_chance))


def stability_index(earlier: np.ndarray, later: np.ndarray) -> float:
    """Of two arrays of counts, int [bins]. Half a face is added to each bin: an empty one would make it infinite."""
    p, q = (earlier + 0.5) / (earlier + 0.5).sum(), (later + 0.5) / (later + 0.5).sum()
    return float(((p - q) * np.log(p / q)).sum())


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)


def _verdict(index: float, by_chance: float) -> Verdict:
    if index <= max(MOVED, by_chance):
        return "steady"
    return "moved far" if index > MOVED_FAR else "moved"


def _scored_faces(workspace: Workspace, model_hash: str, since: datetime) -> pl.DataFrame:
    """FIGURES of each scored face, and whether it was found since then (`late`) and is `labelled`. Only the few late
    and labelled ones are joined: a million scores take a second on two cores."""
    late = workspace.scan("faces").filter(pl.col("extracted_at") >= since).select(FACE_KEY).unique()
    labelled = workspace.scan("labels").filter(pl.col("status") == LabelStatus.OK).select("file_hash").unique()
    scores = workspace.scan("scores").filter(pl.col("model_hash") == model_hash).select(*FACE_KEY, *FIGURES)
    rows = (
        scores.join(late.with_columns(late=True), on=FACE_KEY, how="left")
        .join(labelled.with_columns(labelled=True), on="file_hash", how="left")
        .select(*FIGURES, pl.col("late", "labelled").fill_null(False))
    )
    return collect(workspace, rows)


def _values(rows: pl.DataFrame, figure: str) -> np.ndarray:
    return rows[figure].cast(pl.Float64).fill_null(float("nan")).to_numpy()
