"""Two models on the same faces: by how much each figure changes, with the paired bootstrap's 95 % interval.

Both see the same draws of people. Most faces are hard or easy for both, so the difference varies far less than either
figure does: what two separate intervals can't tell apart, this often can."""

from dataclasses import dataclass
from typing import Literal

from models.figures import FIGURES, Figure
from tasks.evaluation.bootstrap import Drawn, drawn_figures
from tasks.evaluation.evaluate import parts_of
from tasks.evaluation.judged import Judged

Verdict = Literal["better", "worse"]
MAIN = ("age_mae", "gender_accuracy")  # what decides between two models
_LOSS_ALLOWED = {"age_mae": 0.05, "gender_accuracy": 0.005}  # years, share: within the noise of a few thousand faces


@dataclass(frozen=True)
class Change:
    """What one figure of one part of the faces is with either model. None: that model doesn't have it. `column` and
    `group` are None for all faces; `interval` is None where there are too few of them, or all alike."""

    column: str | None
    group: str | None
    name: str
    before: float | None
    after: float | None
    interval: tuple[float, float] | None
    faces: int

    @property
    def figure(self) -> Figure:
        return FIGURES[self.name]

    @property
    def difference(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def verdict(self) -> Verdict | None:
        """By more than chance; None: neither, or no way is better."""
        if self.interval is None or self.figure.better is None or self.interval[0] <= 0 <= self.interval[1]:
            return None
        return "better" if (self.interval[1] < 0) == (self.figure.better == "lower") else "worse"

    def written(self) -> tuple[str, str, str, str, str]:
        """Before, after, the change, its interval and the verdict as a table has them; empty where there is none."""
        before, after = ("" if value is None else self.figure.written(value) for value in (self.before, self.after))
        change = "" if self.difference is None else self.figure.change(self.difference)
        between = self.figure.change_between(*self.interval) if self.interval else ""
        return before, after, change, between, self.verdict or ""

    def in_words(self) -> str:
        """`age MAE, years: -0.48 (95 % interval -0.71 to -0.25)`."""
        if self.difference is None:
            return f"{self.figure.title}: only with one of them"
        between = f"95 % interval {self.figure.change_between(*self.interval)}" if self.interval else "no interval"
        return f"{self.figure.title}: {self.figure.change(self.difference)} ({between})"


def compare(before: Judged, after: Judged) -> list[Change]:
    """A change for each figure of each part of the faces, those of all faces first. Both are of the same faces."""
    parts = parts_of(before)
    masks = [part.mask for part in parts]
    changes = []
    for part, old, new in zip(parts, drawn_figures(before, masks), drawn_figures(after, masks), strict=True):
        either = [name for name in FIGURES if name in old or name in new]
        changes += [_change(part.column, part.group, name, old.get(name), new.get(name)) for name in either]
    return changes


def overall(changes: list[Change]) -> list[Change]:
    return [change for change in changes if change.column is None]


def clearly_worse(changes: list[Change]) -> list[Change]:
    """The groups in which a main figure got worse by more than chance."""
    return [each for each in changes if each.column is not None and each.name in MAIN and each.verdict == "worse"]


def why_not_better(changes: list[Change]) -> str | None:
    """The reason why the second model shouldn't take the first one's place; None: it should. It should when its age
    error or its gender accuracy is better by more than chance, and the other not worse by more than a trifle."""
    main = [change for change in overall(changes) if change.name in MAIN and change.before is not None]
    for change in main:
        if change.difference is None:
            return f"it has no {change.figure.without_unit()}, which the present one has"
        lost = change.difference if change.figure.better == "lower" else -change.difference
        if lost > _LOSS_ALLOWED[change.name]:
            return f"its {change.figure.without_unit()} is worse"
    if not any(change.verdict == "better" for change in main):
        names = " or ".join(change.figure.without_unit() for change in main) or "anything"
        return f"no better by more than chance in {names}"
    return None


def in_words(changes: list[Change]) -> str:
    """The main figures' changes with their intervals."""
    main = [change for change in overall(changes) if change.name in MAIN]
    faces = max((change.faces for change in main), default=0)
    return f"On the same {faces:,} faces: {'; '.join(change.in_words() for change in main)}"


def _change(column: str | None, group: str | None, name: str, old: Drawn | None, new: Drawn | None) -> Change:
    if old is None or new is None:
        there = old or new
        assert there is not None
        values = (old and old.value, new and new.value)
        return Change(column, group, name, *values, None, there.faces)
    drawn = new.less(old)
    return Change(column, group, name, old.value, new.value, drawn.interval(), drawn.faces)
