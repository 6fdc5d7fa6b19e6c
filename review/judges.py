"""What the page for uploads holds open between runs: models by their hash, and the processes that read photos.

Streamlit runs a page anew at each click; loading VGG16 takes about half a second and starting the processes two."""

from contextlib import ExitStack
from dataclasses import dataclass

import streamlit as st

from models.session import OnnxModel
from storage.choices import FaceMode
from storage.registry import SHIPPED, UnknownModel, Version, champion, find, shipped, versions
from storage.workspace import Workspace
from tasks.predict import photo_readers
from tasks.quality import Quality, make_quality
from tasks.read import Ask, Looked
from tasks.spread import Spread

_PHOTO_PROCESSES = 2  # a page waits for a few photos, not for a folder


@dataclass(frozen=True)
class Readers:
    """Processes that read photos, and what ends them."""

    photos: Spread[Ask, Looked]
    ending: ExitStack


def model_choices(workspace: Workspace) -> dict[str, str]:
    """Names that `model_named` takes, with what to call them; empty where there is no model at all."""
    best = champion(workspace)
    choices = {"champion": f"champion ({best.name})"} if best else {}
    choices |= {name: f"{name} (shipped with Faceline)" for name in SHIPPED if _is_there(name)}
    return choices | {version.name: version.name for version in reversed(versions(workspace))}


def model_named(workspace: Workspace, name: str) -> OnnxModel:
    """Raises UnknownModel and BadModel."""
    version = find(workspace, name)
    return _model(version.model_hash, version)


def readers_for(model: OnnxModel, faces: FaceMode) -> Spread[Ask, Looked]:
    """Raises NoDetector."""
    return _readers(model.hash, faces, model).photos


@st.cache_resource(show_spinner=False)
def quality_judge() -> Quality:
    """See tasks/quality.py."""
    return make_quality()


@st.cache_resource(max_entries=2, show_spinner="Loading the model")
def _model(model_hash: str, _version: Version) -> OnnxModel:
    return OnnxModel(_version.model_bytes(), _version.name, "auto")


@st.cache_resource(max_entries=2, show_spinner="Starting", on_release=lambda readers: readers.ending.close())
def _readers(model_hash: str, faces: FaceMode, _model: OnnxModel) -> Readers:
    ending = ExitStack()
    return Readers(ending.enter_context(photo_readers(_model, faces, workers=_PHOTO_PROCESSES)), ending)


def _is_there(name: str) -> bool:
    try:
        shipped(name)
    except UnknownModel:
        return False
    return True
