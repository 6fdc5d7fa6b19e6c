"""Upkeep of the tables by hand; the daily `health` does the same."""

from storage.compact import compact
from storage.forget import finish_forgetting
from storage.settings import CompactSettings
from storage.workspace import existing_workspace


def compact_workspace(settings: CompactSettings) -> dict:
    """Raises BadWorkspace."""
    workspace = existing_workspace(settings.workspace)
    with workspace.only_writer():
        finish_forgetting(workspace)
        done = compact(workspace)
    return {each.table: {"files_before": each.files_before, "files_after": each.files_after} for each in done}
