"""Photos to answers without a workspace: what `faceline predict` prints and the review page's upload shows. The same
reading, cropping and scoring as in bulk; nothing is stored."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from models.contract import Model
from storage.choices import FaceMode, Finding
from storage.settings import PhotoSettings
from storage.values import FileStatus
from tasks.crop import decode_crops
from tasks.detect import Box, detector_file
from tasks.quality import Quality
from tasks.read import Ask, Looked, finding_of, look, photo_workers
from tasks.spread import Spread


@dataclass(frozen=True)
class Judged:
    """One face and what the model says of it: years, and a probability (None: the model judges age alone). A
    `quality` of None can't be told here; see tasks/quality.py. For `rotation` see the table `faces`."""

    box: Box
    rotation: int  # degrees
    age: float
    age_low: float
    age_high: float
    female: float | None
    quality: float | None
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


def predict(asks: Sequence[Ask], photos: Spread[Ask, Looked], model: Model, quality: Quality) -> list[Prediction]:
    """One prediction a photo, in order; all their faces go through the model together. Raises BadModel."""
    looked = look(asks, photos)
    faces = [face for seen in looked for face in seen.faces or ()]
    if not faces:
        return [Prediction(seen.status, seen.detail, ()) for seen in looked]
    crops = decode_crops([face.crop for face in faces])
    answers, usable = model(crops), quality(crops)
    judged = iter(
        Judged(
            face.box,
            face.rotation,
            float(answers.age[index]),
            float(answers.age_low[index]),
            float(answers.age_high[index]),
            None if answers.female is None else float(answers.female[index]),
            None if usable is None else float(usable[index]),
            face.crop,
        )
        for index, face in enumerate(faces)
    )
    return [Prediction(seen.status, seen.detail, tuple(next(judged) for _ in seen.faces or ())) for seen in looked]


def _finding(settings: PhotoSettings, model: Model) -> Finding:
    detector = detector_file(settings.detector, settings.detector_model, fetch=settings.fetch_detector)
    return finding_of(settings, detector, model.about.margin, model.about.crop_side)
