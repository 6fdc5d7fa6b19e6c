from types import SimpleNamespace
from typing import Any

from tests.order import LONGEST, TESTS, longest_first


def test_the_longest_files_are_there() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []


def test_the_longest_files_come_first_and_each_stays_together() -> None:
    paths = [TESTS / "a.py", TESTS / LONGEST[1], TESTS / LONGEST[0], TESTS / LONGEST[1], TESTS / "b.py"]
    items: list[Any] = [SimpleNamespace(path=path, number=number) for number, path in enumerate(paths)]
    longest_first(items)
    assert [item.number for item in items] == [2, 1, 3, 0, 4]


def test_make_keeps_the_order() -> None:
    """Left to itself, xdist starts the files with the most tests first, and the longest have few."""
    [line] = [line for line in (TESTS.parent / "Makefile").read_text().splitlines() if "--dist loadfile" in line]
    assert "--no-loadscope-reorder" in line
