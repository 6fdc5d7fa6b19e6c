"""The bootstrap: how far a figure would move had other people been photographed (Efron, 1979).

People are drawn, not photos: photos of one person err alike, so drawing each for itself would promise too much. All
figures, groups and models see the same draws; that makes a comparison of two models paired, and 1,000 resamples of
2,000 faces a matter of a second, where a loop over resamples and groups takes minutes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.judged import Judged
from tasks.evaluation.measures import FEW, Meter

RESAMPLES = 1000
_LEVEL = (2.5, 97.5)  # per cent: a 95 % interval
_MOST_WEIGHTS = 4_000_000  # held at once: 32 MB


@dataclass(frozen=True)
class Drawn:
    """One figure, of so many faces: `values` is float [1 + RESAMPLES], itself and then each resample's. `lowest` is
    the least that it may be. A `rectified` figure averages distances from 0, which noise can only lengthen: a sample
    overstates it, by at most `bias`, and its resamples do once more."""

    values: np.ndarray
    faces: int
    lowest: float = float("-inf")
    rectified: bool = False
    bias: float = 0.0

    @property
    def value(self) -> float:
        return float(self.values[0])

    def less(self, other: "Drawn") -> "Drawn":
        """The difference of two models on the same faces."""
        return Drawn(self.values - other.values, min(self.faces, other.faces), rectified=self.rectified)

    def interval(self) -> tuple[float, float] | None:
        """95 %, by percentiles; those of a rectified figure are mirrored at its value, and the bias taken off. None
        where it would say nothing: of few faces, or of all alike."""
        drawn = self.values[1:][np.isfinite(self.values[1:])]
        if self.faces < FEW or np.allclose(drawn, self.value):
            return None
        low, high = np.percentile(drawn, _LEVEL)
        if self.rectified:
            low, high = 2 * self.value - high - self.bias, max(2 * self.value - low, self.value)
        return max(float(low), self.lowest), float(high)


def draws(people: np.ndarray, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each face counts, float [draws, n], in batches: first once each, then in RESAMPLES of as many people
    as there are. `people` is int [n], from 0, equal for faces of one person."""
    yield np.ones((1, len(people)))
    random, count = np.random.default_rng(seed), int(people.max()) + 1
    batch = max(1, _MOST_WEIGHTS // len(people))
    for start in range(0, RESAMPLES, batch):
        rows = min(batch, RESAMPLES - start)
        chosen = random.integers(count, size=(rows, count)) + np.arange(rows)[:, None] * count
        times = np.bincount(chosen.ravel(), minlength=rows * count).reshape(rows, count)
        yield times[:, people].astype(float)


def drawn_figures(judged: Judged, parts: list[np.ndarray]) -> list[dict[str, Drawn]]:
    """Every figure of each part of the faces, a mask. A part that isn't the whole has those of FEW faces or more."""
    meters = [Meter(judged.take(part)) for part in parts]
    batches = [
        [meter.figures(weights[:, part]) for meter, part in zip(meters, parts, strict=True)]
        for weights in draws(judged.people())
    ]
    whole = [
        {name: np.concatenate([batch[at][name] for batch in batches]) for name in meter.faces}
        for at, meter in enumerate(meters)
    ]
    return [
        {name: _drawn(name, values, meter.faces[name]) for name in values if meter.faces[name] >= FEW or part.all()}
        for meter, part, values in zip(meters, parts, whole, strict=True)
    ]


def _drawn(name: str, values: dict[str, np.ndarray], faces: int) -> Drawn:
    if name == "gender_ece":
        return Drawn(values[name], faces, 0, rectified=True, bias=float(values["gender_ece_by_chance"][0]))
    return Drawn(values[name], faces)
