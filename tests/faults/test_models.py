"""R20 to R24: models that change, are bad, or run elsewhere than was asked; training and promotion that are killed."""

import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from models.contract import BadModel
from models.session import OnnxModel, nvidia_device_present
from storage.registry import UnknownModel, Version, champion, promote, register, versions
from storage.trained_on import TRAINED_ON
from storage.workspace import existing_workspace, open_workspace
from tests.faults.compare import compare, rows_in
from tests.faults.given import Given
from tests.faults.runs import REPOSITORY, WITHOUT, Run, finish, left_over, scoring, start
from tests.faults.scorecard import Line, rounds
from tests.labelled import grey_faces
from tests.models.test_session import external_weights, replaced, with_input
from tests.tiny_model import tiny_model

_CHUNK = 12


def wait_for_a_chunk(run: Run, work: Path) -> None:
    """Until some scores are committed, and most aren't yet."""
    while run.process.poll() is None and not list((work / "scores/_delta_log").glob("*.json")):
        time.sleep(0.02)


@pytest.mark.faults
@pytest.mark.check("R20", "the model's file replaced by another, cut and emptied while it scores")
def test_one_run_has_one_model(line: Line, given: Given, tmp_path: Path) -> None:
    photos, others = 96, {"another": tiny_model(tmp_path / "another.onnx", levels_a_year=2).read_bytes()}
    others |= {"cut": given.model.read_bytes()[:300], "empty": b""}
    reference = rows_in(given.scored(photos))
    line.files, in_time = photos, 0
    for name, content in list(others.items())[: rounds(few=1, full=3)]:
        model, work = Path(shutil.copy(given.model, tmp_path / "tiny.onnx")), tmp_path / f"work-{name}"
        run = start(tmp_path / f"log-{name}", *scoring(given.folder_of(photos), work, model, "--chunk-files", _CHUNK))
        wait_for_a_chunk(run, work)
        model.write_bytes(content)
        in_time += run.process.poll() is None
        ended = run.wait()
        line.tried += 1
        line.want(ended.status == 0, f"exit status {ended.status}")
        line.add(compare(reference, rows_in(work)))
        hashes = set(existing_workspace(str(work)).scan("scores").collect()["model_hash"])
        line.want(hashes == {hashlib.sha256(given.model.read_bytes()).hexdigest()}, f"{len(hashes)} models")
    line.notes.append(f"{in_time} while it scored")
    line.want(in_time > 0, "the run was over before the model was replaced")
    assert line.holds(), line.verdict()


@pytest.mark.faults
@pytest.mark.check("R20", "another champion while it scores; then a registered file replaced, cut and emptied")
def test_a_version_is_what_was_registered(line: Line, given: Given, tmp_path: Path) -> None:
    photos, work = 96, tmp_path / "work"
    workspace = open_workspace(str(work))
    second_file = tiny_model(tmp_path / "second.onnx", levels_a_year=3)
    first, second = (register(workspace, file.read_bytes(), "card", {}) for file in (given.model, second_file))
    promote(workspace, first.name, "a test")
    run = start(tmp_path / "log", *scoring(given.folder_of(photos), work, "champion", "--chunk-files", _CHUNK))
    wait_for_a_chunk(run, work)
    promote(workspace, second.name, "a test")
    line.want(run.wait().status == 0, "the run failed")
    before = existing_workspace(str(work)).scan("scores").collect()
    line.want(set(before["model_hash"]) == {first.model_hash}, "scores of two models in one run")
    line.files, line.tried = photos, 1
    for content in (given.model.read_bytes(), second_file.read_bytes()[:300], b""):
        (work / "registry" / second.name / "model.onnx").write_bytes(content)
        ended = finish(tmp_path / f"log-{line.tried}", *scoring(given.folder_of(photos), work, "champion"))
        line.tried += 1
        line.misses += ended.problems()
        line.want(ended.status == 1 and "was changed since it was registered" in ended.err, "a swapped file is taken")
    line.want(existing_workspace(str(work)).scan("scores").collect().equals(before), "a swapped model scored")
    assert line.holds(), line.verdict()


def bad_models(good: Path) -> dict[str, bytes]:
    content = good.read_bytes()
    found = {"text": b"no model", "empty": b"", "cut": content[: len(content) // 2]}
    for name, change in {
        "another input": with_input(onnx.TensorProto.UINT8, ["n", 64, 64, 3]),
        "not a number": replaced("levels", float("nan")),
        "weights above it": external_weights("../weights.bin"),
        "weights elsewhere": external_weights("/etc/passwd"),
    }.items():
        proto = onnx.load_from_string(content)
        change(proto)
        found[name] = proto.SerializeToString()
    return found


@pytest.mark.faults
@pytest.mark.check("R21", "models that are text, empty, cut, of another input, without numbers, with weights elsewhere")
def test_a_bad_model_scores_nothing(line: Line, given: Given, tmp_path: Path) -> None:
    for name, content in bad_models(given.model).items():
        model, work = tmp_path / "bad.onnx", tmp_path / f"work-{name}"
        model.write_bytes(content)
        ended = finish(tmp_path / "log", *scoring(given.folder_of(40), work, model))
        line.tried += 1
        line.misses += ended.problems()
        said = [text for text in ended.err.splitlines() if text.startswith("faceline:")]
        line.want(ended.status == 1 and len(said) == 1, f"{name}: exit status {ended.status}, {len(said)} lines")
        line.want(not existing_workspace(str(work)).has("scores"), f"{name}: it scored")
    line.files = 40
    assert line.holds(), line.verdict()


def children_s() -> float:
    """What ended child processes have computed: on a busy machine, a clock would measure the others."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
@pytest.mark.check("R22", "`--device cuda` on a machine without a GPU")
def test_no_score_of_the_cpu_says_cuda(line: Line, given: Given, tmp_path: Path) -> None:
    if nvidia_device_present():
        pytest.skip("this machine has an NVIDIA device")
    for name, model in (("tiny", given.model), ("shipped", "pretrained"))[: rounds(few=1, full=2)]:
        before = children_s()
        ended = finish(tmp_path / "log", *scoring(given.folder_of(40), tmp_path / name, model, "--device", "cuda"))
        computed_s = children_s() - before
        line.tried += 1
        line.misses += ended.problems()
        line.want(ended.status == 1 and "--device cuda" in ended.err, f"exit status {ended.status}")
        line.want(computed_s <= 20, f"{computed_s:.0f} s of computing")
        line.want(not existing_workspace(str(tmp_path / name)).has("scores"), "the CPU scored")
        line.notes.append(f"{name} model refused in {ended.seconds:.1f} s")
    line.files = 40
    assert line.holds(), line.verdict()


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.check("R23", "SIGKILL in training, after its first epoch has begun (seed 23)")
def test_a_killed_training_goes_on(line: Line, shared: Path, tmp_path: Path) -> None:
    faces, work = tmp_path / "faces", tmp_path / "work"
    faces.mkdir()
    for file in sorted((shared / "data/utkface/images").glob("*.chip.jpg"))[::250]:
        shutil.copy(file, faces)
    command = ["extract", faces, "--labels", "utkface", "--faces", "whole", "--workspace", work]
    assert finish(tmp_path / "log-extract", *command).status == 0
    train = ["train", "--workspace", work, "--epochs", 3, "--batch", 8, "--copies", 1, "--patience", 9]
    began = time.monotonic()
    whole = finish(tmp_path / "log-whole", *train)
    assert whole.status == 0, whole.err
    takes_s, chance = time.monotonic() - began, random.Random(23)
    for index in range(rounds(few=1, full=10)):
        before = set((work / "runs").iterdir())
        run = start(tmp_path / f"log-{index}", *train)
        started = _started(run, work, before)
        time.sleep(chance.uniform(0, takes_s / 4))
        run.kill_all()
        run.process.wait()
        line.tried += 1
        line.want(left_over(run) == 0, "a process is left")
        resumed = finish(tmp_path / f"log-{index}-resumed", *train, "--resume", started.name)
        line.want(resumed.status == 0, f"exit status {resumed.status}: {resumed.err.splitlines()[-1:]}")
        line.recovered_in(resumed.seconds)
        apart = abs(resumed.counts["val_age_mae"] / whole.counts["val_age_mae"] - 1)
        line.want(apart <= 0.02, f"the best validation error is {100 * apart:.1f} % off")
    assert line.holds(), line.verdict()


def _started(run: Run, work: Path, before: set[Path]) -> Path:
    """The run's folder, once its first epoch is saved."""
    while run.process.poll() is None:
        for folder in set((work / "runs").iterdir()) - before:
            if (folder / "checkpoint.npz").exists():
                return folder
        time.sleep(0.05)
    raise AssertionError("training ended before it had saved an epoch")


REGISTER_AND_PROMOTE = """
import sys
import tests.faults.altered
from storage.registry import promote, register
from storage.workspace import open_workspace
workspace = open_workspace(sys.argv[1])
for number in range(int(sys.argv[3])):
    model = bytes([number % 256]) * int(sys.argv[4]) + sys.argv[2].encode()
    version = register(workspace, model, "card", {"number": number})
    promote(workspace, version.name, sys.argv[2])
    print(version.name, flush=True)
"""


def registering(work: Path, name: str, count: int, size_bytes: int) -> subprocess.Popen:
    """A process that registers and promotes so many versions of that size; it prints the name of each that is done."""
    command = [sys.executable, "-c", REGISTER_AND_PROMOTE, str(work), name, str(count), str(size_bytes)]
    environment = os.environ | {"FACELINE_ALTERED": WITHOUT}
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.check("R24", "SIGKILL while models are registered and promoted (seed 24)")
def test_a_killed_promotion_leaves_whole_versions(line: Line, tmp_path: Path) -> None:
    chance = random.Random(24)
    for index in range(rounds(few=3, full=20)):
        work = tmp_path / str(index)
        with registering(work, "one", 1000, 5_000_000) as process:
            assert process.stdout is not None
            done = [process.stdout.readline()]
            time.sleep(chance.uniform(0, 0.5))
            process.kill()
            done += process.stdout.readlines()
        line.tried += 1
        workspace = existing_workspace(str(work))
        found = {version.name: version for version in versions(workspace)}
        line.want({name.strip() for name in done} <= found.keys(), "a version that was registered is gone")
        try:
            for version in found.values():
                version.model_bytes()
            now = champion(workspace)
            line.want(now is not None and now.name in found, "there is no champion")
        except UnknownModel as error:
            line.misses.append(str(error))
        shutil.rmtree(work)
    assert line.holds(), line.verdict()


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.check("R24", "SIGKILL in `faceline export`, at random and while it registers (seed 25)")
def test_a_killed_export_leaves_no_half_version(line: Line, tmp_path: Path) -> None:
    work, chance = tmp_path / "work", random.Random(25)
    workspace = grey_faces(str(work), 24, sides=("train", "train", "val", "test"))
    trained = finish(tmp_path / "log-train", "train", "--epochs", 1, "--copies", 1, "--workspace", work)
    assert trained.status == 0, trained.err
    export = ["export", "latest", "--robustness-faces", 2, "--workspace", work]
    takes_s, seen = finish(tmp_path / "log-first", *export).seconds, set()
    for index in range(rounds(few=2, full=20)):
        before = set(workspace.registry.iterdir())
        run = start(tmp_path / f"log-{index}", *export)
        if index % 2:
            while run.process.poll() is None and set(workspace.registry.iterdir()) == before:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.3))
        else:
            time.sleep(chance.uniform(0, takes_s))
        run.kill_all()
        run.process.wait()
        line.tried += 1
        line.want(left_over(run) == 0, "a process is left")
        for version in versions(workspace):
            if version.name not in seen:
                seen.add(version.name)
                line.want(is_whole(version), "a half version")
    ended = finish(tmp_path / "log-last", *export)
    promote_it = ["models", "promote", ended.counts["version"], "--workspace", work, "--force", "a test"]
    promoted = finish(tmp_path / "log-promote", *promote_it)  # of an epoch's training, it is no better than the shipped
    line.want(ended.status == promoted.status == 0, "a model can't be exported and promoted after the kills")
    line.notes.append(f"{len(seen) - 1} of them were whole by then")
    assert line.holds(), line.verdict()


def is_whole(version: Version) -> bool:
    """Its file is the registered one and loads, and all that belongs to it is there."""
    try:
        OnnxModel(version.model_bytes(), version.name, "cpu")
        return bool(version.card() and version.metrics()) and (version.folder / TRAINED_ON).exists()
    except (UnknownModel, BadModel, OSError):
        return False


@pytest.mark.slow
@pytest.mark.check("R24", "two processes promote at once, thirty times each")
def test_promotions_at_once_are_all_noted(line: Line, tmp_path: Path) -> None:
    work = tmp_path / "work"
    open_workspace(str(work))
    processes = [registering(work, name, 30, 1000) for name in ("one", "other")]
    said = [process.communicate()[0] for process in processes]
    line.want([len(each.splitlines()) for each in said] == [30, 30], "one of them failed")
    line.tried = 60
    workspace = existing_workspace(str(work))
    log = [json.loads(text) for text in (work / "registry/log.jsonl").read_text().splitlines()]
    line.want(len(log) == 60, f"{60 - len(log)} promotions aren't in the registry's log")
    now = champion(workspace)
    line.want(now is not None and bool(now.model_bytes()), "the champion isn't whole")
    assert line.holds(), line.verdict()
