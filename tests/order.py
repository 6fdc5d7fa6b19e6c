"""The order of the test files. In `make test` a process takes a whole file at a time: one that takes minutes and starts
last would keep its core busy long after the others have nothing left to do."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LONGEST = (  # of the slow tests, the longest first
    "flows/test_deployments.py",
    "flows/test_up.py",
    "flows/test_train.py",
    "flows/test_loop.py",
    "flows/test_cluster.py",
    "review/test_browser.py",
    "review/test_uploads.py",
    "faults/test_kills.py",
    "models/test_fit.py",
    "models/test_export.py",
)


def longest_first(items: list[pytest.Item]) -> None:
    """Sorts in place; files that aren't named above follow as they are."""
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))
