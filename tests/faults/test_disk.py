"""R12, R14, R15 and R16: full disks, flipped bits, a broken commit log, and what is forced to disk."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deltalake import DeltaTable

from storage.verify import find_damage
from storage.workspace import existing_workspace
from tests.faults.compare import compare, rows_in
from tests.faults.given import Given
from tests.faults.runs import REPOSITORY, Ended, finish, scoring, start
from tests.faults.scorecard import Line, rounds
from tests.tiny_model import tiny_model

_A_PHOTOS_TABLES = ("files", "faces", "scores")


def judge_full_disk(line: Line, ended: Ended) -> None:
    line.tried += 1
    line.misses += ended.problems()
    line.want(ended.status == 1, f"exit status {ended.status}")
    said = [text for text in ended.err.splitlines() if text.startswith("faceline:")]
    line.want(len(said) == 1 and "no space left" in said[0], f"said {said}")


def recover(line: Line, reference: Path, work: Path, log: Path, command: list[object]) -> None:
    ended = finish(log, *command)
    line.want(ended.status == 0, f"exit status {ended.status} once there is room")
    line.recovered_in(ended.seconds)
    line.add(compare(rows_in(reference), rows_in(work)))
    line.want(find_damage(work, thoroughly=True) == [], "damage")


@pytest.mark.slow
@pytest.mark.check("R12", "no file may grow over 64 kB to 1 MiB (RLIMIT_FSIZE)")
def test_a_file_that_may_not_grow_loses_nothing(line: Line, given: Given, tmp_path: Path) -> None:
    photos = rounds(few=40, full=300)
    line.files = photos
    for limit in (2**16, 2**18, 2**20)[: rounds(few=1, full=3)]:
        work = tmp_path / f"work-{limit}"
        command = scoring(given.folder_of(photos), work, given.model)
        judge_full_disk(line, finish(tmp_path / f"log-{limit}", *command, prefix=("prlimit", f"--fsize={limit}")))
        recover(line, given.scored(photos), work, tmp_path / f"log-{limit}-again", command)
    assert line.holds(), line.verdict()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of its own at `folder`; gives a function that makes it larger."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a disk")

    def grow(size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)

    try:
        yield grow
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.faults
@pytest.mark.check("R12", "the workspace's disk fills up at 100 kB to 1 MB (tmpfs)")
def test_a_full_disk_loses_nothing(line: Line, given: Given, tmp_path: Path) -> None:
    photos = rounds(few=40, full=200)
    line.files = photos
    for size in ("100k", "200k", "400k", "700k", "1000k")[: rounds(few=1, full=5)]:
        with small_disk(tmp_path / f"disk-{size}", size) as grow:
            work = tmp_path / f"disk-{size}" / "work"
            command = scoring(given.folder_of(photos), work, given.model, "--chunk-files", 24)
            judge_full_disk(line, finish(tmp_path / f"log-{size}", *command))
            for table in _A_PHOTOS_TABLES:
                existing_workspace(str(work)).scan(table).collect()
            grow("64m")
            recover(line, given.scored(photos), work, tmp_path / f"log-{size}-again", command)
    assert line.holds(), line.verdict()


@pytest.mark.faults
@pytest.mark.check("R12", "no room for temporary files (TMPDIR on a full tmpfs)")
def test_no_room_for_temporary_files_loses_nothing(line: Line, given: Given, tmp_path: Path) -> None:
    line.files, work = 40, tmp_path / "work"
    command = scoring(given.folder_of(40), work, given.model)
    with small_disk(tmp_path / "temporary", "4k"):
        with (tmp_path / "temporary/full").open("wb", buffering=0) as full:
            full.write(b"0" * 4096)
        ended = finish(tmp_path / "log", *command, environment={"TMPDIR": str(tmp_path / "temporary")})
    if ended.status:
        judge_full_disk(line, ended)
    else:
        line.tried = 1
        line.notes.append("another temporary folder is taken")
    recover(line, given.scored(40), work, tmp_path / "log-again", command)
    assert line.holds(), line.verdict()


REGISTER = """
import sys
import time
from storage.registry import register, versions
from storage.workspace import BadWorkspace, open_workspace
workspace = open_workspace(sys.argv[1])
try:
    register(workspace, bytes(2_000_000), "card", {})
except BadWorkspace as error:
    print(error)
print(len(versions(workspace)), "versions")
"""


@pytest.mark.faults
@pytest.mark.check("R12", "a model is registered on a disk that is full")
def test_a_full_disk_leaves_no_half_model(line: Line, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as grow:
        command = [sys.executable, "-c", REGISTER, str(tmp_path / "disk/work")]
        first = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        grow("16m")
        second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    line.tried = 1
    line.want(
        first.returncode == 0 and "no space left" in first.stdout, f"said {first.stdout[:80]}{first.stderr[-80:]}"
    )
    line.want(first.stdout.endswith("0 versions\n"), "a half version")
    line.want(second.stdout == "1 versions\n", "it can't be registered once there is room")
    assert line.holds(), line.verdict()


def flip(file: Path, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def data_files(work: Path, table: str) -> list[Path]:
    return sorted(Path(uri) for uri in DeltaTable(str(work / table)).file_uris())


@pytest.mark.slow
@pytest.mark.check("R14", "one flipped bit in a data file, found by `doctor --verify` and healed (seed 14)")
def test_a_flipped_bit_is_found_and_healed(line: Line, given: Given, tmp_path: Path) -> None:
    photos, chance = 40, random.Random(14)
    reference = rows_in(given.scored(photos))
    line.files = photos
    for index in range(rounds(few=1, full=40)):
        work = shutil.copytree(given.scored(photos), tmp_path / f"work-{index}")
        flip(chance.choice(data_files(work, _A_PHOTOS_TABLES[index % 3])), chance)
        line.tried += 1
        if index >= 6:  # the command line takes some seconds each time
            line.want(len(find_damage(work, thoroughly=True)) == 1, "a flipped bit went unnoticed")
        else:
            verified = finish(tmp_path / f"verify-{index}", "doctor", "--verify", "--workspace", work)
            line.want(verified.status == 1 and "was changed on disk" in verified.err, "a flipped bit went unnoticed")
            finish(tmp_path / f"repair-{index}", "doctor", "--repair", "--workspace", work)
            healed = finish(tmp_path / f"heal-{index}", *scoring(given.folder_of(photos), work, given.model))
            line.recovered_in(healed.seconds)
            line.add(compare(reference, rows_in(work)))
        shutil.rmtree(work)
    assert line.holds(), line.verdict()


@pytest.mark.faults
@pytest.mark.check("R14", "one flipped bit among the stored crops, then scored by another model (seed 15)")
def test_no_score_comes_from_a_damaged_crop(line: Line, given: Given, tmp_path: Path) -> None:
    photos, chance = 40, random.Random(15)
    other = tiny_model(tmp_path / "other.onnx", levels_a_year=3)
    line.files, refused, harmless = photos, 0, 0
    whole = shutil.copytree(given.scored(photos), tmp_path / "whole")
    assert finish(tmp_path / "log", *scoring(given.folder_of(photos), whole, other)).status == 0
    reference = rows_in(whole)
    for index in range(rounds(few=3, full=12)):
        work = shutil.copytree(given.scored(photos), tmp_path / f"work-{index}")
        flip(chance.choice(data_files(work, "faces")), chance)
        ended = finish(tmp_path / f"log-{index}", *scoring(given.folder_of(photos), work, other))
        line.tried += 1
        line.misses += ended.problems()
        if ended.status == 1:
            refused += 1
            line.want("doctor --repair" in ended.err, f"refused with {ended.err.splitlines()[-1:]}")
        else:
            harmless += 1
            found = rows_in(work)
            wrong = compare(reference | {"faces": found["faces"]}, found)
            line.want(not wrong, f"a score of a damaged crop: {wrong}")
        shutil.rmtree(work)
    line.notes.append(
        f"{refused} refused; in {harmless} the bit was in no crop that was read, and all scores are right"
    )
    assert line.holds(), line.verdict()


def _half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _last_log(work: Path, table: str) -> Path:
    return max((work / table / "_delta_log").glob("*.json"))


LOG_FAULTS: dict[str, Callable[[Path, str], object]] = {
    "emptied": lambda work, table: _last_log(work, table).write_bytes(b""),
    "halved": lambda work, table: _half(_last_log(work, table)),
    "deleted": lambda work, table: _last_log(work, table).unlink(),
    "data file deleted": lambda work, table: data_files(work, table)[0].unlink(),
    "checkpoint hint garbled": lambda work, table: (work / table / "_delta_log/_last_checkpoint").write_bytes(b"\0{"),
}


@pytest.mark.faults
@pytest.mark.check("R15", "the last commit emptied, halved or deleted, a data file deleted, garbage for a checkpoint")
def test_a_broken_log_is_healed_by_the_next_run(line: Line, given: Given, tmp_path: Path) -> None:
    photos = 40
    line.files = photos
    command = scoring(given.folder_of(photos), tmp_path / "whole", given.model, "--chunk-files", 14)
    assert finish(tmp_path / "log", *command).status == 0
    reference = rows_in(tmp_path / "whole")
    cases = [(fault, table) for fault in LOG_FAULTS for table in _A_PHOTOS_TABLES]
    random.Random(1).shuffle(cases)
    for index, (fault, table) in enumerate(cases[: rounds(few=2, full=len(cases))]):
        work = shutil.copytree(tmp_path / "whole", tmp_path / f"work-{index}")
        LOG_FAULTS[fault](work, table)
        line.tried += 1
        ended = finish(tmp_path / f"log-{index}", *scoring(given.folder_of(photos), work, given.model))
        line.misses += ended.problems()
        line.want(ended.status == 0, f"{table}, {fault}: exit status {ended.status}")
        line.want(f"{table}/" in ended.err, f"{table}, {fault}: not a word of it")
        line.recovered_in(ended.seconds)
        line.add(compare(reference, rows_in(work)))
        line.want(find_damage(work, thoroughly=True) == [], f"{table}, {fault}: damage is left")
    assert line.holds(), line.verdict()


@pytest.mark.faults
@pytest.mark.check("R16", "calls of fsync, counted by strace, in a run of three chunks")
def test_each_commit_is_forced_to_disk(line: Line, given: Given, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    trace, work = tmp_path / "trace", tmp_path / "work"
    watch = ("strace", "-f", "-y", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", str(trace))
    command = scoring(given.folder_of(40), work, given.model, "--chunk-files", 14)
    ended = finish(tmp_path / "log", *command, prefix=watch)
    line.tried, line.files = 1, 40
    line.want(ended.status == 0, f"exit status {ended.status}")
    calls = [text for text in trace.read_text(errors="replace").splitlines() if "sync(" in text]
    commits = sum(DeltaTable(str(work / table)).version() + 1 for table in _A_PHOTOS_TABLES)
    for what, part in (("data", ".parquet>"), ("log", ".json>"), ("folder", "_delta_log>"), ("ledger", ".sha256>")):
        count = sum(part in call for call in calls)
        unfinished = sum(".unfinished>" in call for call in calls) if what == "ledger" else 0
        line.want(count + unfinished >= commits, f"{count} of {what} for {commits} commits")
    line.notes.append(f"{len(calls)} calls for {commits} commits: data, log, folders and ledger of each")
    assert line.holds(), line.verdict()


@pytest.mark.faults
@pytest.mark.check("R17", "Python's clock a day behind, then a year ahead")
def test_a_wrong_clock_neither_repeats_nor_skips_work(line: Line, given: Given, tmp_path: Path) -> None:
    line.files = 40
    command = scoring(given.folder_of(40), tmp_path / "work", given.model, "--chunk-files", 14)
    for index, clock in enumerate(("clock-a-day-behind", "clock-a-year-ahead", "")):
        ended = finish(tmp_path / f"log-{index}", *command, altered=clock)
        line.tried += 1
        line.misses += ended.problems()
        line.want(ended.status == 0, f"exit status {ended.status} with {clock}")
        line.want(ended.counts.get("read") == (0 if index else 40), f"{clock}: read {ended.counts.get('read')}")
        line.add(compare(rows_in(given.scored(40)), rows_in(tmp_path / "work")))
    assert line.holds(), line.verdict()


@pytest.mark.faults
@pytest.mark.check("R17", "Python's clock jumps a day ahead while photos are read")
def test_a_clock_that_jumps_costs_no_photo_its_time(line: Line, given: Given, tmp_path: Path) -> None:
    work, jumps = tmp_path / "work", tmp_path / "jumps"
    command = scoring(given.folder_of(40), work, given.model, "--chunk-files", 14)
    environment = {"FACELINE_CLOCK_JUMPS": str(jumps)}
    run = start(tmp_path / "log", *command, altered="clock-that-jumps", environment=environment)
    while run.process.poll() is None and not (work / "files").exists():
        time.sleep(0.02)
    jumps.touch()
    in_time = run.process.poll() is None
    ended = run.wait()
    line.tried, line.files = 1, 40
    line.misses += ended.problems()
    line.want(in_time and ended.status == 0, f"exit status {ended.status}")
    line.add(compare(rows_in(given.scored(40)), rows_in(work)))
    assert line.holds(), line.verdict()


@pytest.mark.faults
@pytest.mark.check("R17", "photos of 1970 and 2099")
def test_the_date_of_a_photo_does_not_matter(line: Line, given: Given, tmp_path: Path) -> None:
    photos = 40
    folder = shutil.copytree(given.folder_of(photos), tmp_path / "photos")
    for index, photo in enumerate(sorted(folder.iterdir())):
        os.utime(photo, ns=(0, 0) if index % 2 else (4_070_908_800_000_000_000,) * 2)
    command = scoring(folder, tmp_path / "work", given.model, "--settle-s", 60)
    for index in range(2):
        ended = finish(tmp_path / f"log-{index}", *command)
        line.tried += photos
        line.want(ended.status == 0 and ended.counts["read"] == (0 if index else photos), "skipped or read again")
    line.files = photos
    line.add(compare(rows_in(given.scored(photos)), rows_in(tmp_path / "work")))
    assert line.holds(), line.verdict()
