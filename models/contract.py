"""What a model file takes and gives. Preprocessing and calibration are inside the graph, so that whoever runs the
file gets what was measured.

In: `crops`, uint8 [n, 128, 128, 3], RGB. Out, each float32 [n]: `age`, `age_low`, `age_high` in years, the latter two
a 90 % interval, and, unless the model judges age alone, `female`, a calibrated probability. The file's metadata holds
an `About` as JSON under the key `faceline`."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from storage.choices import DetectorName, Frozen, Recipe, Targets
from storage.refusal import Refusal

CROP_SIDE = 128
UTKFACE_MARGIN = 0.03  # around the face's height: how UTKFace's own crops are cut, measured on 400 of them
INPUT = "crops"
AGE_OUTPUTS = ("age", "age_low", "age_high")
GENDER_OUTPUT = "female"
METADATA_KEY = "faceline"


class BadModel(Refusal):
    """A model file that isn't ours, doesn't run where it was asked to, or answers nonsense."""


class CannotTrain(Refusal):
    """There is no device to train on, or the loss is no number; the message says what to do."""


class About(Frozen):
    """What must be known of a model to use it rightly."""

    contract: Literal[1] = 1
    targets: Targets
    recipe: Recipe
    detector: DetectorName
    margin: float  # of the crop, as a share of the face's height
    crop_side: int = CROP_SIDE
    data_hash: str  # SHA-256 over the training faces and labels
    licence: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Answers:
    """One model's answers for n crops, float32 [n] each; years, and a probability."""

    age: np.ndarray
    age_low: np.ndarray
    age_high: np.ndarray
    female: np.ndarray | None

    def take(self, chosen: np.ndarray) -> "Answers":
        """The answers of some of the crops, by indices or mask."""
        female = None if self.female is None else self.female[chosen]
        return Answers(self.age[chosen], self.age_low[chosen], self.age_high[chosen], female)


class Model(Protocol):
    """A model that runs. `hash` is the SHA-256 of the bytes that were loaded, `provider` what executes them."""

    hash: str
    version: str
    provider: str
    about: About

    def __call__(self, crops: np.ndarray) -> Answers:
        """`crops` is uint8 [n, side, side, 3], RGB. Raises BadModel on a short or non-finite answer."""
        ...
