"""The daily look after a workspace, on tables as runs leave them."""

from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from flows.health import examine_workspace
from storage.ledger import sha256_of
from storage.settings import HealthSettings
from storage.values import FileStatus
from storage.workspace import BadWorkspace, Workspace, now, open_workspace
from tests.rows import crop_of, face_row, faces, file_row, files, score_row, scores

CROP = crop_of(0)
LONG_AGO = timedelta(days=40)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def examine(workspace: Workspace, **settings) -> dict:
    return examine_workspace(HealthSettings(workspace=str(workspace.root), **settings))


def store(workspace: Workspace, name: str, ago: timedelta = timedelta(), age: float = 30, count: int = 1) -> None:
    """Photos with a face each, read and scored so long ago."""
    at, names = now() - ago, [f"{name}-{index}" for index in range(count)]
    workspace.append("faces", faces(*(face_row(each, crop=CROP, extracted_at=at) for each in names)))
    workspace.append("scores", scores(*(score_row(each, age=age + i % 7) for i, each in enumerate(names))))
    workspace.append("files", files(*(file_row(each, seen_at=at) for each in names)))


def files_of(workspace: Workspace, table: str) -> list[str]:
    return DeltaTable(str(workspace.root / table)).file_uris()


def hashes(workspace: Workspace, table: str) -> int:
    return workspace.scan(table).select("file_hash").collect().height


def test_an_empty_workspace_is_healthy(workspace: Workspace) -> None:
    found = examine(workspace, min_free_gb=0)
    assert (found["files"], found["failed"], found["drift"], found["warnings"]) == (0, {}, [], [])


def test_the_failures_of_the_last_day_are_counted_by_status(workspace: Workspace) -> None:
    rows = [
        file_row("good"),
        file_row("cut", status=FileStatus.TRUNCATED),
        file_row("text", status=FileStatus.NOT_AN_IMAGE),
        file_row("page", status=FileStatus.NOT_AN_IMAGE),
        file_row("old", status=FileStatus.TIMED_OUT, seen_at=now() - timedelta(days=2)),
    ]
    workspace.append("files", files(*rows))
    found = examine(workspace, min_free_gb=0)
    assert (found["files"], found["failed"]) == (4, {"not_an_image": 2, "truncated": 1})


def test_little_disk_space_is_a_warning(workspace: Workspace) -> None:
    (warning,) = examine(workspace, min_free_gb=1e9)["warnings"]
    assert "GB of disk are left" in warning


def test_a_week_of_other_faces_is_a_warning_with_what_moved(workspace: Workspace) -> None:
    store(workspace, "before", LONG_AGO, count=120)
    store(workspace, "late", age=60, count=120)
    found = examine(workspace, min_free_gb=0)
    (warning,) = found["warnings"]
    assert warning.startswith("age has moved far this week")
    assert "the median was 33.00 years and is 63.00 years, of 120 faces" in warning
    assert [row["verdict"] for row in found["drift"]] == ["moved far", "steady", "steady"]


def test_the_tables_are_compacted(workspace: Workspace) -> None:
    for name in ("one", "two", "three"):
        store(workspace, name)
    found = examine(workspace)
    assert (found["data_files_before"], found["data_files"]) == (9, 3)
    assert hashes(workspace, "faces") == 3


def test_a_workspace_that_is_written_to_is_left_alone_and_that_is_said(workspace: Workspace) -> None:
    store(workspace, "one")
    store(workspace, "two")
    with workspace.only_writer():
        found = examine(workspace, min_free_gb=0, retention_days=1)
    (warning,) = found["warnings"]
    assert "another run is writing here" in warning
    assert hashes(workspace, "faces") == 2
    assert "data_files" not in found


def test_nothing_is_deleted_without_a_term(workspace: Workspace) -> None:
    store(workspace, "old", LONG_AGO)
    assert examine(workspace)["forgotten"] == 0
    assert hashes(workspace, "faces") == 1


def test_what_is_over_its_term_is_deleted_for_good(workspace: Workspace) -> None:
    store(workspace, "old", LONG_AGO)
    store(workspace, "new", timedelta(days=20))
    assert examine(workspace, retention_days=30)["forgotten"] == 1
    assert [hashes(workspace, table) for table in ("files", "faces", "scores")] == [1, 1, 1]
    assert examine(workspace, retention_days=30)["forgotten"] == 0


@pytest.mark.parametrize("ago", [LONG_AGO, timedelta()])
def test_each_data_file_is_compared_with_its_checksum_once(
    workspace: Workspace, ago: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def noted(file: Path) -> str:
        hashed.append(file)
        return sha256_of(file)

    monkeypatch.setattr("storage.verify.sha256_of", noted)
    store(workspace, "one", ago)
    store(workspace, "other")
    before = {Path(file) for table in ("files", "faces", "scores") for file in files_of(workspace, table)}
    assert examine(workspace, retention_days=30)["data_files_before"] > 0
    assert len(before) == 6
    assert sorted(hashed) == sorted(before)


def test_a_workspace_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWorkspace, match="there is no workspace"):
        examine_workspace(HealthSettings(workspace=str(tmp_path / "none")))
