"""R18 and R19: a folder that changes while it is read, and one that is large."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest

from storage.workspace import existing_workspace
from tests.faults.compare import Difference, compare, rows_in
from tests.faults.given import Given, copied
from tests.faults.runs import REPOSITORY, Run, finish, scoring, start
from tests.faults.scorecard import Line, rounds


class Mutator(threading.Thread):
    """Replaces, lengthens and deletes a folder's photos, 50 times a second. `contents` is all that ever stood there, by
    its hash, and `stood` under which name."""

    def __init__(self, folder: Path, spare: list[Path], chance: random.Random) -> None:
        super().__init__()
        self._folder, self._spare, self._chance, self._ended = folder, spare, chance, threading.Event()
        self.contents: dict[str, bytes] = {}
        self.stood: set[tuple[str, str]] = set()
        for file in folder.iterdir():
            self._note(file, file.read_bytes())
        self.changes = 0

    def run(self) -> None:
        while not self._ended.wait(0.02):
            files = sorted(file for file in self._folder.iterdir() if file.suffix == ".jpg")
            self._change(self._chance.choice(files), self._chance.random())
            self.changes += 1

    def end(self) -> None:
        self._ended.set()
        self.join()

    def _change(self, file: Path, drawn: float) -> None:
        if drawn < 0.05:
            file.unlink()
        elif drawn < 0.5:
            content = self._chance.choice(self._spare).read_bytes() + self._chance.randbytes(8)
            self._note(file, content)
            unfinished = file.with_suffix(".new")
            unfinished.write_bytes(content)
            os.replace(unfinished, file)
        else:
            tail = self._chance.randbytes(8)
            self._note(file, file.read_bytes() + tail)
            with file.open("ab", buffering=0) as stream:
                stream.write(tail)

    def _note(self, file: Path, content: bytes) -> None:
        self.contents[_hash(content)] = content
        self.stood.add((file.name, _hash(content)))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.faults
@pytest.mark.check("R18", "photos replaced, lengthened and deleted 50 times a second while they are read (seed 18)")
def test_each_row_is_of_the_bytes_that_were_decoded(line: Line, given: Given, tmp_path: Path) -> None:
    photos = rounds(few=60, full=400)
    folder = copied(given.lfw[:photos], tmp_path / "photos")
    mutator = Mutator(folder, given.lfw[photos : photos + 100], random.Random(18))
    run = start(tmp_path / "log", *scoring(folder, tmp_path / "work", given.model, "--chunk-files", 20))
    mutator.start()
    ended = run.wait()
    mutator.end()
    line.tried, line.files = mutator.changes, photos
    line.misses += ended.problems()
    line.want(ended.status == 0, f"exit status {ended.status}")
    found = rows_in(tmp_path / "work")
    line.add(Difference(doubled=found["files"].height - found["files"].select("path").n_unique()))
    line.want(found["files"].height <= photos, "more rows than files were listed")
    read = existing_workspace(str(tmp_path / "work")).scan("files").filter(pl.col("file_hash").is_not_null()).collect()
    met = set(read["file_hash"])
    line.want(
        set(read.select("path", "file_hash").iter_rows()) <= mutator.stood, "a hash of bytes that never stood there"
    )
    sizes = {file_hash: len(content) for file_hash, content in mutator.contents.items()}
    rows = read.select("file_hash", "size").iter_rows()
    line.want(all(sizes.get(file_hash) == size for file_hash, size in rows), "a size of other bytes than were read")
    (tmp_path / "all").mkdir()
    for each in met & mutator.contents.keys():
        (tmp_path / "all" / f"{each}.jpg").write_bytes(mutator.contents[each])
    finish(tmp_path / "log-all", *scoring(tmp_path / "all", tmp_path / "reference", given.model))
    reference = rows_in(tmp_path / "reference")
    by_hash = read.select(reference["files"].columns).with_columns(path=pl.col("file_hash") + ".jpg").unique()
    line.add(compare(reference, found | {"files": by_hash}))
    changed = len(met - {_hash(photo.read_bytes()) for photo in given.lfw[:photos]})
    line.notes.append(f"{changed} rows are of changed bytes; each status and face is that of the hash in its row")
    again = finish(tmp_path / "log-again", *scoring(folder, tmp_path / "work", given.model))
    line.want(again.status == 0, f"exit status {again.status} of the next run")
    later = rows_in(tmp_path / "work")["files"].drop_nulls("file_hash")
    line.want(not later.select("path", "file_hash").is_duplicated().any(), "a photo's row twice after the next run")
    there = {(photo.name, _hash(photo.read_bytes())) for photo in folder.iterdir()}
    line.want(there <= set(later.select("path", "file_hash").iter_rows()), "a photo that the next run passed over")
    line.recovered_in(again.seconds)
    assert line.holds(), line.verdict()


@pytest.mark.faults
@pytest.mark.check("R18", "all photos renamed; and the same bytes at two paths, forgotten by one of them")
def test_renamed_photos_are_known_and_doubled_ones_are_both_forgotten(line: Line, given: Given, tmp_path: Path) -> None:
    photos = rounds(few=40, full=1000)
    folder, work = copied(given.lfw[:photos], tmp_path / "photos"), tmp_path / "work"
    first = finish(tmp_path / "log", *scoring(folder, work, given.model))
    before = rows_in(work)
    for photo in list(folder.iterdir()):
        photo.rename(folder / f"renamed-{photo.name}")
    second = finish(tmp_path / "log-renamed", *scoring(folder, work, given.model))
    line.tried = line.files = photos
    line.want(first.status == second.status == 0, "a run failed")
    line.want(second.counts["faces"] == second.counts["rescored"] == 0, "a renamed photo was decoded again")
    after = rows_in(work)
    line.add(compare(before, after | {"files": before["files"]}))
    (folder / "twin.jpg").write_bytes((folder / f"renamed-{given.lfw[0].name}").read_bytes())
    finish(tmp_path / "log-twin", *scoring(folder, work, given.model))
    finish(tmp_path / "forget", "forget", folder / "twin.jpg", "--workspace", work)
    left = set(rows_in(work)["files"]["path"]) & {"twin.jpg", given.lfw[0].name, f"renamed-{given.lfw[0].name}"}
    line.want(not left, "a twin of a forgotten photo stays")
    assert line.holds(), line.verdict()


def with_comment(photo: Path, number: int) -> bytes:
    """The same picture, of other bytes: a JPEG with a comment in it."""
    comment = f"copy {number}".encode()
    content = photo.read_bytes()
    return content[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + content[2:]


class Sampler(threading.Thread):
    """Once a second: files done, and memory and open files of the run's processes."""

    def __init__(self, run: Run, work: Path) -> None:
        super().__init__()
        self._run, self._work, self._ended = run, work, threading.Event()
        self.samples: list[dict] = []

    def run(self) -> None:
        while not self._ended.wait(1):
            # By its number: the log's older entries go with its checkpoints.
            chunks = max((int(entry.stem) for entry in (self._work / "files/_delta_log").glob("*.json")), default=0)
            parent, workers, descriptors = 0, 0, 0
            for process in self._run.processes():
                try:
                    size = process.memory_info().rss
                    descriptors += process.num_fds()
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
                is_parent = process.pid == self._run.process.pid
                parent, workers = (parent + size, workers) if is_parent else (parent, workers + size)
            temporary = len(list(Path(tempfile.gettempdir()).glob("faceline-*")))
            sample = {"chunks": chunks, "parent": parent, "workers": workers, "descriptors": descriptors}
            self.samples.append(sample | {"temporary": temporary})

    def end(self) -> pl.DataFrame:
        self._ended.set()
        self.join()
        return pl.DataFrame(self.samples)


@pytest.mark.faults
@pytest.mark.check("R19", "a long run: memory, open files and temporary files over its time")
def test_a_long_run_stays_as_small_as_it_was(line: Line, given: Given, tmp_path: Path) -> None:
    photos, chunk = rounds(few=600, full=10_000), rounds(few=25, full=50)
    (tmp_path / "photos").mkdir()
    for number in range(photos):
        content = with_comment(given.lfw[number % len(given.lfw)], number)
        (tmp_path / "photos" / f"{number:05}.jpg").write_bytes(content)
    work = tmp_path / "work"
    run = start(tmp_path / "log", *scoring(tmp_path / "photos", work, given.model, "--chunk-files", chunk))
    sampler = Sampler(run, work)
    sampler.start()
    run.process.wait()
    samples = sampler.end()
    ended = run.wait()
    line.tried = line.files = photos
    line.want(ended.status == 0, f"exit status {ended.status}")
    rows = rows_in(work)
    line.want(rows["files"].height == photos, f"{rows['files'].height} rows")
    line.add(Difference(doubled=sum(frame.height - frame.unique().height for frame in rows.values())))
    working = samples.filter(pl.col("chunks").is_between(0, photos / chunk, closed="none"))  # its workers are there
    early = working.filter(pl.col("chunks").is_between(0.16 * photos / chunk, 0.24 * photos / chunk)).mean()
    late = working.filter(pl.col("chunks") >= 0.9 * photos / chunk).mean()
    for name in ("parent", "workers"):
        growth = late[name][0] / early[name][0]
        line.want(growth <= 1.10, f"the {name}'s memory grew by {100 * growth - 100:.0f} %")
        line.notes.append(f"{name}: {early[name][0] / 2**20:.0f} to {late[name][0] / 2**20:.0f} MiB")
    peak_gb = (samples["parent"] + samples["workers"]).max() / 2**30
    line.want(peak_gb <= 3, f"{peak_gb:.1f} GiB at the peak")
    for name in ("descriptors", "temporary"):
        change = late[name][0] - early[name][0]
        line.want(abs(change) <= 5, f"{name}: {change:+.0f}")
    slope = np.polyfit(working["chunks"] * chunk, working["parent"] / 2**20, 1)[0] * 1000
    line.notes.append(
        f"peak {peak_gb:.2f} GiB; {slope:+.1f} MiB a thousand photos in the parent; "
        f"{photos / ended.seconds:.0f} photos a second"
    )
    assert line.holds(), line.verdict()


LIST = """
import resource, sys
from tasks.folder import list_files
count = len(list(list_files(sys.argv[1])))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.faults
@pytest.mark.check("R19", "a large folder is listed")
def test_a_large_folder_is_listed_in_little_memory(line: Line, given: Given, tmp_path: Path) -> None:
    count, inner = rounds(few=5_000, full=200_000), 1000
    for start_at in range(0, count, inner):
        part = tmp_path / "photos" / f"{start_at:06}"
        part.mkdir(parents=True)
        (part / "0.jpg").write_bytes(given.lfw[0].read_bytes())
        for number in range(1, inner):
            os.link(part / "0.jpg", part / f"{number}.jpg")
    started = time.monotonic()
    command = [sys.executable, "-c", LIST, str(tmp_path / "photos")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    found, peak = map(int, done.stdout.split())
    line.tried = line.files = count
    line.want(found == count, f"{found} listed")
    line.want(peak <= 500e6, f"{peak / 1e6:.0f} MB")
    line.notes.append(f"{peak / 1e6:.0f} MB, {time.monotonic() - started:.0f} s")
    shutil.rmtree(tmp_path / "photos")
    assert line.holds(), line.verdict()
