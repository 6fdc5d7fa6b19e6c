"""R09, R10, R11 and R13: workers, whole runs and their neighbours end at any moment; nothing is lost or doubled."""

import random
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from storage.reviews import open_reviews
from storage.verify import find_damage
from storage.workspace import existing_workspace
from tests.faults.altered import CRASHING
from tests.faults.compare import compare, only, rows_in
from tests.faults.given import Given, copied
from tests.faults.opens import opens
from tests.faults.runs import Run, finish, left_over, scoring, start
from tests.faults.scorecard import Line, rounds

_CHUNK = 12  # photos: many commits, so that a kill may come between any two


@pytest.mark.slow
@pytest.mark.check("R09", "SIGSEGV and SIGKILL to a random worker, and a photo that crashes its decoder (seed 9)")
def test_a_dead_worker_costs_only_the_photo_at_fault(line: Line, given: Given, tmp_path: Path) -> None:
    good, kills = rounds(few=40, full=1150), rounds(few=2, full=20)
    folder = copied(given.lfw[:good], tmp_path / "photos")
    (folder / "0-at-fault.jpg").write_bytes(given.lfw[0].read_bytes() + CRASHING)
    started = time.monotonic()
    run = start(tmp_path / "log", *scoring(folder, tmp_path / "work", given.model), altered="decoder-that-crashes")
    killed = kill_workers(run, kills, random.Random(9))
    ended = run.wait()
    line.tried, line.files = killed + 1, good + 1
    rows = rows_in(tmp_path / "work")
    found = dict(rows["files"].select("path", "status").iter_rows())
    line.add(compare(rows_in(given.scored(good)), only(rows, {photo.name for photo in given.lfw[:good]})))
    line.misses += ended.problems()
    line.want(ended.status == 0, f"exit status {ended.status}: {ended.err.splitlines()[-1:]}")
    line.want(found["0-at-fault.jpg"] == "crashed_decoder", f"the photo at fault is {found['0-at-fault.jpg']}")
    line.want(left_over(run) == 0, "a process is left")
    line.notes.append(f"{killed} workers killed in {time.monotonic() - started:.0f} s")
    assert line.holds(), line.verdict()


def kill_workers(run: Run, kills: int, chance: random.Random) -> int:
    """One after the other, each once a photo may have been read since the last; returns how many."""
    done, known = 0, set()
    while done < kills and run.process.poll() is None:
        busy = [worker for worker in run.workers() if worker.pid not in known and _has_worked(worker)]
        if busy:
            chosen = chance.choice(busy)
            chosen.send_signal(chance.choice((signal.SIGSEGV, signal.SIGKILL)))
            known.add(chosen.pid)
            done += 1
        time.sleep(0.1)
    return done


def _has_worked(worker: psutil.Process) -> bool:
    """Its start takes about a second of computing."""
    try:
        return worker.cpu_times().user > 1
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
@pytest.mark.check("R10", "SIGKILL to a scoring run's process group, at random and between two commits (seed 10)")
def test_a_killed_run_is_finished_by_the_next(line: Line, given: Given, tmp_path: Path) -> None:
    photos, kills, a_campaign = rounds(few=40, full=60), rounds(few=3, full=50), 5
    reference, chance = rows_in(given.scored(photos)), random.Random(10)
    folder = given.folder_of(photos)
    takes_s = finish(
        tmp_path / "log", *scoring(folder, tmp_path / "whole", given.model, "--chunk-files", _CHUNK)
    ).seconds
    line.files, in_time, repeated = photos, 0, []
    for first in range(0, kills, a_campaign):
        work = tmp_path / f"work-{first}"
        command = scoring(folder, work, given.model, "--chunk-files", _CHUNK)
        count = min(a_campaign, kills - first)
        with opens(folder) as opened:
            for index in range(count):
                run = start(tmp_path / f"log-{first}-{index}", *command)
                if index % 2:
                    wait_for_half_a_commit(run, work)
                else:
                    time.sleep(chance.uniform(0, takes_s))
                in_time += run.process.poll() is None
                run.kill_all()
                run.process.wait()
                line.want(left_over(run) == 0, "a process is left")
                line.want(not _doubled(work), "the tables can't be read after a kill, or have doubled rows")
            ended = finish(tmp_path / f"log-{first}", *command)
        repeated.append((sum(opened.values()) - photos) / count)
        line.tried += count
        line.want(ended.status == 0, f"exit status {ended.status}")
        line.misses += ended.problems()
        line.recovered_in(ended.seconds)
        line.add(compare(reference, rows_in(work)))
        line.want(find_damage(work, thoroughly=True) == [], "damage")
        shutil.rmtree(work)
    line.notes.append(f"{in_time} came before the run's end; {max(repeated) / _CHUNK:.1f} chunks read again a kill")
    line.want(max(repeated) <= 2.1 * _CHUNK, "more than the two chunks in flight are read again")
    assert line.holds(), line.verdict()


def wait_for_half_a_commit(run: Run, work: Path) -> None:
    """Until a chunk's faces are committed and its `files` rows aren't, or the other way round."""

    def ahead() -> int:
        faces, files = (len(list((work / table / "_delta_log").glob("*.json"))) for table in ("faces", "files"))
        return faces - files

    before = ahead()
    while run.process.poll() is None and ahead() == before:
        time.sleep(0.002)


def _doubled(work: Path) -> int:
    if not (work / "faceline-workspace.json").exists():
        return 0
    rows = rows_in(work)
    return compare(rows, rows).doubled


@pytest.mark.faults
@pytest.mark.check("R10", "SIGKILL to the parent alone: its workers must not stay (seed 11)")
def test_workers_end_with_their_parent(line: Line, given: Given, tmp_path: Path) -> None:
    for index in range(rounds(few=1, full=5)):
        run = start(tmp_path / f"log-{index}", *scoring(given.folder_of(200), tmp_path / f"work-{index}", given.model))
        _wait_for_workers(run)
        run.process.kill()
        run.process.wait()
        line.tried += 1
        line.want(left_over(run) == 0, "a worker is left")
    assert line.holds(), line.verdict()


def _wait_for_workers(run: Run) -> None:
    while run.process.poll() is None and not any(map(_has_worked, run.workers())):
        time.sleep(0.05)


SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}


@pytest.mark.faults
@pytest.mark.check("R11", "SIGTERM, SIGINT, SIGHUP at a random moment, once and twice in a row (seed 12)")
def test_a_signal_ends_a_run_in_order(line: Line, given: Given, tmp_path: Path) -> None:
    photos, chance = rounds(few=40, full=60), random.Random(12)
    command = scoring(given.folder_of(photos), tmp_path / "work", given.model, "--chunk-files", _CHUNK)
    takes_s = finish(tmp_path / "log", *scoring(given.folder_of(photos), tmp_path / "whole", given.model)).seconds
    line.files, early, slowest = photos, 0, 0.0
    wanted = rounds(few=2, full=20)
    for index in range(2 * wanted):
        if line.tried == wanted:
            break
        number = list(SIGNALS)[index % len(SIGNALS)]
        run = start(tmp_path / f"log-{index}", *command)
        time.sleep(chance.uniform(0, takes_s))
        if run.process.poll() is not None:
            shutil.rmtree(tmp_path / "work")
            continue
        sent = time.monotonic()
        for _ in range(1 + index % 2):
            run.process.send_signal(number)
        ended = run.wait()
        line.tried += 1
        slowest = max(slowest, time.monotonic() - sent)
        if ended.status == -number:  # Python itself was still starting
            early += 1
            continue
        line.misses += ended.problems()
        line.want(ended.status in (0, SIGNALS[number]), f"exit status {ended.status} after {number.name}")
        line.want(ended.status == 0 or ended.counts == {"interrupted": True}, f"no last line after {number.name}")
        line.want(left_over(run) == 0, "a process is left")
    line.want(slowest <= 10, f"{slowest:.0f} s to end")
    ended = finish(tmp_path / "log-last", *command)
    line.want(ended.status == 0, f"exit status {ended.status} of the last run")
    line.add(compare(rows_in(given.scored(photos)), rows_in(tmp_path / "work")))
    line.recovered_in(ended.seconds)
    line.notes.append(f"ended within {slowest:.1f} s; {early} came before the command had begun, and ended it at once")
    assert line.holds(), line.verdict()


@pytest.mark.slow
@pytest.mark.check("R13", "two and three equal runs started together")
def test_equal_runs_at_once_double_nothing(line: Line, given: Given, tmp_path: Path) -> None:
    photos = 40
    reference = rows_in(given.scored(photos))
    line.files, refused = photos, 0
    for index in range(rounds(few=1, full=20)):
        work = tmp_path / f"work-{index}"
        command = scoring(given.folder_of(photos), work, given.model)
        runs = [start(tmp_path / f"log-{index}-{number}", *command) for number in range(2 + index % 2)]
        for ended in [run.wait() for run in runs]:
            line.misses += ended.problems()
            line.want(ended.status in (0, 1), f"exit status {ended.status}")
            if ended.status == 1:
                refused += 1
                line.want("another run is writing here" in ended.err, f"refused with: {ended.err.splitlines()[-1:]}")
        line.tried += 1
        line.add(compare(reference, rows_in(work)))
    line.notes.append(f"{refused} runs were told that another one writes")
    assert line.holds(), line.verdict()


@pytest.mark.faults
@pytest.mark.check("R13", "`forget`, `compact` and reviews while a run writes")
def test_forgetting_compacting_and_reviewing_during_a_run(line: Line, given: Given, tmp_path: Path) -> None:
    photos, reviews = rounds(few=40, full=96), 0
    reference = rows_in(given.scored(photos))
    forgotten = given.lfw[0].name
    for index in range(rounds(few=1, full=3)):
        folder, work = copied(given.lfw[:photos], tmp_path / f"photos-{index}"), tmp_path / f"work-{index}"
        first = copied(given.lfw[:_CHUNK], tmp_path / f"photos-{index}")
        finish(tmp_path / f"log-{index}", *scoring(first, work, given.model, "--chunk-files", _CHUNK))
        copied(given.lfw[:photos], folder)
        face = (rows_in(work)["faces"]["file_hash"][0], 0)
        command = scoring(folder, work, given.model, "--chunk-files", _CHUNK)
        shutil.rmtree(work)
        run = start(tmp_path / f"log-{index}-run", *command)
        others = []
        while run.process.poll() is None:
            if (work / "files").exists():
                open_reviews(existing_workspace(str(work))).add(face, "right", "a test")
                reviews += 1
                for name, arguments in (("forget", [folder / forgotten]), ("compact", [])):
                    others.append(finish(tmp_path / f"{name}-{index}", name, *arguments, "--workspace", work))
            time.sleep(0.2)
        line.want(run.wait().status == 0, "the run failed")
        line.want(all(other.status in (0, 1) for other in others), "forget or compact broke")
        line.misses += [problem for other in others for problem in other.problems()]
        done = finish(tmp_path / "forget-last", "forget", folder / forgotten, "--workspace", work)
        line.want(done.status == 0, f"forget: exit status {done.status}")
        finish(tmp_path / "compact-last", "compact", "--workspace", work)
        finish(tmp_path / "log-last", *command)
        rows = rows_in(work)
        line.want(forgotten not in set(rows["files"]["path"]), "a forgotten photo came back")
        line.add(compare(only(reference, {photo.name for photo in given.lfw[1:photos]}), rows))
        line.tried += 1
    line.files = photos
    line.notes.append(f"{reviews} reviews written meanwhile")
    assert line.holds(), line.verdict()
