"""The whole way in one run: labelled photos to faces, to a model, to its file, to scores. Each stage is a flow run of
its own below this one, so Prefect's page shows how far it is, and what failed."""

from prefect.concurrency.sync import concurrency
from pydantic import Field

from flows.deployments import ONE_WRITER
from flows.export import export
from flows.extract import extract
from flows.score import score
from flows.stage import log_to_prefect, publish, stage_flow
from flows.train import train
from storage.settings import ExportSettings, ExtractSettings, PhotoSettings, ScoreSettings, TrainSettings


class WholeSettings(ExtractSettings, TrainSettings):
    """Extract and train as the settings of those stages say, then score with the new model."""

    score: list[str] = Field([], description="folders to score with the new model; none: those it was trained on")


@stage_flow("whole")
def whole(settings: WholeSettings) -> dict:
    """From labelled photos to scored ones. Started again, it takes up what is done: extraction and scoring skip it,
    training doesn't."""
    log_to_prefect()
    with concurrency(ONE_WRITER):
        extracted = extract(settings.part(ExtractSettings))
    trained = train(settings.part(TrainSettings))
    exported = export(ExportSettings(workspace=settings.workspace, run=trained["run"]))
    with concurrency(ONE_WRITER):
        scored = score(_score_settings(settings, exported["version"]))
    counts = {
        "files": extracted["files"],
        "run": trained["run"],
        "version": exported["version"],
        "scored_faces": scored["faces"] + scored["rescored"],
    }
    publish("whole", counts)
    return counts


def _score_settings(settings: WholeSettings, version: str) -> ScoreSettings:
    """Photos are looked at as in extraction, or each would be looked at twice. `gpu` is cuda to ONNX Runtime."""
    device = "cuda" if settings.device == "gpu" else settings.device
    photos = settings.part(PhotoSettings)
    return photos.part(ScoreSettings, folders=settings.score or settings.folders, model=version, device=device)
