"""Labelling: labels for photos that were extracted already, from their names or a table."""

from flows.extraction import list_folders
from flows.stage import log_to_prefect, publish, stage_flow
from storage.settings import LabelSettings
from storage.workspace import existing_workspace
from tasks.labels import BadLabels, label_folders, label_reader, why_none_is_labelled


@stage_flow("label")
def label(settings: LabelSettings) -> dict:
    """Reads labels for photos that were extracted already."""
    log_to_prefect()
    counts = label_photos(settings)
    publish("label", counts)
    return counts


def label_photos(settings: LabelSettings) -> dict:
    """Raises BadLabels, also where no photo would get a label, BadFolder and BadWorkspace."""
    reader = label_reader(settings.labels)
    workspace = existing_workspace(settings.workspace)
    sources = sorted({found.source for found in list_folders(settings.folders, workspace)})
    with workspace.only_writer():
        if reason := why_none_is_labelled(workspace, sources, reader):
            raise BadLabels(reason)
        return label_folders(workspace, sources, reader)
