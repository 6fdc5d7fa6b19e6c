"""Forgetting photos and people. A command only, no deployment: a server would keep the names as parameters."""

import logging

from storage.forget import forget, would_forget
from storage.registry import champion
from storage.scratch import delete_left_over
from storage.settings import ForgetSettings
from storage.trained_on import who_saw
from storage.workspace import Workspace, existing_workspace
from tasks.named import Named, named

logger = logging.getLogger(__name__)


def forget_photos(settings: ForgetSettings) -> dict:
    """Deletes photos, or all of a subject's, from everything in the workspace, and says which models saw them; a
    dry run says so and deletes nothing. Raises Unknown and BadWorkspace."""
    workspace = existing_workspace(settings.workspace)
    if settings.dry_run:
        meant = named(workspace, settings.photos, settings.subject)
        rows = would_forget(workspace, meant.contents, meant.unread)
        return {"would_forget": meant.count(), **rows, **_seen(workspace, meant)}
    with workspace.only_writer():
        meant = named(workspace, settings.photos, settings.subject)
        erased = forget(workspace, meant.contents, meant.unread, settings.reason)
        delete_left_over()
    return {"forgotten": meant.count(), **erased, **_seen(workspace, meant)}


def _seen(workspace: Workspace, meant: Named) -> dict:
    """The models and runs that learnt from those photos, with a warning where the champion did."""
    seen = who_saw(workspace, meant.contents)
    present = champion(workspace)
    if present is not None and present.name in seen.models:
        logger.warning("the champion %s learnt from what is forgotten; `faceline retrain` makes another", present.name)
    return {"models_that_saw": seen.models, "runs_that_saw": seen.runs, "unknown_whether": seen.unknown}
