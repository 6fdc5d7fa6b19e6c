"""Which files there are.

Listing opens no file. Names are bytes on disk, and
`os.listdir` gives those that aren't UTF-8 as surrogates, on which `cv2.imread` dies with SIGSEGV; so a name is
escaped into text once, here, and turned back into bytes where the file is opened."""

import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from storage.refusal import Refusal
from storage.values import FileStatus

LEADS_NOWHERE = "a link to nothing, or to itself"


class BadFolder(Refusal):
    """The folder to work on is missing, isn't a folder, or can't be listed."""


@dataclass(frozen=True)
class Found:
    """One file met. `refusal` is set, with a reason, where it mustn't be opened at all."""

    source: str
    path: str  # relative to source, escaped
    size: int  # bytes
    mtime_ns: int
    refusal: FileStatus | None = None
    reason: str | None = None
    listed_ns: int = field(default=0, compare=False)  # nanoseconds since 1970

    def full_path(self) -> bytes:
        return unescape(self.source).rstrip(b"/") + b"/" + unescape(self.path)  # an object's key may begin with one


def escape(name: bytes) -> str:
    """Text for a file name: bytes that aren't UTF-8, control characters, and a % that would look like an escape
    become %HH. Equal texts mean equal names."""
    text = name.decode("utf-8", errors="surrogateescape")
    text = re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", text)
    return re.sub(r"[\x00-\x1f\x7f\udc80-\udcff]", lambda match: f"%{ord(match[0]) & 0xFF:02X}", text)


def unescape(path: str) -> bytes:
    """The bytes that `escape` was given."""
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), path.encode("utf-8"))


def check_folder(folder: str) -> bytes:
    """Where it really lies. Raises BadFolder."""
    root = os.path.realpath(os.fsencode(folder))
    if not os.path.isdir(root):
        raise BadFolder(f"{folder}: " + ("not a folder" if os.path.exists(root) else "there is no such folder"))
    return root


def list_files(folder: str, *, leave_out: str | None = None) -> Iterator[Found]:
    """Every file below `folder`, in a fixed order; `leave_out` is a folder below it to pass over (the workspace).
    Links are followed to files inside the folder only, and never to folders: no loop, nothing from outside.
    Raises BadFolder."""
    root = check_folder(folder)
    source = escape(root)
    passed_over = os.path.realpath(os.fsencode(leave_out)) if leave_out else b""
    unlistable: list[OSError] = []
    # A stack of our own: before Python 3.12, os.walk calls itself, and ends a thousand folders deep.
    waiting = [root]
    while waiting:
        folders, others = _listed(waiting.pop(), unlistable)
        waiting += reversed([folder for folder in folders if folder != passed_over])
        for path in others:
            yield _look_at(root, source, path)
    for error in unlistable:
        if error.filename == root:
            raise BadFolder(f"{folder}: can't be listed: {error.strerror}")
        path = escape(os.path.relpath(error.filename, root))
        yield Found(source, path, 0, 0, FileStatus.UNREADABLE, f"the folder can't be listed: {error.strerror}")


def _listed(folder: bytes, unlistable: list[OSError]) -> tuple[list[bytes], list[bytes]]:
    """The paths of its folders, and of all else in it, links among that; sorted. An error is added to `unlistable`."""
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        unlistable.append(error)
        return [], []
    folders = {entry.path for entry in entries if _is_folder(entry)}
    paths = [entry.path for entry in entries]
    return [path for path in paths if path in folders], [path for path in paths if path not in folders]


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def growing(found: Found, settle_s: float) -> bool:
    """Whether it changed within `settle_s` seconds of its listing, so that somebody may be writing it still. A time
    further in the future is a wrong clock's: waiting for it would leave the file out for ever."""
    return found.refusal is None and abs(found.listed_ns - found.mtime_ns) < settle_s * 1e9


def _look_at(root: bytes, source: str, full_path: bytes) -> Found:
    path = escape(os.path.relpath(full_path, root))
    try:
        about = os.lstat(full_path)
    except OSError as error:
        what = "gone since it was listed" if isinstance(error, FileNotFoundError) else "can't be looked at"
        return Found(source, path, 0, 0, FileStatus.UNREADABLE, f"{what}: {error.strerror}")
    found = Found(source, path, about.st_size, about.st_mtime_ns, listed_ns=time.time_ns())
    if stat.S_ISLNK(about.st_mode):
        target = os.path.realpath(full_path)
        if not os.path.exists(target):
            return replace(found, refusal=FileStatus.UNREADABLE, reason=LEADS_NOWHERE)
        if os.path.isdir(target):
            return replace(found, refusal=FileStatus.UNSUPPORTED, reason="a link to a folder; links aren't followed")
        if not target.startswith(os.path.join(root, b"")):
            return replace(found, refusal=FileStatus.UNSUPPORTED, reason="a link out of the folder; not followed")
        about = os.stat(full_path)
        found = replace(found, size=about.st_size, mtime_ns=about.st_mtime_ns)
    if not stat.S_ISREG(about.st_mode):
        return replace(found, refusal=FileStatus.NOT_AN_IMAGE, reason="not a regular file but a pipe, socket or device")
    return found
