"""What came of a fault is written down as it was, misses too."""

from pathlib import Path

import pytest

from tests.faults.compare import Difference
from tests.faults.scorecard import Line, write_line

PAGE = "# Faults\n<!-- scorecard -->\n<!-- end of scorecard -->\nthe rest\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "faults.md").write_text(PAGE)
    return tmp_path / "faults.md"


def test_rows_that_differ_are_a_miss() -> None:
    line = Line("R10", "kills", difference=Difference(doubled=1))
    assert not line.holds()
    assert "rows differ" in line.verdict()


def test_what_should_have_held_is_named() -> None:
    line = Line("R10", "kills", difference=Difference())
    line.want(holds=False, otherwise="a process is left")
    assert line.verdict() == "**miss**: a process is left"


def test_a_page_keeps_its_text_and_the_lines_of_other_faults(page: Path) -> None:
    for line in (Line("R10", "kills | at once"), Line("R09", "workers"), Line("R01", "bad files")):
        write_line(page, line)
    write_line(page, Line("R10", "kills | at once", difference=Difference(lost=3)))
    text = page.read_text()
    rows = [row for row in text.splitlines() if row.startswith("| R")]
    assert [row.split(" | ")[0] for row in rows] == ["| R01", "| R09", "| R10"]
    assert "3 faults: 2 hold, 1 miss, 0 not tried here." in text
    assert text.startswith("# Faults\n")
    assert text.endswith("the rest\n")
