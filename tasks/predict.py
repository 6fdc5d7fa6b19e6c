"""Photos to answers without a workspace: what `faceline predict` prints and the review page's upload shows. The same
reading, cropping and scoring as in bulk; nothing is stored."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from models.contract import Model
from storage.schemas import FileStatus
from storage.settings import FaceMode, Finding, PhotoSettings
from tasks.crop import decode_crops
from tasks.detect import Box, detector_file
from tasks.read import Ask, Looked, finding_of, look, photo_workers
from tasks.score import quality
from tasks.spread import Spread


@dataclass(frozen=True)
class Judged:
    """One face and what the model says of it: years, and a probability (None: the model judges age alone)."""

    box: Box
    age: float
    age_low: float
    age_high: float
    female: float | None
    quality: float
    crop: bytes


@dataclass(frozen=True)
class Prediction:
    """What came of one photo: its status, the reason where it isn't `ok`, and its faces, the largest first."""

    status: FileStatus
    detail: str | None
    faces: tuple[Judged, ...]


@contextmanager
def photo_readers(model: Model, faces: FaceMode, *, workers: int | None = None) -> Iterator[Spread[Ask, Looked]]:
    """Worker processes that read photos as `model` wants them."""
    settings = PhotoSettings(folders=[os.curdir], faces=faces, workers=workers)
    finding = _finding(settings, model)
    with photo_workers(settings, finding, known=None) as photos:
        yield photos


def predict(asks: Sequence[Ask], photos: Spread[Ask, Looked], model: Model) -> list[Prediction]:
    """One prediction a photo, in order; all their faces go through the model together. Raises BadModel."""
    looked = look(asks, photos)
    faces = [face for seen in looked for face in seen.faces or ()]
    if not faces:
        return [Prediction(seen.status, seen.detail, ()) for seen in looked]
    answers = model(decode_crops([face.crop for face in faces]))
    qualities = quality(
        np.array([1.0 if face.box.score is None else face.box.score for face in faces]),
        np.array([face.sharpness for face in faces]),
        np.array([min(face.box.width, face.box.height) for face in faces]),
    )
    judged = iter(
        Judged(
            face.box,
            float(answers.age[index]),
            float(answers.age_low[index]),
            float(answers.age_high[index]),
            None if answers.female is None else float(answers.female[index]),
            float(qualities[index]),
            face.crop,
        )
        for index, face in enumerate(faces)
    )
    return [Prediction(seen.status, seen.detail, tuple(next(judged) for _ in seen.faces or ())) for seen in looked]


def _finding(settings: PhotoSettings, model: Model) -> Finding:
    detector = detector_file(settings.detector, settings.detector_model, fetch=settings.fetch_detector)
    return finding_of(settings, detector, model.about.margin, model.about.crop_side)
