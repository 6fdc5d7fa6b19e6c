"""Damage is found, named, and healed: no row goes missing without a word, and what was lost is made again."""

import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from storage.ledger import LostCommit, ledger_file
from storage.repair import drop_incomplete, repair
from storage.schemas import TABLES
from storage.verify import Damage, find_damage
from storage.workspace import BadWorkspace, Workspace, open_workspace
from tests.rows import content_hash, face_row, faces, file_row, files, label_row, labels, score_row, scores

pytestmark = pytest.mark.slow
CHUNKS = 3
PHOTOS = 4  # a chunk


def names_of(chunk: int) -> list[str]:
    return [f"{chunk}-{photo}.jpg" for photo in range(PHOTOS)]


EVERY_NAME = [name for chunk in range(CHUNKS) for name in names_of(chunk)]


def commit_chunk(workspace: Workspace, names: list[str]) -> None:
    """As a run does: faces, scores, and last files."""
    workspace.append("faces", faces(*map(face_row, names)))
    workspace.append("scores", scores(*map(score_row, names)))
    workspace.append("files", files(*map(file_row, names)))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of three chunks, to be copied: making one takes longer than what most tests do with it."""
    workspace = open_workspace(str(tmp_path_factory.mktemp("template") / "workspace"))
    for chunk in range(CHUNKS):
        commit_chunk(workspace, names_of(chunk))
        workspace.upsert("labels", labels(*map(label_row, names_of(chunk))))
    return workspace.local_root()


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Workspace:
    return open_workspace(str(shutil.copytree(template, tmp_path / "workspace")))


def rows(workspace: Workspace) -> dict[str, pl.DataFrame]:
    """Every table's rows by key and value, but for the times."""
    return {
        table: workspace.scan(table).select(pl.exclude("^.*_at$", "groups")).collect().sort("file_hash")
        for table in TABLES
    }


def same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> bool:
    return all(one[table].equals(other[table]) for table in TABLES)


def logs(workspace: Workspace, table: str) -> list[Path]:
    return sorted((workspace.local_root() / table / "_delta_log").glob("*.json"))


def data(workspace: Workspace, table: str) -> list[Path]:
    """The data files that are part of the table, in the order of their commits."""
    paths = [Path(uri) for uri in DeltaTable(str(workspace.local_root() / table)).file_uris()]
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns)


def make_again(workspace: Workspace) -> None:
    """What the next run over the same photos does: those without a `files` row are read, contents without a face are
    new, and faces without a score are scored."""
    names = [name for name in EVERY_NAME if name not in contents_of(workspace, "files")]
    new = [name for name in names if name not in contents_of(workspace, "faces")]
    workspace.append("faces", faces(*map(face_row, new)))
    faced = contents_of(workspace, "faces") - contents_of(workspace, "scores")
    workspace.append("scores", scores(*map(score_row, sorted(faced))))
    workspace.append("files", files(*map(file_row, names)))
    workspace.upsert("labels", labels(*map(label_row, EVERY_NAME)))


def contents_of(workspace: Workspace, table: str) -> set[str]:
    """By the names of the photos."""
    hashes = set(workspace.scan(table).select("file_hash").collect()["file_hash"])
    return {name for name in EVERY_NAME if content_hash(name) in hashes}


def test_a_whole_workspace_has_no_damage(workspace: Workspace) -> None:
    assert find_damage(workspace.local_root(), thoroughly=True) == []


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


LOG_FAULTS: dict[str, Callable[[Path], object]] = {
    "empty": lambda log: log.write_bytes(b""),
    "half": cut,
    "deleted": lambda log: log.unlink(),
    "no json": lambda log: log.write_bytes(b"\0" * log.stat().st_size),
}


@pytest.mark.parametrize("fault", LOG_FAULTS)
@pytest.mark.parametrize(
    ("table", "place"),
    [
        pytest.param("faces", -1, id="last"),
        pytest.param("faces", 1, id="middle", marks=pytest.mark.slow),
        pytest.param("faces", 0, id="first", marks=pytest.mark.slow),
        pytest.param("labels", -1, id="a correction"),
    ],
)
def test_a_damaged_commit_is_named_and_its_rows_come_back(
    workspace: Workspace, table: str, fault: str, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    before = rows(workspace)
    broken = logs(workspace, table)[place]
    LOG_FAULTS[fault](broken)
    (damage,) = find_damage(workspace.local_root(), thoroughly=True)
    assert (damage.table, damage.rows) == (table, 0)
    if fault != "deleted":
        assert damage.file == broken.relative_to(workspace.local_root()).as_posix()
    with pytest.raises(BadWorkspace, match="doctor --repair"):
        workspace.scan(table)
    with caplog.at_level(logging.WARNING), workspace.only_writer():
        assert damage.file in caplog.text
        assert same(rows(workspace), before)


def test_a_commit_that_was_lost_under_later_ones_comes_back(workspace: Workspace) -> None:
    """Delta reads an empty commit as one without rows, and goes on."""
    logs(workspace, "files")[-1].write_bytes(b"")
    with pytest.raises(LostCommit, match="start it again"):
        workspace.append("files", files(file_row("later.jpg", face_count=0)))
    with workspace.only_writer():
        found = workspace.scan("files").collect()["path"].to_list()
    assert sorted(found) == [*EVERY_NAME, "later.jpg"]


def test_a_lost_log_comes_back_whole(workspace: Workspace) -> None:
    before = rows(workspace)
    shutil.rmtree(workspace.local_root() / "faces/_delta_log")
    with workspace.only_writer():
        assert same(rows(workspace), before)


@pytest.mark.parametrize("content", [b"garbage", b"", b'{"version": 99, "size": 7}', b"[]"])
def test_a_hint_that_names_no_checkpoint_is_found_and_removed(workspace: Workspace, content: bytes) -> None:
    before = rows(workspace)
    DeltaTable(str(workspace.root / "faces")).create_checkpoint()
    (workspace.local_root() / "faces/_delta_log/_last_checkpoint").write_bytes(content)
    (damage,) = find_damage(workspace.local_root(), thoroughly=False)
    assert damage.file == "faces/_delta_log/_last_checkpoint"
    with workspace.only_writer():
        assert same(rows(workspace), before)
    assert find_damage(workspace.local_root(), thoroughly=True) == []


@pytest.mark.parametrize("content", [b"", b"PAR1"], ids=["empty", "cut"])
def test_a_damaged_checkpoint_costs_no_row(workspace: Workspace, content: bytes) -> None:
    before = rows(workspace)
    DeltaTable(str(workspace.root / "faces")).create_checkpoint()
    (checkpoint,) = (workspace.local_root() / "faces/_delta_log").glob("*.checkpoint.parquet")
    for log in logs(workspace, "faces")[:-1]:
        log.unlink()
    checkpoint.write_bytes(content)
    assert [damage.table for damage in find_damage(workspace.local_root(), thoroughly=False)] == ["faces"]
    with workspace.only_writer():
        assert same(rows(workspace), before)


DATA_FAULTS: dict[str, Callable[[Path], object]] = {
    "deleted": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "half": cut,
}


@pytest.mark.parametrize(
    ("table", "fault"),
    [("faces", "deleted"), ("faces", "empty"), ("files", "half"), ("scores", "deleted"), ("labels", "half")],
)
def test_a_lost_data_file_is_named_with_its_rows_and_made_again(
    workspace: Workspace, table: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = rows(workspace)
    lost = data(workspace, table)[1 if table != "labels" else 0]
    count = pl.read_parquet(lost).height
    DATA_FAULTS[fault](lost)
    with caplog.at_level(logging.WARNING), workspace.only_writer():
        assert f"{table}/{lost.name}" in caplog.text
        assert f"{count} rows of `{table}` lost" in caplog.text
        make_again(workspace)
    assert same(rows(workspace), before)
    assert find_damage(workspace.local_root(), thoroughly=True) == []


def flip(file: Path, chosen: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
    file.write_bytes(content)


def test_no_flipped_bit_goes_unnoticed(workspace: Workspace) -> None:
    root = workspace.local_root()
    everything = [file for table in TABLES for file in data(workspace, table)]
    unnoticed = []
    for seed in range(40):
        chosen = random.Random(seed)
        file = chosen.choice(everything)
        whole = file.read_bytes()
        flip(file, chosen)
        if [damage.file for damage in find_damage(root, thoroughly=True)] != [file.relative_to(root).as_posix()]:
            unnoticed.append(seed)
        file.write_bytes(whole)
    assert unnoticed == []


@pytest.mark.parametrize("table", TABLES)
def test_a_flipped_bit_is_repaired_and_its_rows_are_made_again(workspace: Workspace, table: str) -> None:
    before = rows(workspace)
    flip(data(workspace, table)[0], random.Random(0))
    root = workspace.local_root()
    repair(root, find_damage(root, thoroughly=True))
    make_again(workspace)
    assert same(rows(workspace), before)


def test_photos_count_as_done_no_longer_when_their_faces_are_lost(workspace: Workspace) -> None:
    data(workspace, "faces")[0].unlink()
    with workspace.only_writer():
        done = workspace.scan("files").select("path").collect()["path"]
        scored = workspace.scan("scores").collect()
    assert sorted(done) == EVERY_NAME[PHOTOS:]
    assert len(scored) == (CHUNKS - 1) * PHOTOS


def test_lost_scores_of_faces_without_crops_are_made_again(tmp_path: Path) -> None:
    """Nothing but the photo can give them."""
    workspace = open_workspace(str(tmp_path / "workspace"))
    bare = [face_row(name, crop_hash=None) | {"crop": None} for name in names_of(0)]
    workspace.append("faces", faces(*bare))
    workspace.append("files", files(*map(file_row, names_of(0))))
    assert drop_incomplete(workspace.local_root()) == PHOTOS
    assert workspace.scan("files").collect().is_empty()


def test_what_lacks_nothing_is_left_alone(workspace: Workspace) -> None:
    before = rows(workspace)
    workspace.append("files", files(file_row("no face.jpg", face_count=0), file_row("unread.jpg", file_hash=None)))
    assert drop_incomplete(workspace.local_root()) == 0
    assert len(workspace.scan("files").collect()) == len(before["files"]) + 2


def test_a_table_without_a_ledger_and_with_a_broken_log_begins_anew(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    before = rows(workspace)
    shutil.rmtree(workspace.local_root() / "checksums")
    logs(workspace, "faces")[0].write_bytes(b"")
    with workspace.only_writer():
        assert "some rows of `faces` lost" in caplog.text
        make_again(workspace)
    assert same(rows(workspace), before)


def test_an_empty_commit_of_a_table_without_a_ledger_is_found_and_made_again(workspace: Workspace) -> None:
    """Delta reads it as one without rows."""
    before = rows(workspace)
    shutil.rmtree(workspace.local_root() / "checksums")
    logs(workspace, "faces")[1].write_bytes(b"")
    with workspace.only_writer():
        make_again(workspace)
    assert same(rows(workspace), before)


def test_a_torn_data_file_of_a_run_that_died_is_found_though_nobody_wrote_down_its_hash(workspace: Workspace) -> None:
    ledger = ledger_file(workspace.local_root() / "scores")
    before = ledger.read_bytes()
    workspace.append("scores", scores(score_row("new.jpg")))
    ledger.write_bytes(before)
    torn = data(workspace, "scores")[-1]
    torn.write_bytes(b"\0" * torn.stat().st_size)
    with workspace.only_writer():
        assert content_hash("new.jpg") not in set(workspace.scan("scores").collect()["file_hash"])
        assert len(workspace.scan("scores").collect()) == CHUNKS * PHOTOS


def test_a_repair_that_was_killed_is_done_again(workspace: Workspace) -> None:
    """Between taking the old log away and putting the new one there."""
    before = rows(workspace)
    flip(data(workspace, "scores")[0], random.Random(1))
    shutil.rmtree(workspace.local_root() / "scores/_delta_log")
    (workspace.local_root() / "scores/.new_log/_delta_log").mkdir(parents=True)
    with workspace.only_writer():
        make_again(workspace)
    assert same(rows(workspace), before)


def test_damage_reads_as_a_sentence() -> None:
    assert str(Damage("faces", "faces/a", "is missing", 3)) == "faces/a: is missing; 3 rows of `faces` lost"
    assert str(Damage("faces", "faces/a", "is empty", 0)) == "faces/a: is empty; no row of `faces` lost"
