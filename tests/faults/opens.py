"""How often each file of a folder is opened, by Linux's inotify: a photo that is opened again is read again."""

import ctypes
import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPENED = 0x20
_EVENT = struct.Struct("iIII")
_QUEUE_BYTES = 2**16


@contextmanager
def opens(folder: Path) -> Iterator[Counter[str]]:
    """By file name, in that folder itself. The counts are complete once the block is left: the system keeps as many
    events as the 16,384 that it is set to."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert watch >= 0, os.strerror(ctypes.get_errno())
    assert libc.inotify_add_watch(watch, os.fsencode(folder), _OPENED) >= 0, os.strerror(ctypes.get_errno())
    counts: Counter[str] = Counter()
    try:
        yield counts
        counts.update(_names(watch))
    finally:
        os.close(watch)


def _names(watch: int) -> Iterator[str]:
    while True:
        try:
            events = os.read(watch, _QUEUE_BYTES)
        except BlockingIOError:
            return
        while events:
            _, _, _, length = _EVENT.unpack_from(events)
            name = events[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
            if name:
                yield os.fsdecode(name)
            events = events[_EVENT.size + length :]
