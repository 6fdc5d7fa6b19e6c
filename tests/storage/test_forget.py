"""What is forgotten is on no byte of the workspace, and nothing else is lost."""

import base64
import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from storage.forget import Unread, finish_forgetting, forget
from storage.forgotten import read_tombstones, write_tombstones
from storage.reviews import open_reviews
from storage.schemas import TABLES
from storage.tables import append_rows
from storage.tombstones import Tombstones
from storage.trained_on import note_trained_on, who_saw
from storage.verify import find_damage
from storage.workspace import BadWorkspace, Workspace, open_workspace
from tests.rows import content_hash, crop_of, face_row, faces, file_row, files, label_row, labels, score_row, scores

pytestmark = pytest.mark.slow

ANNA = "Anna Schmidt 1.jpg"
ANNA_HASH = content_hash(ANNA)
ANNA_CROP = crop_of(4711)
SUBJECT = "subject-anna-schmidt"
OTHERS = ["ben.jpg", "carla.jpg", "dora.jpg"]


def chunk(workspace: Workspace, *names: str) -> None:
    crops = {name: ANNA_CROP if name == ANNA else None for name in names}
    workspace.append("faces", faces(*[face_row(name, crop=crop) for name, crop in crops.items()]))
    workspace.append("scores", scores(*map(score_row, names)))
    workspace.append("files", files(*map(file_row, names)))
    subjects = {name: SUBJECT if name == ANNA else name for name in names}
    workspace.upsert("labels", labels(*[label_row(name, subject_id=subject) for name, subject in subjects.items()]))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = open_workspace(str(tmp_path_factory.mktemp("template") / "workspace"))
    chunk(workspace, ANNA, "ben.jpg")
    chunk(workspace, "carla.jpg", "dora.jpg")
    return workspace.local_root()


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Workspace:
    return open_workspace(str(shutil.copytree(template, tmp_path / "workspace")))


def traces(root: Path) -> list[str]:
    """Files that hold anything of Anna: her crop, its hash, the photo's hash, name or subject; also in columns that
    Parquet compresses, and as a page would embed the crop."""
    names = [
        ANNA,
        ANNA_HASH,
        SUBJECT,
        face_row(ANNA, crop=ANNA_CROP)["crop_hash"],
        base64.b64encode(ANNA_CROP).decode(),
    ]
    sought = [*(name.encode() for name in names), ANNA_CROP[-400:-300]]  # its head is that of every JPEG
    every = [path for path in root.rglob("*") if path.is_file()]
    assert len(every) > 10
    return [path.relative_to(root).as_posix() for path in every if any(each in _content(path) for each in sought)]


def _content(path: Path) -> bytes:
    if ".parquet" not in path.name:
        return path.read_bytes()
    frame = pl.read_parquet(path)
    values = [value for row in frame.rows() for value in row]
    return path.read_bytes() + b"\0".join(
        value if isinstance(value, bytes) else str(value).encode() for value in values
    )


def forget_anna(workspace: Workspace) -> dict[str, int]:
    with workspace.only_writer():
        return forget(workspace, [ANNA_HASH])


def test_the_search_for_traces_finds_them(workspace: Workspace) -> None:
    assert {Path(trace).parts[0] for trace in traces(workspace.local_root())} == set(TABLES)


def test_nothing_of_the_photo_is_left(workspace: Workspace) -> None:
    assert forget_anna(workspace) == {"reviews": 0, "scores": 1, "labels": 1, "faces": 1, "files": 1}
    assert traces(workspace.local_root()) == []


def test_everybody_else_stays(workspace: Workspace) -> None:
    before = {table: workspace.scan(table).filter(pl.col("file_hash") != ANNA_HASH).collect() for table in TABLES}
    forget_anna(workspace)
    after = {table: workspace.scan(table).collect() for table in TABLES}
    assert {table: len(rows) for table, rows in after.items()} == dict.fromkeys(TABLES, len(OTHERS))
    assert all(after[table].sort("file_hash").equals(before[table].sort("file_hash")) for table in TABLES)
    assert find_damage(workspace.local_root(), thoroughly=True) == []


def test_old_versions_and_what_killed_runs_left_go_too(workspace: Workspace) -> None:
    root = workspace.local_root()
    workspace.upsert("labels", labels(label_row(ANNA, subject_id=SUBJECT, age=31.0)))
    (whole,) = [path for path in (root / "faces").glob("*.parquet") if ANNA_CROP in _content(path)]
    shutil.copy(whole, whole.with_name("part-00000-orphan-c000.zstd.parquet"))
    (whole.parent / "part-00000-cut-c000.zstd.parquet#1").write_bytes(ANNA_CROP)
    (whole.parent / "_delta_log/_commit_cut.json.tmp").write_text(ANNA)
    forget_anna(workspace)
    assert traces(root) == []


def test_a_commit_log_with_names_in_its_statistics_loses_them(workspace: Workspace) -> None:
    """As another program that writes to the table would leave it."""
    write_deltalake(str(workspace.root / "labels"), labels(label_row("zoe.jpg", subject_id=SUBJECT)), mode="append")
    (workspace.local_root() / "labels/_delta_log" / f"{99:020d}.crc").write_text(SUBJECT)
    assert f"labels/_delta_log/{99:020d}.crc" in traces(workspace.local_root())
    with workspace.only_writer():
        forget(workspace, [ANNA_HASH, content_hash("zoe.jpg")])
    assert traces(workspace.local_root()) == []


def test_reviews_leave_neither_pages_nor_a_log(workspace: Workspace) -> None:
    reviews = open_reviews(workspace)
    for name in (*OTHERS, ANNA):
        reviews.add((content_hash(name), 0), "corrected", "reviewer", age=41.0)
    reviews.add((ANNA_HASH, 1), "not_a_face", "reviewer")
    assert "reviews.sqlite-wal" in traces(workspace.local_root())
    assert forget_anna(workspace)["reviews"] == 2
    assert traces(workspace.local_root()) == []
    assert len(open_reviews(workspace).newest()) == len(OTHERS)


def test_runs_registry_reports_and_cache_lose_it_and_keep_the_rest(workspace: Workspace) -> None:
    root = workspace.local_root()
    for folder in ("runs/train-1", "registry/v1", "data_reports/r1", "evaluations/e1", "cache"):
        (root / folder).mkdir(parents=True)
    hashes = [ANNA_HASH, *map(content_hash, OTHERS)]
    note_trained_on(workspace, workspace.runs / "train-1", hashes)
    note_trained_on(workspace, workspace.registry / "v1", hashes)
    findings = pl.DataFrame({"kind": ["suspicious_age"] * 4, "file_hash": hashes, "path": [ANNA, *OTHERS]})
    findings.write_parquet(root / "data_reports/r1/findings.parquet")
    (root / "data_reports/r1/report.html").write_text(f"<img src='data:{base64.b64encode(ANNA_CROP).decode()}'>")
    (root / "data_reports/r1/counts.json").write_text('{"faces": 4}')
    (root / "evaluations/e1/worst.json").write_text(json.dumps([ANNA_HASH]))
    (root / "cache/features-0.npy").write_bytes(b"features")
    (root / "runs/train-1/metrics.json").write_text("{}")
    forget_anna(workspace)
    assert traces(root) == []
    assert pl.read_parquet(root / "data_reports/r1/findings.parquet")["path"].to_list() == OTHERS
    assert (root / "data_reports/r1/counts.json").exists()
    assert (root / "runs/train-1/metrics.json").exists()
    assert list((root / "cache").iterdir()) == []
    listed = pl.read_parquet(root / "runs/train-1/trained_on.parquet")["file_hash"]
    assert {content_hash(name) for name in OTHERS} < set(listed)
    assert len(listed) == 4


def test_the_models_that_saw_a_photo_are_known_before_and_after(workspace: Workspace) -> None:
    for name, names in {"saw": [ANNA, "ben.jpg"], "did not": OTHERS}.items():
        for folder in (workspace.registry / name, workspace.runs / name):
            folder.mkdir(parents=True)
            note_trained_on(workspace, folder, map(content_hash, names))
    (workspace.runs / "old").mkdir()
    before = who_saw(workspace, [ANNA_HASH])
    assert (before.models, before.runs, before.unknown) == (("saw",), ("saw",), ("old",))
    forget_anna(workspace)
    assert who_saw(workspace, [ANNA_HASH]) == before


def test_a_run_that_ends_after_the_forgetting_lists_it_by_its_tombstone(workspace: Workspace) -> None:
    forget_anna(workspace)
    (workspace.runs / "train-1").mkdir(parents=True)
    note_trained_on(workspace, workspace.runs / "train-1", [ANNA_HASH, content_hash("ben.jpg")])
    assert traces(workspace.local_root()) == []
    assert who_saw(workspace, [ANNA_HASH]).runs == ("train-1",)


def test_a_path_that_was_never_read_is_forgotten_by_its_name(workspace: Workspace) -> None:
    unread = {"file_hash": None, "face_count": 0, "status": "unreadable"}
    workspace.append("files", files(file_row("Anna's link.jpg", **unread), file_row("ben's link.jpg", **unread)))
    with workspace.only_writer():
        forget(workspace, [], [Unread("/photos", "Anna's link.jpg")])
    paths = set(workspace.scan("files").collect()["path"])
    assert paths == {ANNA, *OTHERS, "ben's link.jpg"}


def test_a_tombstone_knows_its_photo_and_names_nobody(workspace: Workspace) -> None:
    forget_anna(workspace)
    tombstones = read_tombstones(workspace)
    assert tombstones.cover(ANNA_HASH)
    assert [name for name in OTHERS if tombstones.cover(content_hash(name))] == []
    other = open_workspace(str(workspace.root) + "-other")
    write_tombstones(other, read_tombstones(other).with_contents([ANNA_HASH]))
    assert read_tombstones(other).marks.isdisjoint(tombstones.marks)


def test_more_can_be_forgotten_later(workspace: Workspace) -> None:
    forget_anna(workspace)
    with workspace.only_writer():
        forget(workspace, [content_hash("ben.jpg")])
    tombstones = read_tombstones(workspace)
    assert tombstones.cover(ANNA_HASH)
    assert tombstones.cover(content_hash("ben.jpg"))


def test_tombstones_that_cannot_be_read_stop_the_work(workspace: Workspace) -> None:
    (workspace.root / "forgotten.json").write_text("{")
    with pytest.raises(BadWorkspace, match="must not come back"):
        read_tombstones(workspace)


def interrupted_after(workspace: Workspace, tables: Iterable[str]) -> None:
    """As a kill leaves it: tombstones, and some tables done."""
    tombstones = read_tombstones(workspace).with_contents([ANNA_HASH])
    write_tombstones(workspace, Tombstones(tombstones.key, tombstones.marks, unfinished=True))
    for table in tables:
        workspace.delete(table, f"file_hash = '{ANNA_HASH}'")


@pytest.mark.parametrize("tables", [(), ("scores", "labels"), ("scores", "labels", "faces", "files")])
def test_what_was_interrupted_is_finished_without_a_name(
    workspace: Workspace, tables: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    interrupted_after(workspace, tables)
    assert traces(workspace.local_root()) != []
    with caplog.at_level(logging.WARNING), workspace.only_writer():
        finish_forgetting(workspace)
    assert "is finished now" in caplog.text
    assert traces(workspace.local_root()) == []
    assert not read_tombstones(workspace).unfinished


def test_a_file_that_cannot_be_looked_into_is_named_and_forgetting_goes_on_once_it_is_gone(
    workspace: Workspace,
) -> None:
    damaged = workspace.local_root() / "data_reports/r1/findings.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"PAR1")
    with pytest.raises(BadWorkspace, match="may name who is forgotten"):
        forget_anna(workspace)
    damaged.unlink()
    with workspace.only_writer():
        finish_forgetting(workspace)
    assert traces(workspace.local_root()) == []


def test_nothing_is_done_where_nothing_was_interrupted(workspace: Workspace) -> None:
    (workspace.local_root() / "faces/part-00000-orphan-c000.zstd.parquet").write_bytes(b"orphan")
    finish_forgetting(workspace)
    assert (workspace.local_root() / "faces/part-00000-orphan-c000.zstd.parquet").exists()


def test_deleting_alone_is_not_forgetting(workspace: Workspace) -> None:
    """Why all of this is needed: the rows are gone, and the bytes are there."""
    append_rows(str(workspace.root / "files"), "files", files(file_row("x.jpg")))
    for table in TABLES:
        workspace.delete(table, f"file_hash = '{ANNA_HASH}'")
    assert {Path(trace).parts[0] for trace in traces(workspace.local_root())} == set(TABLES)
