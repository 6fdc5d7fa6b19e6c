"""What there is: models with their figures, and the versions and devices that really work on this machine."""

import os
import platform
import subprocess
import sys
from contextlib import nullcontext

from rich.console import Console
from rich.table import Table

from models.contract import BadModel
from models.figures import FIGURES
from models.session import Device, OnnxModel
from storage.provenance import version_of
from storage.refusal import ManyLines, harmless
from storage.registry import SHIPPED, UnknownModel, Version, champion, find, pretrained, shipped, versions
from storage.repair import repair
from storage.settings import DoctorSettings, ListModelsSettings, ShowModelSettings
from storage.verify import find_damage
from storage.workspace import existing_workspace, ours
from tasks.detect import NoDetector, detector_file

_PACKAGES = ("faceline", "tensorflow", "onnxruntime-gpu", "onnxruntime", "opencv-python-headless", "prefect", "polars")
_SHOWN = ("age_mae", "cs5", "gender_accuracy")


class Damaged(ManyLines):
    """Files of the workspace aren't what was written; the message names each, on a line of its own."""


def list_models(settings: ListModelsSettings) -> dict:
    """Prints a table of the registry's models and the shipped ones."""
    workspace = existing_workspace(settings.workspace)
    present = champion(workspace) or pretrained()
    table = Table()
    for heading in ("model", "made", "age MAE, years", "CS@5", "gender", ""):
        table.add_column(heading, no_wrap=heading == "model")
    models = [*map(shipped, SHIPPED), *versions(workspace)]
    for model in models:
        mark = "champion" if model.name == present.name else ""
        table.add_row(model.name, model.created_at[:16], *_figures(model), mark)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return {"models": len(models), "champion": present.name}


def show_card(settings: ShowModelSettings) -> dict:
    """Prints a model's card."""
    name = settings.version
    model = shipped(name) if name in SHIPPED else find(existing_workspace(settings.workspace), name)
    print(model.card())
    return {"model": model.name, "model_hash": model.model_hash, "folder": str(model.folder)}


def examine(settings: DoctorSettings) -> dict:
    """What works here, or what is damaged in the workspace."""
    return _look_for_damage(settings) if settings.verify or settings.repair else _what_works()


def _look_for_damage(settings: DoctorSettings) -> dict:
    """Raises Damaged for what isn't to be repaired, and BadWorkspace. A workspace that can only be read, such as a
    backup, is compared without being held."""
    workspace = existing_workspace(settings.workspace)
    can_write = os.access(workspace.local_root(), os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    with workspace.held() if can_write or settings.repair else nullcontext():
        damages = find_damage(workspace.local_root(), thoroughly=True)
        if damages and not settings.repair:
            listed = "\n".join(f"  {harmless(str(damage))}" for damage in damages)
            raise Damaged(f"{workspace.root}: {len(damages)} damaged:\n{listed}\n{workspace.how_to_repair()}")
        with ours(f"{workspace.root}: can't be repaired"):
            return {"damaged": len(damages), "photos_to_read_again": repair(workspace.local_root(), damages)}


def _what_works() -> dict:
    """A GPU counts only if a model really ran on it, or TensorFlow really sees it."""
    found: dict = {"python": platform.python_version(), "packages": {name: version_of(name) for name in _PACKAGES}}
    found["models"] = {name: _runs(name, "cpu") for name in SHIPPED}
    found["cuda"] = _runs("pretrained", "cuda")
    found["tensorrt"] = _runs("pretrained", "tensorrt")
    found["tensorflow_gpus"] = _tensorflow_gpus()
    try:
        found["detector"] = str(detector_file("centerface", None, fetch=False))
    except NoDetector as error:
        found["detector"] = f"does not work: {error}"
    return found


def _runs(name: str, device: Device) -> str:
    """What a shipped model runs on, or why it doesn't."""
    try:
        return OnnxModel(shipped(name).model_bytes(), name, device).provider
    except (UnknownModel, BadModel) as error:
        return f"does not work: {error}"


def _tensorflow_gpus() -> str:
    """Asked in a process of its own: TensorFlow takes a gigabyte, and a broken driver may crash it."""
    code = "import tensorflow; print(len(tensorflow.config.list_physical_devices('GPU')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout.strip() if done.returncode == 0 else "does not work: TensorFlow can't be imported"


def _figures(model: Version) -> list[str]:
    metrics = model.metrics()
    overall = metrics["test"]["overall"] or metrics["val"]["overall"]
    return [FIGURES[name].written(overall[name]) if name in overall else "" for name in _SHOWN]
