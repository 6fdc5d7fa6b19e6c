"""The model registry: `registry/<version>/` holds one exported model with its card, metrics and hash, and
`registry/champion.json` names the one that scores by default.

A version counts once its `version.json` is there, which is written last; so a killed export leaves no half model."""

import hashlib
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from filelock import FileLock
from upath import UPath

from storage.audit import note_promotion
from storage.refusal import Refusal
from storage.trained_on import TRAINED_ON
from storage.workspace import Workspace, now, ours, write_whole

PRETRAINED = Path(__file__).parent.parent / "models" / "pretrained"
SHIPPED = ("pretrained", "fast")  # in PRETRAINED, and in folders of their names below it


class UnknownModel(Refusal):
    """No such version, or its file isn't the one that was registered."""


@dataclass(frozen=True)
class Version:
    """One registered model. `model_hash` is the SHA-256 of its file, in hex."""

    name: str
    folder: UPath
    model_hash: str
    created_at: str

    def model_bytes(self) -> bytes:
        """The model file, read once. Raises UnknownModel when it's missing or isn't the registered one."""
        path = self.folder / "model.onnx"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UnknownModel(f"{path}: can't be read: {error}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.model_hash:
            raise UnknownModel(f"{path}: was changed since it was registered: SHA-256 {found}, not {self.model_hash}")
        return content

    def metrics(self) -> dict:
        return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))

    def card(self) -> str:
        return (self.folder / "card.md").read_text(encoding="utf-8")


def register(workspace: Workspace, model: bytes, card: str, metrics: dict, trained_on: bytes | None = None) -> Version:
    """Adds a version, whole or not at all. It scores nothing by itself until it is promoted. `trained_on` is its run's
    file of that name: see storage/trained_on.py."""
    model_hash = hashlib.sha256(model).hexdigest()
    version = f"{now():%Y%m%d-%H%M%S}-{model_hash[:8]}"
    folder = workspace.registry / version
    if trained_on is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / TRAINED_ON, trained_on)
    write_version(folder, version, model, card, metrics)
    return find(workspace, version)


def write_version(folder: UPath, name: str, model: bytes, card: str, metrics: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "model.onnx", model)
    write_whole(folder / "card.md", card.encode())
    write_whole(folder / "metrics.json", json.dumps(metrics, indent=2).encode())
    about = {"name": name, "model_hash": hashlib.sha256(model).hexdigest(), "created_at": now().isoformat()}
    write_whole(folder / "version.json", json.dumps(about, indent=2).encode())


def versions(workspace: Workspace) -> list[Version]:
    """Every whole version, oldest first."""
    if not workspace.registry.exists():
        return []
    folders = [folder for folder in workspace.registry.iterdir() if (folder / "version.json").exists()]
    return sorted((_read(folder) for folder in folders), key=lambda version: version.created_at)


def metrics_of(workspace: Workspace, model_hash: str) -> dict:
    """What the version with that hash was measured at; empty where none is registered. Raises UnknownModel."""
    return next((each.metrics() for each in versions(workspace) if each.model_hash == model_hash), {})


def champion(workspace: Workspace) -> Version | None:
    alias = workspace.registry / "champion.json"
    if not alias.exists():
        return None
    try:
        name = json.loads(alias.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnknownModel(f"{alias}: can't be read, so name a version with --model; {error!r}") from error
    return find(workspace, name)


def pretrained() -> Version:
    """The model that ships with Faceline."""
    return shipped("pretrained")


def shipped(name: str) -> Version:
    """One of SHIPPED: `pretrained`, or `fast`, which is made from it and costs a fraction of its time."""
    folder = PRETRAINED if name == "pretrained" else PRETRAINED / name
    if not (folder / "version.json").exists():
        raise UnknownModel(f"{folder}: the shipped model is missing; install Faceline again")
    return _read(cast(UPath, folder))


def find(workspace: Workspace, name: str) -> Version:
    """One of SHIPPED, `champion`, `latest` (which was registered last), or a version by its name. Raises UnknownModel,
    naming those there are."""
    if name in SHIPPED:
        return shipped(name)
    if name == "champion":
        return champion(workspace) or pretrained()
    registered = versions(workspace)
    for version in reversed(registered):
        if name in (version.name, "latest"):
            return version
    own = ", ".join(version.name for version in registered) or "none of your own: `faceline export` makes one of a run"
    raise UnknownModel(f"no model `{name}` in {workspace.registry}; there is {' and '.join(SHIPPED)}, and {own}")


def promote(workspace: Workspace, name: str, reason: str) -> None:
    """Makes a version the champion, and adds a line to the registry's log on who did it, and why. A shipped model may
    be the first. Raises UnknownModel, and BadWorkspace where it can't be written."""
    version = find(workspace, name)
    with ours(f"{workspace.registry}: can't be written to"), _one_at_a_time(workspace):
        workspace.registry.mkdir(parents=True, exist_ok=True)
        note_promotion(workspace, version.name, version.model_hash, reason)
        write_whole(workspace.registry / "champion.json", json.dumps({"version": version.name}).encode())


def _one_at_a_time(workspace: Workspace) -> AbstractContextManager:
    """Waits for others that promote just now, or one of two log lines would be lost. An object store has no lock."""
    return FileLock(str(workspace.local_root() / ".promoting")) if workspace.is_local else nullcontext()


def _read(folder: UPath) -> Version:
    try:
        about = json.loads((folder / "version.json").read_text(encoding="utf-8"))
        return Version(about["name"], folder, about["model_hash"], about["created_at"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnknownModel(f"{folder}/version.json: can't be read; remove that folder: {error!r}") from error


def model_content(workspace: Workspace | None, name: str) -> tuple[bytes, str]:
    """A model's bytes and its version's name, for a name that `find` knows, or an .onnx file. Raises UnknownModel."""
    if name.endswith(".onnx"):
        try:
            return Path(name).read_bytes(), Path(name).stem
        except OSError as error:
            raise UnknownModel(f"{name}: can't be read: {error.strerror}") from error
    if workspace is None:
        if name not in SHIPPED:
            raise UnknownModel(f"`{name}` is looked up in a workspace: give --workspace, or the path of an .onnx file")
        version = shipped(name)
    else:
        version = find(workspace, name)
    return version.model_bytes(), version.name
