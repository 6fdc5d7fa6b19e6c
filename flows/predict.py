"""Prediction: single photos to one JSON line each, no workspace needed."""

import json
import os
from collections.abc import Callable

from models.contract import Model
from models.session import OnnxModel
from storage.queries import gender_named
from storage.registry import model_content
from storage.settings import PredictSettings
from storage.values import FileStatus
from storage.workspace import existing_workspace
from tasks.bucket import Unreachable
from tasks.folder import escape
from tasks.predict import Judged, Prediction, photo_readers, predict
from tasks.quality import Quality, make_quality
from tasks.read import Ask, Looked
from tasks.spread import Spread


def predict_photos(settings: PredictSettings, show: Callable[[str], None]) -> dict:
    """Shows a JSON line a photo, as soon as it's known, with its name as in the table `files`. Raises BadModel and
    UnknownModel."""
    workspace = existing_workspace(settings.workspace) if settings.workspace else None
    content, version = model_content(workspace, settings.model)
    model = OnnxModel(content, version, settings.device)
    quality, faces = make_quality(), 0
    with photo_readers(model, settings.faces, workers=min(len(settings.photos), os.cpu_count() or 1)) as photos:
        for name in settings.photos:
            prediction = _predicted(os.fsencode(name), photos, model, quality)
            faces += len(prediction.faces)
            show(json.dumps(_line(escape(os.fsencode(name)), prediction)))
    return {"photos": len(settings.photos), "faces": faces, "model": version, "provider": model.provider}


def _predicted(path: bytes, photos: Spread[Ask, Looked], model: Model, quality: Quality) -> Prediction:
    """What can't be had costs its own line: unlike a row, that keeps no photo out of a later run."""
    if os.path.isdir(path):
        return Prediction(FileStatus.NOT_AN_IMAGE, "a folder; `faceline score` takes folders", ())
    try:
        [prediction] = predict([Ask(path)], photos, model, quality)
    except Unreachable as error:
        return Prediction(FileStatus.UNREADABLE, str(error), ())
    return prediction


def _line(name: str, prediction: Prediction) -> dict:
    faces = [_face(face) for face in prediction.faces]
    return {"photo": name, "status": prediction.status, "detail": prediction.detail, "faces": faces}


def _face(face: Judged) -> dict:
    numbers = {"x": face.box.x, "y": face.box.y, "width": face.box.width, "height": face.box.height}
    numbers |= {"age": face.age, "age_low": face.age_low, "age_high": face.age_high}
    rounded = {name: round(value, 2) for name, value in numbers.items()}
    rounded |= {"quality": _rounded(face.quality, 2), "female": _rounded(face.female, 4)}
    rounded |= {"gender": gender_named(face.female)}
    return rounded | {"rotation": face.rotation, "too_small": face.box.is_too_small()}


def _rounded(value: float | None, places: int) -> float | None:
    return None if value is None else round(value, places)
