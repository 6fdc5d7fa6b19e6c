"""Folders in the system's temporary one, for what a process needs while it runs: hashes of known photos, or a whole
training run where the workspace is a bucket's.

A process that is killed leaves its own. Its lock tells it from that of a living one: the system takes a lock back."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

_PREFIX, _LOCK = "faceline-", ".in-use"
_YOUNG_S = 5  # one that is being made may not have its lock yet


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, deleted at the end, as is what killed processes left. Raises OSError where there is no room."""
    delete_left_over()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder, _lock_of(Path(folder)):
        yield Path(folder)


def delete_left_over() -> None:
    """What killed processes left on this machine."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # it's another user's, or its process lives: then the lock is refused
            if time.time() - lock.stat().st_mtime > _YOUNG_S:
                with _lock_of(lock.parent):
                    shutil.rmtree(lock.parent)


def _lock_of(folder: Path) -> FileLock:
    return FileLock(folder / _LOCK, blocking=False, thread_local=False)
