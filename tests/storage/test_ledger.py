"""A commit is on disk when it returns, and written down a second time."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.ledger import ledger_file, read_ledger, seal, sha256_of
from storage.verify import find_damage
from storage.workspace import BadWorkspace, Workspace, open_workspace
from tests.rows import file_row, files, label_row, labels

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def add_file(workspace: Workspace, name: str) -> None:
    workspace.append("files", files(file_row(name)))


def data_files(workspace: Workspace, table: str) -> set[str]:
    return {file.name for file in (workspace.local_root() / table).glob("*.parquet")}


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were forced to disk, in order. Each call still goes through to the system."""
    paths: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", noted)
    return paths


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file a descriptor is")
def test_data_then_log_then_folders_then_ledger_are_forced_to_disk(workspace: Workspace, synced: list[str]) -> None:
    add_file(workspace, "first.jpg")
    before = data_files(workspace, "files")
    synced.clear()
    add_file(workspace, "a.jpg")
    (data,) = data_files(workspace, "files") - before
    folder = workspace.local_root() / "files"
    expected = [folder / data, folder / f"_delta_log/{1:020d}.json", folder / "_delta_log", folder, ledger_file(folder)]
    assert synced == [str(path) for path in expected]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_the_system_sees_the_calls(workspace: Workspace, tmp_path: Path) -> None:
    code = (
        "import sys; from storage.workspace import open_workspace; from tests.rows import file_row, files;"
        "open_workspace(sys.argv[1]).append('files', files(file_row('a.jpg')))"
    )
    log = tmp_path / "strace.log"
    command = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(log)]
    subprocess.run([*command, sys.executable, "-c", code, str(workspace.root)], cwd=REPOSITORY, check=True)
    calls = [line for line in log.read_text().splitlines() if "sync(" in line]
    assert any(".parquet>" in line for line in calls)
    assert any("_delta_log>" in line for line in calls)


def test_the_ledger_has_every_data_file_with_its_hash(workspace: Workspace) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        add_file(workspace, name)
    folder = workspace.local_root() / "files"
    ledger = read_ledger(folder)
    assert ledger is not None
    assert ledger.version == 2
    assert ledger.hashes == {name: sha256_of(folder / name) for name in data_files(workspace, "files")}


def test_what_a_correction_replaced_leaves_the_ledger(workspace: Workspace) -> None:
    workspace.append("labels", labels(label_row("a.jpg", age=10.0)))
    (replaced,) = data_files(workspace, "labels")
    workspace.upsert("labels", labels(label_row("a.jpg", age=11.0)))
    ledger = read_ledger(workspace.local_root() / "labels")
    assert ledger is not None
    assert ledger.hashes.keys() == data_files(workspace, "labels") - {replaced}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_can_check_a_workspace(workspace: Workspace) -> None:
    for name in ("a.jpg", "b.jpg"):
        add_file(workspace, name)
    command = ["sha256sum", "--check", "--strict", "checksums/files.sha256"]
    assert subprocess.run(command, cwd=workspace.local_root(), capture_output=True, check=False).returncode == 0
    data = workspace.local_root() / "files" / data_files(workspace, "files").pop()
    data.write_bytes(data.read_bytes() + b"x")
    assert subprocess.run(command, cwd=workspace.local_root(), capture_output=True, check=False).returncode == 1


def test_a_line_that_a_kill_cut_does_not_count_and_hurts_none(workspace: Workspace) -> None:
    add_file(workspace, "a.jpg")
    folder = workspace.local_root() / "files"
    text = ledger_file(folder).read_text()
    ledger_file(folder).write_text(text + text[:50])
    add_file(workspace, "b.jpg")
    ledger = read_ledger(folder)
    assert ledger is not None
    assert (ledger.version, ledger.hashes.keys()) == (1, data_files(workspace, "files"))


def test_a_run_killed_before_the_ledger_is_no_damage_and_is_caught_up_with(workspace: Workspace) -> None:
    add_file(workspace, "a.jpg")
    folder = workspace.local_root() / "files"
    before = ledger_file(folder).read_bytes()
    add_file(workspace, "b.jpg")
    ledger_file(folder).write_bytes(before)
    assert workspace.scan("files").collect().height == 2
    with workspace.only_writer():
        ledger = read_ledger(folder)
    assert ledger is not None
    assert ledger.hashes.keys() == data_files(workspace, "files")


def test_a_workspace_of_an_earlier_version_gets_its_ledger_with_the_next_run(workspace: Workspace) -> None:
    add_file(workspace, "a.jpg")
    shutil.rmtree(workspace.local_root() / "checksums")
    assert workspace.scan("files").collect().height == 1
    with workspace.only_writer():
        ledger = read_ledger(workspace.local_root() / "files")
    assert ledger is not None
    assert ledger.hashes.keys() == data_files(workspace, "files")


@pytest.mark.parametrize("content", [b"", None], ids=["empty", "deleted"])
def test_a_reader_is_told_of_a_lost_commit(workspace: Workspace, content: bytes | None) -> None:
    for name in ("a.jpg", "b.jpg"):
        add_file(workspace, name)
    last = workspace.local_root() / f"files/_delta_log/{1:020d}.json"
    last.unlink() if content is None else last.write_bytes(content)
    with pytest.raises(BadWorkspace, match="a commit was lost; `faceline doctor --repair"):
        workspace.scan("files")


def test_a_reader_is_told_when_the_whole_log_is_gone(workspace: Workspace) -> None:
    add_file(workspace, "a.jpg")
    shutil.rmtree(workspace.local_root() / "files/_delta_log")
    with pytest.raises(BadWorkspace, match="commit log is gone"):
        workspace.scan("files")


WRITER = """
import sys
from itertools import count
from storage.workspace import open_workspace
from tests.rows import file_row, files, label_row, labels
workspace = open_workspace(sys.argv[1])
for number in count():
    workspace.append("files", files(file_row(f"{number}.jpg")))
    workspace.upsert("labels", labels(label_row("corrected.jpg", age=float(number % 100))))
    print(number, flush=True)
"""


@pytest.mark.slow
def test_kills_at_any_moment_lose_no_acknowledged_commit_and_are_no_damage(tmp_path: Path) -> None:
    wrong, kills = [], 6
    for moment in range(kills):
        root = tmp_path / str(moment)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        acknowledged = [process.stdout.readline()]
        time.sleep(moment / kills)
        process.kill()
        acknowledged += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        workspace = open_workspace(str(root))
        with workspace.only_writer():
            found = workspace.scan("files").collect()["path"].to_list()
            corrected = workspace.scan("labels").collect().height
        whole = found == list(dict.fromkeys(found)) and len(found) >= len(acknowledged)
        if not whole or corrected != 1 or find_damage(root, thoroughly=True):
            wrong.append((moment, len(acknowledged), len(found), corrected))
    assert wrong == []


def test_sealing_twice_changes_nothing(workspace: Workspace) -> None:
    add_file(workspace, "a.jpg")
    folder = workspace.local_root() / "files"
    before = read_ledger(folder)
    seal(folder)
    assert read_ledger(folder) == before
