"""Compaction keeps every row, in few files, and leaves nothing else on disk."""

import logging
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from storage.compact import compact, tidy
from storage.schemas import FACES, TABLES
from storage.verify import find_damage
from storage.workspace import BadWorkspace, Workspace, open_workspace
from tests.rows import face_row, faces, file_row, files, label_row, labels, score_row, scores

pytestmark = pytest.mark.slow

COMMITS = 12


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = open_workspace(str(tmp_path / "workspace"))
    for number in range(COMMITS):
        name = f"{number}.jpg"
        workspace.append("faces", faces(face_row(name)))
        workspace.append("scores", scores(score_row(name)))
        workspace.append("files", files(file_row(name)))
        workspace.upsert("labels", labels(label_row(name), label_row("corrected.jpg", age=float(number))))
    return workspace


def rows(workspace: Workspace, table: str) -> pl.DataFrame:
    return workspace.scan(table).collect().sort("file_hash")


def on_disk(workspace: Workspace, table: str) -> list[Path]:
    return sorted(path for path in (workspace.local_root() / table).rglob("*") if path.is_file())


def test_many_files_become_one_and_no_row_changes(workspace: Workspace) -> None:
    before = {table: rows(workspace, table) for table in TABLES}
    with workspace.only_writer():
        done = compact(workspace)
    assert {each.table: (each.files_before, each.files_after) for each in done} == {
        table: (COMMITS, 1) if table != "labels" else (done[2].files_before, 1) for table in TABLES
    }
    for table in TABLES:
        assert rows(workspace, table).equals(before[table])


@pytest.mark.parametrize("table", TABLES)
def test_what_was_changed_on_disk_is_named_and_not_rewritten(workspace: Workspace, table: str) -> None:
    """Or a flipped bit would be written with a valid checksum."""
    damaged = Path(DeltaTable(str(workspace.root / table)).file_uris()[0])
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with workspace.only_writer(), pytest.raises(BadWorkspace, match=rf"1 damaged: {table}/{damaged.name}"):
        compact(workspace)
    assert [damage.file for damage in find_damage(workspace.local_root(), thoroughly=True)] == [
        f"{table}/{damaged.name}"
    ]


@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_left_but_the_table_and_its_last_log_entry(workspace: Workspace, table: str) -> None:
    with workspace.only_writer():
        compact(workspace)
    (data,) = DeltaTable(str(workspace.root / table)).file_uris()
    version = DeltaTable(str(workspace.root / table)).version()
    log = [f"{version:020d}.checkpoint.parquet", f"{version:020d}.json", "_last_checkpoint"]
    assert {path.name for path in on_disk(workspace, table)} == {Path(data).name, *log}
    assert find_damage(workspace.local_root(), thoroughly=True) == []


def test_one_can_go_on_writing_to_a_compacted_table(workspace: Workspace) -> None:
    with workspace.only_writer():
        compact(workspace)
        workspace.append("files", files(file_row("new.jpg")))
        workspace.upsert("labels", labels(label_row("corrected.jpg", age=99.0)))
    assert len(rows(workspace, "files")) == COMMITS + 1
    assert rows(workspace, "labels")["age"].max() == 99.0


def test_what_killed_runs_left_is_removed(workspace: Workspace) -> None:
    folder = workspace.local_root() / "faces"
    left = [
        folder / "part-00000-orphan-c000.zstd.parquet",
        folder / "part-00000-half-written-c000.zstd.parquet#1",
        folder / "_delta_log/_commit_of_a_killed_run.json.tmp",
    ]
    for file in left:
        file.write_bytes(b"a face")
    with workspace.only_writer():
        tidy(workspace, "faces")
    assert [file for file in left if file.exists()] == []
    assert len(rows(workspace, "faces")) == COMMITS


def test_crops_keep_their_row_groups_and_stay_without_statistics(tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path / "workspace"))
    for chunk in range(3):
        workspace.append("faces", faces(*[face_row(f"{chunk}-{number}.jpg", crop=b"crop") for number in range(500)]))
    with workspace.only_writer():
        compact(workspace)
    (file,) = (workspace.local_root() / "faces").glob("*.parquet")
    metadata = pq.ParquetFile(file).metadata
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [1000, 500]
    column = metadata.row_group(0).column(FACES.get_field_index("crop"))
    assert not column.is_stats_set
    assert "RLE_DICTIONARY" not in column.encodings
    assert not metadata.row_group(0).column(FACES.get_field_index("file_hash")).is_stats_set


def test_an_empty_workspace_has_nothing_to_compact(tmp_path: Path) -> None:
    assert compact(open_workspace(str(tmp_path / "workspace"))) == []


def test_a_table_of_an_earlier_version_is_tidied_too(workspace: Workspace) -> None:
    DeltaTable(str(workspace.root / "files")).alter.set_table_properties(
        {"delta.logRetentionDuration": "interval 30 days", "delta.deletedFileRetentionDuration": "interval 7 days"}
    )
    with workspace.only_writer():
        compact(workspace)
    assert len([path for path in on_disk(workspace, "files") if path.suffix == ".json"]) == 1


def test_it_says_what_it_did(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), workspace.only_writer():
        compact(workspace)
    assert f"faces: {COMMITS} data files became 1" in caplog.text
