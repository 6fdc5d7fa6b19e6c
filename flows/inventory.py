"""What there is: models with their figures, and the versions and devices that really work on this machine."""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.table import Table

from models.card import shown
from models.contract import BadModel
from models.session import OnnxModel
from storage.registry import UnknownModel, Version, champion, find, pretrained, versions
from storage.workspace import existing_workspace
from tasks.detect import NoDetector, detector_file

_PACKAGES = ("faceline", "tensorflow", "onnxruntime-gpu", "onnxruntime", "opencv-python-headless", "prefect", "polars")
_SHOWN = ("age_mae", "cs5", "gender_accuracy")


def list_models(workspace_url: str) -> dict:
    """Prints a table of the registry's models and the shipped one."""
    workspace = existing_workspace(workspace_url)
    present = champion(workspace) or pretrained()
    table = Table("model", "made", "age MAE, years", "CS@5", "gender", "")
    for model in [pretrained(), *versions(workspace)]:
        mark = "champion" if model.name == present.name else ""
        table.add_row(model.name, model.created_at[:16], *_figures(model), mark)
    Console().print(table)
    return {"models": len(versions(workspace)) + 1, "champion": present.name}


def show_card(workspace_url: str, name: str) -> dict:
    """Prints a model's card."""
    model = pretrained() if name == "pretrained" else find(existing_workspace(workspace_url), name)
    print(model.card())
    return {"model": model.name, "model_hash": model.model_hash, "folder": str(model.folder)}


def examine(workspace_url: str) -> dict:
    """What works here. A GPU counts only if a model really ran on it, or TensorFlow really sees it."""
    found: dict = {"python": platform.python_version(), "packages": {name: _version(name) for name in _PACKAGES}}
    try:
        content = pretrained().model_bytes()
        found["cpu"] = OnnxModel(content, "pretrained", "cpu").provider
        found["cuda"] = _cuda(content)
    except (UnknownModel, BadModel) as error:
        found["cpu"] = f"does not work: {error}"
    found["tensorflow_gpus"] = _tensorflow_gpus()
    try:
        found["detector"] = str(detector_file("centerface", None, fetch=False))
    except NoDetector as error:
        found["detector"] = f"does not work: {error}"
    return found


def _cuda(content: bytes) -> str:
    try:
        return OnnxModel(content, "pretrained", "cuda").provider
    except BadModel as error:
        return f"does not work: {error}"


def _tensorflow_gpus() -> str:
    """Asked in a process of its own: TensorFlow takes a gigabyte, and a broken driver may crash it."""
    code = "import tensorflow; print(len(tensorflow.config.list_physical_devices('GPU')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout.strip() if done.returncode == 0 else "does not work: TensorFlow can't be imported"


def _figures(model: Version) -> list[str]:
    metrics = model.metrics()
    overall = metrics["test"]["overall"] or metrics["val"]["overall"]
    return [shown(name, overall[name]) if name in overall else "" for name in _SHOWN]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
