"""The command line with one thing altered, named by FACELINE_ALTERED: a decoder that crashes, or a guard taken out, to
see that the check of that guard fails then. Worker processes import this module as well, and so are altered too.

Run with: FACELINE_FAULT_WITHOUT=lock python -m pytest tests/faults -k R13"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

CRASHING = b"crash the decoder that reads this"  # at the end of a photo


def _replace(owner: object, name: str, new: object) -> None:
    """An attribute that isn't there was renamed: altering it would do nothing, and the check would seem to hold."""
    assert hasattr(owner, name), f"{owner} has no {name}: name in this alteration what it is called now"
    setattr(owner, name, new)


def decoder_that_crashes() -> None:
    """A fault, not a guard: some contents end the process that decodes them."""
    import tasks.read

    decode = tasks.read.decode

    def crashing(content: bytes, **limits: int):
        if content.endswith(CRASHING):
            os.abort()
        return decode(content, **limits)

    _replace(tasks.read, "decode", crashing)


def clock_a_day_behind() -> None:
    _set_clock(lambda: -86_400)


def clock_a_year_ahead() -> None:
    _set_clock(lambda: 365 * 86_400)


def clock_that_jumps() -> None:
    """A day ahead, once the file is there that FACELINE_CLOCK_JUMPS names."""
    _set_clock(lambda: 86_400 if os.path.exists(os.environ["FACELINE_CLOCK_JUMPS"]) else 0)


def _set_clock(offset_s: Callable[[], float]) -> None:
    """Python's clocks of the day, in parent and workers. (libfaketime, which would set Delta's as well, stops Python
    3.11: its waits by the monotonic clock never end, or raise.)"""
    import storage.workspace

    true_ns = time.time_ns

    def false_ns() -> int:
        return true_ns() + int(offset_s() * 1e9)

    _replace(time, "time_ns", false_ns)
    _replace(time, "time", lambda: false_ns() / 1e9)
    _replace(storage.workspace, "now", lambda: datetime.fromtimestamp(false_ns() / 1e9, UTC))


def no_time_limit() -> None:
    import tasks.spread

    build = tasks.spread.Spread.__init__

    def endless(self, make_worker, *, workers, timeout_s, memory_mb):
        build(self, make_worker, workers=workers, timeout_s=1e6, memory_mb=memory_mb)

    _replace(tasks.spread.Spread, "__init__", endless)


def no_allowance_for_a_clock_that_jumps() -> None:
    import tasks.spread

    _replace(tasks.spread._Call, "clock_jumped", lambda self: False)


def no_second_try() -> None:
    """The photo at which a worker died is at fault, whoever killed it."""
    import tasks.spread
    from storage.values import FileStatus

    def once(self, item, call):
        try:
            return self._result(call)
        except tasks.spread.FutureTimeout:
            return tasks.spread.Lost(FileStatus.TIMED_OUT, "too long")
        except (tasks.spread.ProcessExpired, tasks.spread.BrokenProcessPool):
            return tasks.spread.Lost(FileStatus.CRASHED_DECODER, "died")

    _replace(tasks.spread.Spread, "_answer", once)


def files_first() -> None:
    """A chunk's `files` rows are committed before its faces and scores."""
    import tasks.chunk

    commit = tasks.chunk.commit_chunk

    def backwards(chunk, extraction, *, keep_crops):
        append = extraction.workspace.append
        append("files", chunk.files)
        _replace(extraction.workspace, "append", lambda table, rows: None if table == "files" else append(table, rows))
        try:
            return commit(chunk, extraction, keep_crops=keep_crops)
        finally:
            _replace(extraction.workspace, "append", append)

    _replace(tasks.chunk, "commit_chunk", backwards)


def no_memory_of_faces() -> None:
    """Faces that a killed run left without their `files` row aren't known."""
    import tasks.contents

    look = tasks.contents.Contents._extracted
    _replace(tasks.contents.Contents, "_extracted", lambda self, table: look(self, "files"))


def no_word_for_a_full_disk() -> None:
    """Errors of the disk come through as they are."""
    import storage.workspace

    _replace(storage.workspace, "ours", contextlib.nullcontext)


def no_lock() -> None:
    import storage.workspace

    _replace(storage.workspace.Workspace, "held", lambda self: contextlib.nullcontext())


def no_checksums() -> None:
    """`doctor --verify` doesn't hash the data files."""
    import storage.verify

    fault_of = storage.verify._fault_of

    def hasty(standing, path, *, thoroughly):
        return fault_of(standing, path, thoroughly=False)

    _replace(storage.verify, "_fault_of", hasty)


def no_crop_check() -> None:
    """A stored crop is scored whatever its hash."""
    import tasks.score

    _replace(tasks.score, "crop_hash", lambda crop: None if crop is None else _Anything())


class _Anything:
    def __ne__(self, other: object) -> bool:
        return False


def no_healing() -> None:
    import storage.ledger
    import storage.workspace

    _replace(storage.workspace, "heal", lambda root: None)
    _replace(storage.workspace, "read_ledger", lambda folder: None)
    _replace(storage.ledger, "lost_files", lambda folder, ledger, state: set())


def no_fsync() -> None:
    import storage.ledger

    _replace(storage.ledger, "sync", lambda paths: None)
    _replace(os, "fsync", lambda descriptor: None)


def two_reads() -> None:
    """A photo is hashed, and then read again to be decoded."""
    import tasks.read

    read = tasks.read.read_file

    def twice(path: bytes, max_bytes: int) -> tasks.read.Content:
        read_once = read(path, max_bytes)
        time.sleep(0.2)  # as where it waits for its turn
        with contextlib.suppress(OSError):
            return read_once._replace(data=Path(os.fsdecode(path)).read_bytes())
        return read_once

    _replace(tasks.read, "read_file", twice)


def model_read_again() -> None:
    """Each batch runs the model as its file is at that moment, under the hash that was noted at the start."""
    import flows.scoring
    import models.session

    load, run = flows.scoring.model_content, models.session.OnnxModel.__call__
    loaded: list[Path] = []

    def noted(workspace, name):
        loaded.append(Path(name))
        return load(workspace, name)

    def again(self, crops):
        content = loaded[-1].read_bytes()
        self._session = models.session.open_session(content, self.version, "cpu", threads=1)
        return run(self, crops)

    _replace(flows.scoring, "model_content", noted)
    _replace(models.session.OnnxModel, "__call__", again)


def cuda_or_else_the_cpu() -> None:
    import models.session

    open_session = models.session.open_session

    def on_cpu(content, version, device, threads):
        return open_session(content, version, "cpu", threads)

    _replace(models.session, "open_session", on_cpu)


def version_before_its_model() -> None:
    """A version's `version.json`, which makes it one, is written first and not last."""
    import storage.registry

    write = storage.registry.write_version

    def backwards(folder, name, model, card, metrics):
        folder.mkdir(parents=True, exist_ok=True)
        about = {"name": name, "model_hash": hashlib.sha256(model).hexdigest(), "created_at": "2026"}
        (folder / "version.json").write_text(json.dumps(about))
        write(folder, name, model, card, metrics)

    _replace(storage.registry, "write_version", backwards)


def promotions_at_once() -> None:
    import storage.registry

    _replace(storage.registry, "_one_at_a_time", lambda workspace: contextlib.nullcontext())


def no_hash_of_versions() -> None:
    """A registered model is loaded whatever its hash."""
    import storage.registry

    def unchecked(self) -> bytes:
        return (self.folder / "model.onnx").read_bytes()

    _replace(storage.registry.Version, "model_bytes", unchecked)


ALTERATIONS = {
    alteration.__name__.replace("_", "-"): alteration
    for alteration in (
        decoder_that_crashes,
        clock_a_day_behind,
        clock_a_year_ahead,
        clock_that_jumps,
        no_time_limit,
        no_allowance_for_a_clock_that_jumps,
        no_second_try,
        files_first,
        no_memory_of_faces,
        no_word_for_a_full_disk,
        no_lock,
        no_checksums,
        no_crop_check,
        no_healing,
        no_fsync,
        two_reads,
        model_read_again,
        cuda_or_else_the_cpu,
        version_before_its_model,
        promotions_at_once,
        no_hash_of_versions,
    )
}


def alter() -> None:
    for name in filter(None, os.environ.get("FACELINE_ALTERED", "").split(",")):
        ALTERATIONS[name]()


alter()
if __name__ == "__main__":
    from flows.cli import main

    main()
