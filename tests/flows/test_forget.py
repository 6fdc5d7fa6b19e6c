"""`faceline forget`, compaction and `faceline doctor` as a user runs them, on real photos."""

import gc
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
import pytest

from flows.cli import run
from storage.reviews import open_reviews
from storage.trained_on import note_trained_on
from storage.workspace import existing_workspace
from tests.rows import file_row, files

REPOSITORY = Path(__file__).parent.parent.parent
HOPPER = "3999_1906-12-09_1984.jpg"
COLLINS = "4000_1956-11-19_1999.png"
KILLS = 6  # evenly over what comes after its first word on disk


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, hopper: Path, collins: Path, coffee: Path) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for source, name in ((hopper, HOPPER), (collins, COLLINS), (coffee, "coffee.png")):
        shutil.copy(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """The photos extracted and labelled once, to be copied for each test."""
    work = tmp_path_factory.mktemp("template") / "work"
    assert run(["extract", str(photos), "--labels", "wiki", "--workspace", str(work), "--workers", "1"]) == 0
    return work


@pytest.fixture
def extracted(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "work")


def faceline(*arguments: object, capsys: pytest.CaptureFixture) -> tuple[int, dict, str]:
    """Exit status, the JSON of the last line (empty where there is none), and what went to stderr."""
    capsys.readouterr()
    status = run([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, json.loads(printed.out.splitlines()[-1]) if printed.out else {}, printed.err


def rows(work: Path, table: str) -> pl.DataFrame:
    return existing_workspace(str(work)).scan(table).collect()


def traces(work: Path, *sought: str | bytes) -> list[str]:
    """The workspace's files in whose bytes, or Parquet values, any of those is."""
    wanted = [each if isinstance(each, bytes) else each.encode() for each in sought]
    found = []
    for path in sorted(path for path in work.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if ".parquet" in path.name:
            cells = [cell for row in pl.read_parquet(path).rows() for cell in row]
            content += b"\0".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells)
        if any(each in content for each in wanted):
            found.append(path.relative_to(work).as_posix())
    return found


def all_that_names(work: Path, name: str, subject: str) -> list[str | bytes]:
    """The photo's path and hash, its crop and the crop's hash, and the subject."""
    row = rows(work, "files").filter(path=name).row(0, named=True)
    face = rows(work, "faces").filter(file_hash=row["file_hash"]).row(0, named=True)
    return [name, row["file_hash"], face["crop"][-400:-300], face["crop_hash"], f"'{subject}'", f"\0{subject}\0"]


def use(work: Path, name: str) -> None:
    """A review of the photo's face, and a training run on it."""
    workspace = existing_workspace(str(work))
    file_hash = rows(work, "files").filter(path=name)["file_hash"][0]
    open_reviews(workspace).add((file_hash, 0), "corrected", "reviewer", age=50.0)
    for folder in (workspace.runs / "train-1", workspace.registry / "v1"):
        folder.mkdir(parents=True)
        note_trained_on(workspace, folder, rows(work, "faces")["file_hash"])
    (work / "cache").mkdir()
    (work / "cache" / "features.npy").write_bytes(b"features")


def test_a_photo_is_forgotten_and_does_not_come_back(
    extracted: Path, photos: Path, capsys: pytest.CaptureFixture
) -> None:
    use(extracted, HOPPER)
    sought = all_that_names(extracted, HOPPER, "3999")
    assert len(traces(extracted, *sought)) >= 5
    status, counts, _ = faceline("forget", photos / HOPPER, "--workspace", extracted, capsys=capsys)
    assert (status, counts["forgotten"], counts["files"], counts["faces"], counts["labels"]) == (0, 1, 1, 1, 1)
    assert (counts["reviews"], counts["models_that_saw"], counts["runs_that_saw"]) == (1, ["v1"], ["train-1"])
    assert traces(extracted, *sought) == []
    again = ["extract", photos, "--labels", "wiki", "--workspace", extracted, "--workers", 1]
    status, counts, _ = faceline(*again, capsys=capsys)
    assert (status, counts["files"], counts["skipped"], counts["forgotten"], counts["read"]) == (0, 3, 2, 1, 0)
    assert traces(extracted, *sought) == []
    assert set(rows(extracted, "files")["path"]) == {COLLINS, "coffee.png"}


def contents_of(work: Path) -> dict[str, str]:
    """Their hashes by name, but for SQLite's shared memory, which says who has the reviews open."""
    there = sorted(path for path in work.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(file.relative_to(work)): hashlib.sha256(file.read_bytes()).hexdigest() for file in there}


@pytest.mark.parametrize("pages", ["none were ever open", "closed", "open"])
def test_a_dry_run_says_what_would_go_and_changes_no_byte(
    pages: str, extracted: Path, photos: Path, capsys: pytest.CaptureFixture
) -> None:
    never_read = file_row("never-read.jpg", file_hash=None, status="unreadable", source=str(photos))
    existing_workspace(str(extracted)).append("files", files(never_read))
    if pages != "none were ever open":
        use(extracted, HOPPER)
    command = ["forget", photos / HOPPER, photos / "never-read.jpg", "--workspace", extracted]
    review = open_reviews(existing_workspace(str(extracted))) if pages == "open" else None
    if review:
        review.add((rows(extracted, "files").filter(path=HOPPER)["file_hash"][0], 0), "withdrawn", "reviewer")
    gc.collect()  # what opened the reviews before closes them
    before = contents_of(extracted)
    assert [name for name in before if name.endswith("-wal")] == (["reviews.sqlite-wal"] if review else [])
    status, would, _ = faceline(*command, "--dry-run", capsys=capsys)
    assert (status, would.pop("would_forget"), contents_of(extracted)) == (0, 2, before)
    del review
    gc.collect()
    status, did, _ = faceline(*command, capsys=capsys)
    assert (status, did.pop("forgotten"), did) == (0, 2, would)
    assert did["files"] == 2


@pytest.mark.slow
def test_a_forgotten_photo_under_another_name_stays_forgotten(
    extracted: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    faceline("forget", photos / HOPPER, "--workspace", extracted, capsys=capsys)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(photos / HOPPER, tmp_path / "elsewhere" / "renamed.jpg")
    elsewhere = tmp_path / "elsewhere"
    _, counts, _ = faceline("extract", elsewhere, "--workspace", extracted, "--workers", 1, capsys=capsys)
    assert (counts["forgotten"], counts["read"]) == (1, 0)
    assert traces(extracted, "renamed.jpg") == []


@pytest.mark.slow
def test_a_forgotten_photo_that_is_too_large_to_be_read_stays_forgotten(
    extracted: Path, photos: Path, capsys: pytest.CaptureFixture
) -> None:
    faceline("forget", photos / HOPPER, "--workspace", extracted, capsys=capsys)
    limit = ["--max-bytes", (photos / HOPPER).stat().st_size - 1]
    _, counts, _ = faceline("extract", photos, "--workspace", extracted, "--workers", 1, *limit, capsys=capsys)
    assert counts["forgotten"] == 1
    assert traces(extracted, HOPPER) == []


def test_a_person_is_forgotten_by_the_subject(extracted: Path, capsys: pytest.CaptureFixture) -> None:
    sought = all_that_names(extracted, COLLINS, "4000")
    status, counts, _ = faceline("forget", "--subject", "4000", "--workspace", extracted, capsys=capsys)
    assert (status, counts["forgotten"]) == (0, 1)
    assert traces(extracted, *sought) == []
    assert set(rows(extracted, "labels")["subject_id"]) == {"3999"}


def test_the_champion_that_saw_a_forgotten_photo_is_named(
    extracted: Path, photos: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    from storage import registry

    workspace = existing_workspace(str(extracted))
    version = registry.register(workspace, b"model", "card", {})
    registry.promote(workspace, version.name, "a test's")
    note_trained_on(workspace, version.folder, rows(extracted, "faces")["file_hash"])
    faceline("forget", photos / HOPPER, "--workspace", extracted, capsys=capsys)
    assert f"the champion {version.name} learnt from what is forgotten" in caplog.text


@pytest.mark.parametrize(("arguments", "refused"), [([], 2), (["no-such-photo.jpg"], 1), (["--subject", "nobody"], 1)])
def test_naming_nobody_is_refused(
    extracted: Path, arguments: list[str], refused: int, capsys: pytest.CaptureFixture
) -> None:
    status, _, said = faceline("forget", *arguments, "--workspace", extracted, capsys=capsys)
    assert status == refused
    assert said.startswith("faceline: ")
    assert len(rows(extracted, "files")) == 3


def test_forgetting_waits_for_no_run_that_writes(extracted: Path, photos: Path, capsys: pytest.CaptureFixture) -> None:
    with existing_workspace(str(extracted)).only_writer():
        status, _, said = faceline("forget", photos / HOPPER, "--workspace", extracted, capsys=capsys)
    assert status == 1
    assert "another run is writing here" in said


@pytest.mark.slow
def test_a_forgetting_that_is_killed_is_finished_by_the_next_run(
    extracted: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    use(extracted, HOPPER)
    sought = all_that_names(extracted, HOPPER, "3999")
    command = [sys.executable, "-m", "flows.cli", "forget", str(photos / HOPPER), "--workspace"]
    started = time.monotonic()
    shutil.copytree(extracted, tmp_path / "timed")
    subprocess.run([*command, str(tmp_path / "timed")], cwd=REPOSITORY, check=True, capture_output=True)
    takes_s = time.monotonic() - started
    left = []
    for moment in range(KILLS):
        copy = shutil.copytree(extracted, tmp_path / f"killed-{moment}")
        process = subprocess.Popen([*command, str(copy)], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        while not (copy / "forgotten.json").exists():
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(0.3 * takes_s * moment / KILLS)
        process.send_signal(signal.SIGKILL)
        process.wait()
        faceline("extract", photos, "--workspace", copy, "--workers", 1, capsys=capsys)
        left += traces(copy, *sought)
    assert left == []


def test_compaction_says_what_became_of_each_table(extracted: Path, capsys: pytest.CaptureFixture) -> None:
    status, counts, _ = faceline("compact", "--workspace", extracted, capsys=capsys)
    assert (status, counts["faces"]) == (0, {"files_before": 1, "files_after": 1})
    assert len(rows(extracted, "faces")) == 2


def test_doctor_finds_no_damage_where_there_is_none(extracted: Path, capsys: pytest.CaptureFixture) -> None:
    status, found, _ = faceline("doctor", "--verify", "--workspace", extracted, capsys=capsys)
    assert (status, found["damaged"]) == (0, 0)


def test_doctor_compares_a_workspace_that_can_only_be_read(extracted: Path, capsys: pytest.CaptureFixture) -> None:
    with tempfile.TemporaryDirectory(prefix="faceline-test-") as open_to_all:
        work = shutil.copytree(extracted, Path(open_to_all) / "work")
        for path in [Path(open_to_all), work, *work.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        as_root = os.geteuid() == 0
        try:
            if as_root:
                os.seteuid(65534)
            verified = faceline("doctor", "--verify", "--workspace", work, capsys=capsys)
            repaired = faceline("doctor", "--repair", "--workspace", work, capsys=capsys)
        finally:
            if as_root:
                os.seteuid(0)
    assert (verified[0], verified[1]["damaged"]) == (0, 0)
    assert (repaired[0], "can't be written to" in repaired[2]) == (1, True)


@pytest.mark.slow
def test_doctor_names_what_is_damaged_and_the_next_run_makes_it_again(
    extracted: Path, photos: Path, capsys: pytest.CaptureFixture
) -> None:
    before = rows(extracted, "faces").select("file_hash", "crop").sort("file_hash")
    (data,) = (extracted / "faces").glob("*.parquet")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    status, _, said = faceline("doctor", "--verify", "--workspace", extracted, capsys=capsys)
    assert status == 1
    assert f"\n  faces/{data.name}: was changed on disk" in said
    assert "2 rows of `faces` lost" in said
    assert f"`faceline doctor --repair --workspace {extracted}`" in said
    status, found, _ = faceline("doctor", "--repair", "--workspace", extracted, capsys=capsys)
    assert (status, found) == (0, {"damaged": 1, "photos_to_read_again": 2})
    faceline("extract", photos, "--workspace", extracted, "--workers", 1, capsys=capsys)
    assert rows(extracted, "faces").select("file_hash", "crop").sort("file_hash").equals(before)
    assert faceline("doctor", "--verify", "--workspace", extracted, capsys=capsys)[0] == 0


def test_an_empty_last_commit_loses_no_row(
    extracted: Path, photos: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    log = max((extracted / "files/_delta_log").glob("*.json"))
    log.write_bytes(b"")
    status, counts, _ = faceline("extract", photos, "--workspace", extracted, "--workers", 1, capsys=capsys)
    assert (status, counts["skipped"]) == (0, 3)
    assert log.name in caplog.text
    assert len(rows(extracted, "files")) == 3
