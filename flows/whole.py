"""The whole way in one run: labelled photos to faces, to a model, to its file, to scores. Each stage is a flow run of
its own below this one, so Prefect's page shows how far it is, and what failed."""

from typing import TypeVar

from pydantic import Field

from flows.export import export
from flows.extract import extract
from flows.score import score
from flows.steps import log_to_prefect, publish, stage_flow
from flows.train import train
from storage.settings import ExportSettings, ExtractSettings, Frozen, PhotoSettings, ScoreSettings, TrainSettings

Stage = TypeVar("Stage", bound=Frozen)


class WholeSettings(ExtractSettings, TrainSettings):
    """Extract and train as the settings of those stages say, then score with the new model."""

    score: list[str] = Field([], description="folders to score with the new model; none: those it was trained on")


@stage_flow("whole")
def whole(settings: WholeSettings) -> dict:
    """From labelled photos to scored ones. Started again, it takes up what is done: extraction and scoring skip it,
    training doesn't."""
    log_to_prefect()
    extracted = extract(_part(settings, ExtractSettings))
    trained = train(_part(settings, TrainSettings))
    exported = export(ExportSettings(workspace=settings.workspace, run=trained["run"]))
    scored = score(_score_settings(settings, exported["version"]))
    counts = {
        "files": extracted["files"],
        "run": trained["run"],
        "version": exported["version"],
        "scored_faces": scored["faces"] + scored["rescored"],
    }
    publish("whole", counts)
    return counts


def _part(settings: WholeSettings, stage: type[Stage]) -> Stage:
    return stage.model_validate(settings.model_dump(include=set(stage.model_fields)))


def _score_settings(settings: WholeSettings, version: str) -> ScoreSettings:
    """Photos are looked at as in extraction, or each would be looked at twice. `gpu` is cuda to ONNX Runtime."""
    chosen = settings.model_dump(include=set(PhotoSettings.model_fields))
    device = "cuda" if settings.device == "gpu" else settings.device
    own = {"folders": settings.score or settings.folders, "model": version, "device": device}
    return ScoreSettings.model_validate(chosen | own)
