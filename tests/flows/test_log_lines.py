"""Names can't break a log line or a message in two, nor tell a terminal what to do."""

import logging
from pathlib import Path

import pytest

from flows.children import ChildEnded
from flows.cli import run
from storage.audit import note_forgetting
from storage.refusal import harmless
from storage.workspace import open_workspace

EVIL = "a\nERROR all is lost\x1b[2J\u202egpj.exe\r\u2028\x9b"
WRITTEN = r"a\nERROR all is lost\x1b[2J\u202egpj.exe\r\u2028\x9b"


def test_what_a_terminal_obeys_is_written_as_its_escape() -> None:
    assert harmless(EVIL) == WRITTEN
    assert harmless("Grüße, 日本 \N{NO-BREAK SPACE}5 %") == "Grüße, 日本 \N{NO-BREAK SPACE}5 %"


def test_a_refusal_names_it_on_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["audit", "--workspace", str(tmp_path / EVIL)]) == 1
    [line] = capsys.readouterr().err.split("\n")[:-1]
    assert WRITTEN in line
    assert line.isprintable()


def test_a_log_line_names_it_on_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    workspace = open_workspace(str(tmp_path / "a\u202egpj.exe\u2028"))  # line ends are refused in a workspace's path
    workspace.local_root().chmod(0o755)
    assert run(["audit", "--workspace", str(workspace.root)]) == 0
    logging.getLogger("tasks.read").warning("%s", EVIL)
    named, evil = (each.getMessage() for each in caplog.records if each.levelno == logging.WARNING)
    assert r"a\u202egpj.exe\u2028" in named
    assert named.isprintable()
    assert evil == WRITTEN


def test_a_table_shows_it_on_one_line_and_brackets_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    workspace = open_workspace(str(tmp_path / "workspace"))
    note_forgetting(workspace, 1, f"[bold]{EVIL}")
    assert run(["audit", "--workspace", str(workspace.root)]) == 0
    shown = capsys.readouterr().out
    assert f"[bold]{WRITTEN}" in shown
    assert "\x1b" not in shown


def test_the_end_of_a_log_keeps_its_lines() -> None:
    assert str(ChildEnded("server ended\nfirst\x1b[2J\nsecond")) == "server ended\nfirst\\x1b[2J\nsecond"
