"""The flow `extract`: see flows/extraction.py."""

from flows.crews import crew_of
from flows.extraction import extract_folders
from flows.stage import log_to_prefect, publish, stage_flow
from storage.settings import ExtractSettings


@stage_flow("extract")
def extract(settings: ExtractSettings) -> dict:
    """Finds the faces in folders of photos and stores them, with labels where the photos have some."""
    log_to_prefect()
    with crew_of(settings, as_tasks=True) as crew:
        counts = extract_folders(settings, crew)
    publish("extract", counts)
    return counts
