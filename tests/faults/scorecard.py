"""The scorecard: one line a fault, written into docs/faults.md by `make faults`, misses included."""

import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.compare import Difference

SHARE = float(os.environ.get("FACELINE_FAULT_ROUNDS", "0"))  # of the full rounds; 1 in `make faults`
_BEGIN, _END = "<!-- scorecard -->", "<!-- end of scorecard -->"
_HEAD = (
    "| id | fault | times tried | files | rows lost | doubled | wrong | seconds to recover | verdict |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


def rounds(few: int, full: int) -> int:
    """How often or on how much a fault is tried: few in `make test`, full in `make faults`."""
    return max(few, round(SHARE * full))


@dataclass
class Line:
    """What came of one fault. `misses` are what should have held and didn't; `notes` are worth saying anyway."""

    check: str
    fault: str
    tried: int = 0
    files: int | None = None  # in a run; None: the fault has nothing to do with files
    difference: Difference | None = None  # None: there are no rows to compare
    recovery_s: float | None = None  # None: there is nothing to recover from
    misses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str | None = None

    def want(self, holds: bool, otherwise: str) -> None:
        if not holds and otherwise not in self.misses:
            self.misses.append(otherwise)

    def add(self, difference: Difference) -> None:
        self.difference = (self.difference or Difference()) + difference

    def recovered_in(self, seconds: float) -> None:
        """The slowest counts."""
        self.recovery_s = max(self.recovery_s or 0, seconds)

    def verdict(self) -> str:
        if self.skipped:
            return f"not tried: {self.skipped}"
        misses = self.misses + (["rows differ"] if self.difference else [])
        notes = "; ".join(self.notes)
        if misses:
            return f"**miss**: {'; '.join(misses)}" + (f" ({notes})" if notes else "")
        return f"holds ({notes})" if notes else "holds"

    def holds(self) -> bool:
        return self.verdict().startswith("holds")

    def row(self) -> str:
        different = self.difference
        counts = ["", "", ""] if different is None else [different.lost, different.doubled, different.wrong]
        recovery = "" if self.recovery_s is None else f"{self.recovery_s:.1f}"
        cells = [self.check, self.fault, self.tried or "", self.files or "", *counts, recovery, self.verdict()]
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"


def write_line(page: Path, line: Line) -> None:
    """Puts a line into the page, in the place of the one of the same fault; the others stay."""
    before, rest = page.read_text().split(_BEGIN)
    old, after = rest.split(_END)
    rows = {_fault_of(row): row for row in old.splitlines(keepends=True) if row.startswith("| R")}
    rows[_fault_of(line.row())] = line.row()
    verdicts = [row.split(" | ")[-1] for row in rows.values()]
    held, untried = (sum(verdict.startswith(word) for verdict in verdicts) for word in ("holds", "not tried"))
    summary = f"{len(rows)} faults: {held} hold, {len(rows) - held - untried} miss, {untried} not tried here."
    where = f"Measured on {machine()}."
    table = _HEAD + "".join(rows[fault] for fault in sorted(rows))
    page.write_text(f"{before}{_BEGIN}\n{summary} {where}\n\n{table}{_END}{after}")


def _fault_of(row: str) -> tuple[str, str]:
    check, fault = row.removeprefix("| ").split(" | ")[:2]
    return check, fault


def machine() -> str:
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = "with an NVIDIA GPU" if Path("/dev/nvidiactl").exists() else "without a GPU"
    name = model[1] if model else platform.machine()
    return f"{os.cpu_count()} cores of {name}, {memory_gb:.0f} GiB, {gpu}, Linux, Python {platform.python_version()}"
