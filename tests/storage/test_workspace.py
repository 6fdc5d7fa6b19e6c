"""Tables keep what was written, whole, and a folder that isn't a workspace is left alone."""

import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from storage import registry
from storage.compact import compact
from storage.forget import forget
from storage.reviews import open_reviews
from storage.schemas import FACES, TABLES
from storage.trained_on import note_trained_on, who_saw
from storage.verify import find_damage
from storage.workspace import (
    MARKER,
    BadWorkspace,
    Workspace,
    empty_frame,
    existing_workspace,
    new_run_id,
    open_workspace,
    rows_of,
    write_whole,
)
from tests.holding import held_elsewhere
from tests.rows import content_hash, face_row, faces, file_row, files, label_row, labels, score_row, scores

REPOSITORY = Path(__file__).parent.parent.parent
ONE_OF_EACH = {
    "files": files(file_row("a.jpg"), file_row("b.jpg", file_hash=None, detail="why")),
    "faces": faces(face_row("a.jpg"), face_row("a.jpg", 1, detector_score=None)),
    "labels": labels(label_row("a.jpg", groups=[("race", "x"), ("split", "test")]), label_row("b.jpg", age=None)),
    "scores": scores(score_row("a.jpg"), score_row("b.jpg", female=None)),
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def read(workspace: Workspace, table: str) -> pl.DataFrame:
    return workspace.scan(table).collect()


@pytest.mark.parametrize("table", TABLES)
def test_what_was_appended_is_read_back(workspace: Workspace, table: str) -> None:
    workspace.append(table, ONE_OF_EACH[table])
    assert read(workspace, table).to_arrow().cast(TABLES[table]).equals(ONE_OF_EACH[table])


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_was_never_written_has_its_columns_and_no_rows(workspace: Workspace, table: str) -> None:
    empty = read(workspace, table)
    assert (empty.schema, len(empty)) == (empty_frame(table).schema, 0)


@pytest.mark.parametrize("table", TABLES)
def test_a_written_table_has_the_columns_of_an_empty_one(workspace: Workspace, table: str) -> None:
    workspace.append(table, ONE_OF_EACH[table])
    assert read(workspace, table).schema == empty_frame(table).schema


def test_appends_add_up(workspace: Workspace) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        workspace.append("files", files(file_row(name)))
    assert sorted(read(workspace, "files")["path"]) == ["a.jpg", "b.jpg", "c.jpg"]


def test_appending_nothing_makes_no_table(workspace: Workspace) -> None:
    workspace.append("files", files())
    assert not workspace.has("files")


def test_rows_of_another_table_are_refused_and_nothing_is_written(workspace: Workspace) -> None:
    with pytest.raises((BadWorkspace, pa.ArrowInvalid, ValueError)):
        workspace.append("files", scores(score_row("a.jpg")))
    assert not workspace.has("files")


def test_the_commit_log_holds_no_path_and_no_subject(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("Anna Schmidt.jpg")))
    workspace.append("labels", labels(label_row("a.jpg", subject_id="Anna Schmidt")))
    workspace.upsert("labels", labels(label_row("a.jpg", subject_id="Anna Schmidt", age=31.0)))
    logs = [log.read_text() for log in Path(str(workspace.root)).rglob("_delta_log/*.json")]
    assert len(logs) == 3
    assert not any("Anna Schmidt" in log for log in logs)


def test_an_upsert_into_nothing_is_an_append(workspace: Workspace) -> None:
    workspace.upsert("labels", ONE_OF_EACH["labels"])
    assert len(read(workspace, "labels")) == 2


def test_an_upsert_replaces_the_row_of_its_key_and_adds_the_others(workspace: Workspace) -> None:
    workspace.append("labels", labels(label_row("a.jpg", age=10.0), label_row("b.jpg", age=20.0)))
    workspace.append("labels", labels(label_row("a.jpg", age=90.0, label_source="table:x.csv")))
    workspace.upsert("labels", labels(label_row("a.jpg", age=11.0, groups=[("k", "v")]), label_row("c.jpg", age=30.0)))
    found = read(workspace, "labels").sort("age")
    assert found.select("file_hash", "age").rows() == [
        (content_hash("a.jpg"), 11.0),
        (content_hash("b.jpg"), 20.0),
        (content_hash("c.jpg"), 30.0),
        (content_hash("a.jpg"), 90.0),
    ]


def test_a_damaged_table_is_named(workspace: Workspace) -> None:
    workspace.append("files", ONE_OF_EACH["files"])
    (log,) = Path(str(workspace.root)).glob("files/_delta_log/*.json")
    log.write_text(log.read_text()[:-40])
    with pytest.raises(BadWorkspace, match="files"):
        read(workspace, "files")


def test_only_the_owner_can_look_into_a_new_workspace(workspace: Workspace) -> None:
    assert stat.S_IMODE(os.stat(str(workspace.root)).st_mode) == 0o700


def test_opening_twice_is_opening_the_same(workspace: Workspace) -> None:
    workspace.append("files", ONE_OF_EACH["files"])
    assert len(read(open_workspace(str(workspace.root)), "files")) == 2


def test_an_empty_folder_becomes_a_workspace(tmp_path: Path) -> None:
    assert open_workspace(str(tmp_path)).root == UPath(tmp_path)
    assert (tmp_path / MARKER).exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(BadWorkspace, match="neither empty nor a workspace"):
        open_workspace(str(tmp_path))
    assert os.listdir(tmp_path) == ["holiday.jpg"]


@pytest.mark.parametrize("opened", [open_workspace, existing_workspace])
def test_a_file_is_no_workspace(tmp_path: Path, opened: Callable[[str], Workspace]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadWorkspace, match="file: a file, and a workspace is a folder"):
        opened(str(tmp_path / "file"))


@pytest.mark.parametrize("content", ["", "{}", "[]", "3", "no json", '{"layout": 99}'])
def test_a_marker_of_another_layout_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MARKER).write_text(content)
    with pytest.raises(BadWorkspace, match=re.escape(str(tmp_path))):
        open_workspace(str(tmp_path))


def test_a_damaged_marker_can_be_mended_as_its_message_says(workspace: Workspace) -> None:
    marker = workspace.local_root() / MARKER
    marker.write_bytes(marker.read_bytes()[:3])
    with pytest.raises(BadWorkspace, match=re.escape(f"{marker}: damaged")) as refused:
        open_workspace(str(workspace.root))
    marker.write_text(re.findall(r"write (.+) into it", str(refused.value))[0])
    open_workspace(str(workspace.root))


def test_a_kind_of_address_that_nobody_knows_is_refused() -> None:
    with pytest.raises(BadWorkspace, match="nosuch"):
        open_workspace("nosuch://bucket/faces")


def test_a_workspace_must_exist_for_those_who_only_read(tmp_path: Path) -> None:
    with pytest.raises(BadWorkspace, match="there is no workspace"):
        existing_workspace(str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_home_is_understood_in_both_ways_of_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert existing_workspace(str(open_workspace("~/faces").root)).root == existing_workspace("~/faces").root


@pytest.fixture
def holder(workspace: Workspace) -> Iterator[subprocess.Popen]:
    with held_elsewhere(str(workspace.root)) as process:
        yield process


def test_a_second_run_is_refused_while_one_writes(workspace: Workspace, holder: subprocess.Popen) -> None:
    with pytest.raises(BadWorkspace, match="another run"), workspace.only_writer():
        pass


def test_a_run_that_was_killed_holds_nothing(workspace: Workspace, holder: subprocess.Popen) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with workspace.only_writer():
        assert workspace.root.exists()


def test_the_workspace_is_free_again_after_a_run(workspace: Workspace) -> None:
    with workspace.only_writer():
        pass
    with workspace.only_writer():
        assert workspace.root.exists()


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    write_whole(UPath(tmp_path / "file"), b"old")
    write_whole(UPath(tmp_path / "file"), b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    write_whole(UPath(tmp_path / "file"), b"old")
    with pytest.raises(TypeError):
        write_whole(UPath(tmp_path / "file"), "not bytes")  # pyright: ignore[reportArgumentType]
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_threads_that_write_one_file_do_not_mix(tmp_path: Path) -> None:
    contents = [bytes([index]) * 300_000 for index in range(8)]
    threads = [threading.Thread(target=write_whole, args=(UPath(tmp_path / "file"), content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_bytes() in contents


def test_a_misspelt_column_is_a_mistake() -> None:
    row = file_row("a.jpg")
    row["file_hsah"] = row.pop("file_hash")
    with pytest.raises(AssertionError, match="file_hsah"):
        rows_of("files", [row])


def test_a_missing_column_in_a_later_row_is_a_mistake() -> None:
    row = file_row("b.jpg")
    del row["detail"]
    with pytest.raises(AssertionError, match="detail"):
        rows_of("files", [file_row("a.jpg"), row])


def test_runs_that_start_together_have_names_of_their_own() -> None:
    assert len({new_run_id("photos") for _ in range(50)}) > 45


def test_columns_are_named_in_one_file_only() -> None:
    sources = [
        path
        for folder in ("flows", "review", "tasks", "models", "storage")
        for path in (REPOSITORY / folder).rglob("*.py")
    ]
    assert len(sources) > 30
    naming = [path.relative_to(REPOSITORY).as_posix() for path in sources if "pa.schema(" in path.read_text()]
    assert naming == ["storage/schemas.py"]


def test_every_column_of_a_crop_is_plain_in_parquet(workspace: Workspace) -> None:

    workspace.append("faces", ONE_OF_EACH["faces"])
    (file,) = Path(str(workspace.root)).glob("faces/*.parquet")
    column = pq.ParquetFile(file).metadata.row_group(0).column(FACES.get_field_index("crop"))
    assert not column.is_stats_set
    assert "PLAIN_DICTIONARY" not in column.encodings
    assert "RLE_DICTIONARY" not in column.encodings


@pytest.mark.parametrize("name", ["My Photos", "José", "w#x", "a?b", "50% of *"])
def test_a_workspace_may_have_any_name(name: str, tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path / name))
    for table, rows in ONE_OF_EACH.items():
        workspace.append(table, rows)
    workspace.upsert("labels", ONE_OF_EACH["labels"])
    with workspace.only_writer():
        compact(workspace)
    assert {table: len(read(workspace, table)) for table in ONE_OF_EACH} == {
        table: rows.num_rows for table, rows in ONE_OF_EACH.items()
    }
    assert find_damage(workspace.local_root(), thoroughly=True) == []


@pytest.mark.parametrize("name", ["My%20Photos", "back\\slash", "[old]", "a|b", "line\nend"])
def test_a_path_that_delta_misreads_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadWorkspace, match="give another folder"):
        open_workspace(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_that_cannot_be_written_to_says_so(workspace: Workspace) -> None:
    (workspace.local_root() / ".lock").mkdir()
    with pytest.raises(BadWorkspace, match="can't be written to"), workspace.only_writer():
        pass


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_nobody_else_can_read_a_workspace_whatever_the_umask(tmp_path: Path, open_umask: None) -> None:
    workspace = open_workspace(str(tmp_path / "above" / "workspace"))
    for table, rows in ONE_OF_EACH.items():
        workspace.append(table, rows)
    workspace.upsert("labels", ONE_OF_EACH["labels"])
    registry.register(workspace, b"model", "card", {})
    reviews = open_reviews(workspace)  # held: when its last connection goes, SQLite removes the files beside it
    reviews.add(("a" * 64, 0), "right", "anna")
    (workspace.local_root() / "runs" / "run").mkdir(parents=True)
    with workspace.only_writer():
        compact(workspace)
    modes = {
        path: stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "above", *tmp_path.rglob("workspace/**/*")]
    }
    assert len(modes) > 20
    assert {path.name for path in modes} >= {"reviews.sqlite", "reviews.sqlite-wal", "reviews.sqlite-shm"}
    assert {path: mode for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


def test_an_empty_folder_that_becomes_a_workspace_is_closed_to_others(tmp_path: Path, open_umask: None) -> None:
    (tmp_path / "empty").mkdir()
    open_workspace(str(tmp_path / "empty"))
    assert stat.S_IMODE((tmp_path / "empty").stat().st_mode) == 0o700


def test_a_workspace_that_others_can_look_into_is_warned_of(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    open_workspace(str(workspace.root))
    assert caplog.text == ""
    workspace.local_root().chmod(0o750)
    open_workspace(str(workspace.root))
    assert f"chmod 700 {workspace.root}" in caplog.text


def test_a_workspace_in_a_folder_that_is_copied_elsewhere_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_workspace(str(tmp_path / "Dropbox" / "faces"))
    open_workspace(str(tmp_path / "Dropbox" / "faces"))
    assert "Dropbox" in caplog.text


LIMITED = """
import resource, sys
from storage.workspace import BadWorkspace, open_workspace
from tests.storage.test_workspace import many_faces
workspace = open_workspace(sys.argv[1])
workspace.append("faces", many_faces(0, 10))
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    workspace.append("faces", many_faces(10, 400))
except BadWorkspace as error:
    print(error)
"""


def many_faces(first: int, last: int) -> pa.Table:
    """About 6 kB each."""
    return faces(
        *[face_row(f"{number}.jpg", crop=random.Random(number).randbytes(6000)) for number in range(first, last)]
    )


def keys_and_crops(workspace: Workspace) -> pl.DataFrame:
    return read(workspace, "faces").select("file_hash", "crop", "crop_hash").sort("file_hash")


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_no_space_and_the_next_run_goes_on(workspace: Workspace, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(workspace.root)]
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert len(said.splitlines()) == 1
    assert f"{workspace.root}/faces: 390 rows could not be committed: no space left" in said
    assert len(read(workspace, "faces")) == 10
    workspace.append("faces", many_faces(10, 400))
    reference = open_workspace(str(tmp_path / "reference"))
    reference.append("faces", many_faces(0, 400))
    assert keys_and_crops(workspace).equals(keys_and_crops(reference))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_a_full_disk_loses_nothing_that_was_committed(small_disk: Path, tmp_path: Path) -> None:
    workspace = open_workspace(str(small_disk / "workspace"))
    workspace.append("faces", many_faces(0, 300))
    with pytest.raises(BadWorkspace, match="no space left") as full:
        workspace.append("faces", many_faces(300, 700))
    assert str(workspace.root) in str(full.value)
    assert keys_and_crops(workspace).height == 300
    with pytest.raises(BadWorkspace, match="no space left"):
        write_whole(workspace.root / "file", b"x" * 4_000_000)
    assert not (workspace.root / "file").exists()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    with workspace.only_writer():
        workspace.append("faces", many_faces(300, 700))
    reference = open_workspace(str(tmp_path / "reference"))
    reference.append("faces", many_faces(0, 700))
    assert keys_and_crops(workspace).equals(keys_and_crops(reference))


@pytest.mark.slow
def test_a_workspace_in_a_bucket_is_a_workspace(bucket: str) -> None:
    workspace = open_workspace(bucket)
    for table, rows in ONE_OF_EACH.items():
        workspace.append(table, rows)
    workspace.upsert("labels", labels(label_row("a.jpg", age=31.0)))
    again = existing_workspace(bucket)
    assert {table: len(read(again, table)) for table in TABLES} == dict.fromkeys(TABLES, 2)
    assert read(again, "labels").filter(file_hash=content_hash("a.jpg"))["age"].to_list() == [31.0]


@pytest.mark.slow
def test_an_empty_workspace_in_a_bucket_has_empty_tables(bucket: str) -> None:
    workspace = open_workspace(bucket)
    assert len(read(workspace, "files")) == 0


@pytest.mark.slow
def test_a_registry_in_a_bucket_is_a_registry(bucket: str) -> None:
    workspace = open_workspace(bucket)
    first = registry.register(workspace, b"one", "card", {"mae": 1})
    second = registry.register(workspace, b"two", "card", {"mae": 2})
    assert registry.champion(workspace) is None
    registry.promote(workspace, second.name, "better")
    assert registry.champion(workspace) == second
    assert registry.find(workspace, "champion").model_bytes() == b"two"
    assert {version.name for version in registry.versions(workspace)} == {first.name, second.name}
    assert len((workspace.registry / "log.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_compacting_and_forgetting_in_a_bucket_leave_nothing_else_there(bucket: str) -> None:
    workspace = open_workspace(bucket)
    for table, rows in ONE_OF_EACH.items():
        workspace.append(table, rows)
    for name in ("Anna Schmidt.jpg", "c.jpg"):
        workspace.append("files", files(file_row(name)))
        workspace.upsert("labels", labels(label_row(name, subject_id=name)))
    (workspace.registry / "v1").mkdir(parents=True, exist_ok=True)
    note_trained_on(workspace, workspace.registry / "v1", map(content_hash, ("Anna Schmidt.jpg", "c.jpg")))
    assert [each.files_after for each in compact(workspace)] == [1, 1, 1, 1]
    forget(workspace, [content_hash("Anna Schmidt.jpg")])
    assert sorted(read(workspace, "files")["path"]) == ["a.jpg", "b.jpg", "c.jpg"]
    assert who_saw(workspace, [content_hash("Anna Schmidt.jpg")]).models == ("v1",)
    name, _, prefix = bucket.removeprefix("s3://").partition("/")
    keys = [each["Key"] for each in boto3.client("s3").list_objects_v2(Bucket=name, Prefix=prefix)["Contents"]]
    data = [key for key in keys if key.endswith(".parquet") and "_delta_log" not in key and "trained_on" not in key]
    assert len(data) == len(TABLES)
    contents = [boto3.client("s3").get_object(Bucket=name, Key=key)["Body"].read() for key in keys]
    assert [key for key, content in zip(keys, contents, strict=True) if b"Anna Schmidt" in content] == []


@pytest.mark.slow
def test_compacting_in_a_bucket_spares_what_a_running_writer_has_not_committed(bucket: str) -> None:
    workspace = open_workspace(bucket)
    workspace.append("files", files(file_row("a.jpg")))
    fresh = workspace.root / "files" / "part-00000-0-c000.snappy.parquet"
    fresh.write_bytes(b"not committed yet")
    compact(workspace)
    assert fresh.exists()


@pytest.mark.slow
def test_a_bucket_that_does_not_exist_is_refused(bucket: str) -> None:
    with pytest.raises(BadWorkspace, match="no-such-bucket"):
        open_workspace("s3://no-such-bucket/faces")


@pytest.mark.slow
def test_several_writers_in_a_bucket_lose_nothing(bucket: str) -> None:
    workspace = open_workspace(bucket)
    workspace.append("files", files(file_row("first.jpg")))
    threads = [
        threading.Thread(target=workspace.append, args=("files", files(file_row(f"{index}.jpg")))) for index in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read(workspace, "files")) == 5
