"""The gate to the champion: two models on the same faces, and a new one takes over only where it is better."""

import logging
import sys

from rich.console import Console
from rich.table import Table

from flows.evaluate import judged_by, labelled_side, load_model
from models.session import Device
from storage.refusal import Refusal
from storage.registry import find, promote
from storage.settings import CompareSettings, PromoteSettings
from storage.workspace import Workspace, existing_workspace
from tasks.compare import Change, clearly_worse, compare, in_words, overall, why_not_better

logger = logging.getLogger(__name__)


class NotBetter(Refusal):
    """The challenger isn't better than the champion on the same rows; the message shows by how much."""


def compare_models(settings: CompareSettings) -> dict:
    """Prints a table of all figures, and warns of groups that fare worse with the second model. Raises NothingToLearn,
    UnknownModel and BadModel."""
    workspace = existing_workspace(settings.workspace)
    changes = compare_on(workspace, settings.before, settings.after, settings.split, settings.device)
    Console(width=None if sys.stdout.isatty() else 120).print(_table(settings, changes))
    return {"before": settings.before, "after": settings.after, "split": settings.split, **_as_json(changes)}


def promote_model(settings: PromoteSettings) -> dict:
    """Makes a version the champion where it is better than the present one on the same test faces; the shipped model
    is the champion of a workspace without another. Raises NotBetter, unless forced with a reason."""
    workspace = existing_workspace(settings.workspace)
    challenger, present = find(workspace, settings.version), find(workspace, "champion")
    if settings.force is not None:
        promote(workspace, challenger.name, f"forced: {settings.force}")
        return {"champion": challenger.name, "before": present.name, "forced": settings.force}
    if present.name == challenger.name:
        promote(workspace, challenger.name, "no other champion")
        return {"champion": challenger.name}
    changes = compare_versions(workspace, present.name, challenger.name)
    if reason := why_not_better(changes):
        raise NotBetter(
            f"{challenger.name} stays out: {reason}. {in_words(changes)}. --force REASON promotes it anyway"
        )
    promote(workspace, challenger.name, f"better than {present.name}. {in_words(changes)}")
    return {"champion": challenger.name, "before": present.name, **_as_json(changes)}


def compare_versions(workspace: Workspace, champion_name: str, challenger_name: str) -> list[Change]:
    """Both models on the same test faces, with a warning of groups that fare worse. Raises NothingToLearn where there
    are none."""
    return compare_on(workspace, champion_name, challenger_name, "test", "auto")


def compare_on(workspace: Workspace, before: str, after: str, split: str | None, device: Device) -> list[Change]:
    dataset, indices = labelled_side(workspace, split)
    old, new = (judged_by(load_model(workspace, name, device), dataset, indices) for name in (before, after))
    changes = compare(old, new)
    for worse in clearly_worse(changes):
        logger.warning("%s %s is worse with %s: %s", worse.column, worse.group, after, worse.in_words())
    return changes


def _table(settings: CompareSettings, changes: list[Change]) -> Table:
    faces = max((change.faces for change in overall(changes)), default=0)
    table = Table(title=f"the same {faces:,} {settings.split or 'labelled'} faces")
    for heading in ("", settings.before, settings.after, "change", "95 % interval", ""):
        table.add_column(heading, overflow="fold")
    for change in overall(changes):
        table.add_row(change.figure.title, *change.written())
    return table


def _as_json(changes: list[Change]) -> dict:
    """The changes of all faces by figure, and the groups that fare worse."""
    return {
        "changes": {
            change.name: {
                "before": change.before,
                "after": change.after,
                "change": change.difference,
                "interval": change.interval,
                "verdict": change.verdict,
            }
            for change in overall(changes)
        },
        "worse": [f"{worse.column} {worse.group}: {worse.in_words()}" for worse in clearly_worse(changes)],
    }
