"""How much worse a model judges worse pictures: its errors on faces that are degraded by known amounts.

The same faces are judged at every level, so what differs is the degradation alone; intervals by the bootstrap say how
far other faces would move a figure. With 400 faces and the 24 levels below it takes as long as scoring 9,600 faces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import polars as pl

from models.contract import Model
from storage.frames import frame_of
from storage.schemas import ROBUSTNESS
from tasks.crop import decode_crops, encode_crop
from tasks.dataset import Truth
from tasks.evaluation.bootstrap import drawn_figures
from tasks.evaluation.judged import judge
from tasks.quality import Quality, make_quality

Degradation = Literal["none", "downscaled", "blurred", "jpeg", "rotated", "darker", "grey"]
FACES = 400
_MEASURED = ("age_mae", "gender_accuracy", "interval_coverage")
_AGE_GROWTH = 0.1  # of the age's MAE: the most that a face may lose and still be good enough
_GENDER_LOSS = 0.02  # of the gender's accuracy, likewise; of 400 faces, 1 point less is often chance


@dataclass(frozen=True)
class Level:
    """One degradation by one amount; its unit is that of the function of that name below. `none` has 0."""

    degradation: Degradation
    level: float


LEVELS = (
    Level("none", 0),
    *(Level("downscaled", side) for side in (64, 48, 32, 24, 16, 8)),
    *(Level("blurred", sigma) for sigma in (1, 2, 4, 8)),
    *(Level("jpeg", quality) for quality in (50, 30, 10, 5)),
    *(Level("rotated", degrees) for degrees in (10, 20, 45, 90, 180)),
    *(Level("darker", share) for share in (0.5, 0.2, 0.1)),
    Level("grey", 0),
)


@dataclass(frozen=True)
class SmallestFace:
    """The smallest face that a model is good for: `side` is pixels of the square crop that showed it; the others are
    what the age's MAE grows by there, in years, and the gender's accuracy falls by. None: nothing to tell it from."""

    side: int
    age_mae_growth: float | None
    gender_loss: float | None


def degrade(crops: np.ndarray, level: Level) -> np.ndarray:
    """`crops` is uint8 [n, side, side, 3], RGB, and so is what comes back."""
    match level.degradation:
        case "none":
            return crops
        case "downscaled":
            return downscaled(crops, round(level.level))
        case "blurred":
            return blurred(crops, level.level)
        case "jpeg":
            return jpeg(crops, round(level.level))
        case "rotated":
            return rotated(crops, level.level)
        case "darker":
            return darker(crops, level.level)
        case "grey":
            return grey(crops, level.level)


def downscaled(crops: np.ndarray, side: int) -> np.ndarray:
    """To `side` pixels and back, as a face of so many pixels is enlarged to a crop."""
    small = [cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA) for crop in crops]
    return np.stack([cv2.resize(crop, crops.shape[2:0:-1], interpolation=cv2.INTER_CUBIC) for crop in small])


def blurred(crops: np.ndarray, sigma: float) -> np.ndarray:
    """By a Gaussian, in pixels of the crop; 0 changes nothing."""
    return np.stack([cv2.GaussianBlur(crop, (0, 0), sigma) for crop in crops]) if sigma else crops


def jpeg(crops: np.ndarray, quality: int) -> np.ndarray:
    """Saved at a quality of 1 to 100, its colour not subsampled."""
    return decode_crops([encode_crop(crop, quality) for crop in crops])


def rotated(crops: np.ndarray, degrees: float) -> np.ndarray:
    """Counter-clockwise about the middle; corners that a crop doesn't have repeat its border."""
    side = crops.shape[1]
    turn = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1)
    return np.stack([cv2.warpAffine(crop, turn, (side, side), borderMode=cv2.BORDER_REPLICATE) for crop in crops])


def darker(crops: np.ndarray, share: float) -> np.ndarray:
    """`share` of the light is left, 0 to 1; detail that falls between two of the 256 steps is lost."""
    return np.rint(crops * share).astype(np.uint8)


def grey(crops: np.ndarray, share: float) -> np.ndarray:
    """`share` of the colour is left, 0 to 1."""
    without = np.stack([cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) for crop in crops])
    return np.rint(without + share * (crops.astype(np.float32) - without)).astype(np.uint8)


def sample(faces: int, most: int = FACES) -> np.ndarray:
    """Indices of at most `most` of so many faces, spread evenly over them: the same each time."""
    return np.linspace(0, faces - 1, min(faces, most)).round().astype(int)


def robustness(
    model: Model,
    crops: np.ndarray,
    truth: Truth,
    levels: Sequence[Level] = LEVELS,
    advance: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """A row of ROBUSTNESS for each level, in order. `crops` are those of `truth`; `advance` is told after each level
    how many faces were judged. Raises BadModel."""
    rows, quality = [], make_quality()
    for level in levels:
        degraded = degrade(crops, level)
        rows.append(
            _measured(model, quality, degraded, truth) | {"degradation": level.degradation, "level": level.level}
        )
        if advance is not None:
            advance(len(crops))
    return frame_of(ROBUSTNESS, rows)


def smallest_face(table: pl.DataFrame) -> SmallestFace | None:
    """From the rows that `robustness` gave. A size is good enough when there, and at every larger one measured, the
    age's MAE is less than 10 % and the gender's accuracy less than 2 points worse than on the same faces as they are.
    None where no measured size is. The levels must have held `none`."""
    whole = table.row(by_predicate=pl.col("degradation") == "none", named=True)
    smallest = None
    for row in table.filter(pl.col("degradation") == "downscaled").sort("level", descending=True).iter_rows(named=True):
        growth, loss = _less(row["age_mae"], whole["age_mae"]), _less(whole["gender_accuracy"], row["gender_accuracy"])
        if (growth is not None and growth >= _AGE_GROWTH * whole["age_mae"]) or (loss or 0) >= _GENDER_LOSS:
            break
        smallest = SmallestFace(round(row["level"]), growth, loss)
    return smallest


def _measured(model: Model, quality: Quality, crops: np.ndarray, truth: Truth) -> dict:
    [drawn] = drawn_figures(judge(truth, model(crops), [{}] * len(crops)), [np.ones(len(crops), bool)])
    row: dict = {"faces": len(crops)}
    for name in _MEASURED:
        low, high = (drawn[name].interval() if name in drawn else None) or (None, None)
        row |= {name: drawn[name].value if name in drawn else None, f"{name}_low": low, f"{name}_high": high}
    usable = quality(crops)
    return row | {"quality": None if usable is None else float(usable.mean())}


def _less(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
