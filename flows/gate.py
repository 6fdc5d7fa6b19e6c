"""The gate to the champion: two models on the same faces, and a new one takes over only where it is better."""

import logging
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from flows.evaluate import judged_by, labelled_side, load_model
from models.session import Device
from storage.refusal import Refusal
from storage.registry import find, promote
from storage.settings import CompareSettings, PromoteSettings
from storage.trained_on import seen_by
from storage.workspace import Workspace, existing_workspace
from tasks.dataset import Dataset, NothingToLearn
from tasks.evaluation.compare import Change, clearly_worse, compare, in_words, overall, why_not_better
from tasks.evaluation.judged import read_answers
from tasks.evaluation.pair import judge_pair

logger = logging.getLogger(__name__)
_FEWEST_FACES = 20  # with fewer, left by those that a model knows, no difference would be told from chance


class NotBetter(Refusal):
    """The challenger isn't better than the champion on the same rows; the message shows by how much."""


def compare_models(settings: CompareSettings) -> dict:
    """Prints a table of all figures, and warns of groups that fare worse with the second model. Raises NothingToLearn,
    UnknownModel and BadModel; of two tables of answers, BadTable."""
    before, after, split = settings.before, settings.after, settings.split
    if settings.are_tables:
        tables = (read_answers(Path(before)), read_answers(Path(after)))
        split = split if any("split" in table.columns for table in tables) else None
        changes = compare(*judge_pair(tables, split, (Path(before), Path(after))))
        _warn_of_worse(changes, after)
    else:
        changes = compare_on(existing_workspace(settings.workspace), before, after, split, settings.device)
    Console(width=None if sys.stdout.isatty() else 120).print(_table((before, after), split, changes))
    return {"before": before, "after": after, "split": split, **_as_json(changes)}


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
    """Asked for the test side, leaves out what either of them learnt from, as after the split changed. Raises
    NothingToLearn where too few faces are left."""
    dataset, indices = labelled_side(workspace, split)
    if split == "test":
        indices = _unseen(workspace, dataset, indices, (before, after))
    old, new = (judged_by(load_model(workspace, name, device), dataset, indices) for name in (before, after))
    changes = compare(old, new)
    _warn_of_worse(changes, after)
    return changes


def _warn_of_worse(changes: list[Change], after: str) -> None:
    for worse in clearly_worse(changes):
        logger.warning("%s %s is worse with %s: %s", worse.column, worse.group, after, worse.in_words())


def _unseen(workspace: Workspace, dataset: Dataset, indices: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """The test faces that stand on neither model's list of what it learnt from; a model file has no list."""
    folders = [find(workspace, name).folder for name in names if not name.endswith(".onnx")]
    hashes = dataset.rows["file_hash"].gather(indices)
    seen = seen_by(workspace, folders, hashes.unique().to_list())
    kept = indices[~hashes.is_in(list(seen)).to_numpy()]
    left_out = len(indices) - len(kept)
    if left_out:
        logger.warning(
            "%d of %d test faces are left out: %s learnt from them", left_out, len(indices), " or ".join(names)
        )
    if left_out and len(kept) < _FEWEST_FACES:
        raise NothingToLearn(
            f"{' and '.join(names)} can't be compared: {left_out} of {len(indices)} test faces are of photos that one "
            f"of them learnt from, and {len(kept)} are left, fewer than {_FEWEST_FACES}. Label others, or bring back "
            "the split that they were trained with"
        )
    return kept


def _table(names: tuple[str, str], split: str | None, changes: list[Change]) -> Table:
    faces = max((change.faces for change in overall(changes)), default=0)
    table = Table(title=f"the same {faces:,} {split or 'labelled'} faces")
    for heading in ("", *names, "change", "95 % interval", ""):
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
