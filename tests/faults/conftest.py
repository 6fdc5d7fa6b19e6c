"""A check is a test with `@pytest.mark.check(id, fault)` that fills in a `line` of the scorecard. What runs only in
`make faults` is marked `faults`; the others are `slow` tests of `make test` as well, with fewer rounds."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.given import Given
from tests.faults.scorecard import Line, write_line

_LINE = pytest.StashKey[Line]()


@pytest.fixture
def line(request: pytest.FixtureRequest) -> Line:
    """The check's line of the scorecard."""
    marker = request.node.get_closest_marker("check")
    assert marker is not None, "a check needs @pytest.mark.check(id, fault)"
    line = request.node.stash[_LINE] = Line(*marker.args)
    return line


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """A check that broke, or that can't be tried here, has its line too."""
    report = yield
    marker = item.get_closest_marker("check")
    if marker and (report.when == "call" or (report.when == "setup" and not report.passed)):
        line = item.stash.get(_LINE, Line(*marker.args))
        if report.skipped and not hasattr(report, "wasxfail"):
            line.skipped = str(call.excinfo.value) if call.excinfo else "skipped"
        elif call.excinfo and line.holds():
            line.misses.append(str(call.excinfo.value).splitlines()[0] if call.excinfo else "it broke")
        if page := os.environ.get("FACELINE_FAULT_TABLE"):
            write_line(Path(page), line)
    return report


@pytest.fixture(scope="session")
def given(shared: Path, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Given:
    lfw = sorted((shared / "data/lfw/images").glob("*.jpg"))
    return Given(lfw, model_file, tmp_path_factory.mktemp("given"))
