"""The flow `score`: see flows/scoring.py."""

from flows.crews import crew_of
from flows.scoring import score_folders
from flows.stage import log_to_prefect, publish, stage_flow
from storage.settings import ScoreSettings


@stage_flow("score")
def score(settings: ScoreSettings) -> dict:
    """Scores every face in folders of photos; what is scored already is skipped."""
    log_to_prefect()
    with crew_of(settings, as_tasks=True) as crew:
        counts = score_folders(settings, crew)
    publish("score", counts)
    return counts
