"""Forgetting photos and people. A command only, no deployment: a server would keep the names as parameters."""

import logging

from storage.forget import forget
from storage.registry import champion
from storage.settings import ForgetSettings
from storage.trained_on import who_saw
from storage.workspace import existing_workspace
from tasks.named import Unknown, named

logger = logging.getLogger(__name__)


def forget_photos(settings: ForgetSettings) -> dict:
    """Deletes photos, or all of a subject's, from everything in the workspace, and says which models saw them. Raises
    Unknown and BadWorkspace."""
    if not settings.photos and settings.subject is None:
        raise Unknown("name photos, by path or SHA-256, or a person with --subject")
    workspace = existing_workspace(settings.workspace)
    with workspace.only_writer():
        meant = named(workspace, settings.photos, settings.subject)
        erased = forget(workspace, meant.contents, meant.unread, settings.reason)
    seen = who_saw(workspace, meant.contents)
    present = champion(workspace)
    if present is not None and present.name in seen.models:
        logger.warning("the champion %s learnt from what was forgotten; `faceline retrain` makes another", present.name)
    return {
        "forgotten": len(meant.contents) + len(meant.unread),
        **erased,
        "models_that_saw": seen.models,
        "runs_that_saw": seen.runs,
        "unknown_whether": seen.unknown,
    }
