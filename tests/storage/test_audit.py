"""Who did what, and when, is kept: reviews, promotions and forgetting, each with a name and none of a photo's."""

import getpass
import json
from pathlib import Path

import pytest

from flows.cli import run
from storage.audit import acts
from storage.forget import forget
from storage.registry import promote, register
from storage.reviews import Reviews, open_reviews
from storage.workspace import BadWorkspace, Workspace, open_workspace
from tests.rows import content_hash, file_row, files

ME = getpass.getuser()
ANNA, BEN = content_hash("anna.jpg"), content_hash("ben.jpg")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    opened = open_workspace(str(tmp_path / "workspace"))
    opened.append("files", files(file_row("anna.jpg"), file_row("ben.jpg")))
    return opened


@pytest.fixture
def reviews(workspace: Workspace) -> Reviews:
    return open_reviews(workspace)


def test_every_act_is_listed_with_who_and_why_the_latest_first(workspace: Workspace, reviews: Reviews) -> None:
    version = register(workspace, b"model", "card", {}).name
    promote(workspace, version, "a test's")
    for face in (0, 1):
        reviews.add((BEN, face), "right", "Ada")
    forget(workspace, [ANNA], reason="asked for")
    assert acts(workspace, reviews).drop("at").rows() == [
        (ME, "forgot", 1, None, "asked for"),
        ("Ada", "reviewed", 2, None, None),
        (ME, "promoted", None, version, "a test's"),
    ]


def test_the_line_on_a_forgetting_names_nobody_and_stays_when_more_is_forgotten(workspace: Workspace) -> None:
    forget(workspace, [ANNA], reason="asked for")
    first = (workspace.root / "audit.jsonl").read_text()
    forget(workspace, [BEN])
    both = (workspace.root / "audit.jsonl").read_text()
    assert both.startswith(first)
    assert [json.loads(line)["count"] for line in both.splitlines()] == [1, 1]
    assert not any(named in both for named in ("anna", ANNA, "ben", BEN))


def test_a_forgetting_that_is_interrupted_is_in_the_log_all_the_same(
    workspace: Workspace, reviews: Reviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Reviews, "forget", interrupt)
    with pytest.raises(KeyboardInterrupt):
        forget(workspace, [ANNA])
    assert acts(workspace, reviews)["act"].to_list() == ["forgot"]


def test_a_workspace_where_nothing_was_done_yet_has_no_acts(workspace: Workspace, reviews: Reviews) -> None:
    assert acts(workspace, reviews).is_empty()


def test_a_damaged_log_is_named(workspace: Workspace, reviews: Reviews) -> None:
    (workspace.root / "audit.jsonl").write_text("not JSON")
    with pytest.raises(BadWorkspace, match=r"audit\.jsonl: can't be read"):
        acts(workspace, reviews)


def test_the_command_lists_them_and_counts_them(
    workspace: Workspace, reviews: Reviews, capsys: pytest.CaptureFixture
) -> None:
    reviews.add((BEN, 0), "right", "Ada")
    assert run(["forget", ANNA, "--reason", "asked for", "--workspace", str(workspace.root)]) == 0
    assert run(["audit", "--days", "1", "--workspace", str(workspace.root)]) == 0
    *table, last = capsys.readouterr().out.splitlines()[1:]
    assert json.loads(last) == {"reviewed": 1, "promoted": 0, "forgot": 1}
    assert [sum(name in line for line in table) for name in ("Ada", "asked for")] == [1, 1]
