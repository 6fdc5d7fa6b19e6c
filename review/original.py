"""The photo itself, for as long as it lies where it was found: the tables have only crops of its faces."""

import os
from collections.abc import Iterable

from review.pictures import CANVAS_SIDE
from storage.values import FileStatus
from tasks.bucket import Bucket, is_in_bucket
from tasks.decode import BadPhoto, Content, Photo, decode, read_file
from tasks.folder import unescape

_MOST_BYTES, _MOST_PIXELS = 200_000_000, 100_000_000


def original(places: Iterable[tuple[str, str]], file_hash: str) -> Photo | None:
    """Reads the photo from the first of its `places` (source, path) that still has these very bytes. They were
    decoded before, in a process that could be lost, so they do no harm here; what lies there now, or outside the
    folder by way of a link, is not shown. Raises Unreachable, of a bucket."""
    for source, path in places:
        try:
            read = _read_in(source, path)
            if read.file_hash == file_hash:
                return decode(read.data, max_pixels=_MOST_PIXELS, decode_side=CANVAS_SIDE)
        except BadPhoto:
            continue
    return None


def _read_in(source: str, path: str) -> Content:
    """Raises BadPhoto, and Unreachable."""
    folder, file = unescape(source), unescape(path)
    if is_in_bucket(folder):  # keys lead nowhere else: `..` in one is a part of its name
        return Bucket().read(os.fsencode(folder) + b"/" + os.fsencode(file), _MOST_BYTES)
    folder = os.path.realpath(folder)
    if os.path.commonpath([folder, os.path.realpath(os.path.join(folder, file))]) != folder:
        raise BadPhoto(FileStatus.UNREADABLE, "outside of its folder")
    return read_file(os.path.join(folder, file), _MOST_BYTES)
