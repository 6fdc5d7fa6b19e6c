"""The photo itself, for as long as it lies where it was found: the tables have only crops of its faces."""

import os
from collections.abc import Iterable

from review.pictures import CANVAS_SIDE
from storage.values import FileStatus
from tasks.bucket import is_in_bucket
from tasks.decode import BadPhoto, Photo, decode
from tasks.folder import unescape
from tasks.read import PhotoSource

_MOST_BYTES, _MOST_PIXELS = 200_000_000, 100_000_000


def original(places: Iterable[tuple[str, str]], file_hash: str) -> Photo | None:
    """Reads the photo from the first of its `places` (source, path) that still has these very bytes. They were
    decoded before, in a process that could be lost, so they do no harm here; what lies there now, or outside the
    folder by way of a link, is not shown. Raises Unreachable, of a bucket."""
    reader = PhotoSource()
    for source, path in places:
        try:
            content = reader.read(_place_of(source, path), _MOST_BYTES)
            if content.file_hash == file_hash:
                return decode(content.data, max_pixels=_MOST_PIXELS, decode_side=CANVAS_SIDE)
        except BadPhoto:
            continue
    return None


def _place_of(source: str, path: str) -> bytes:
    """Raises BadPhoto."""
    folder, file = unescape(source), unescape(path)
    if is_in_bucket(folder):  # keys lead nowhere else: `..` in one is a part of its name
        return folder + b"/" + file
    folder = os.path.realpath(folder)
    if os.path.commonpath([folder, os.path.realpath(os.path.join(folder, file))]) != folder:
        raise BadPhoto(FileStatus.UNREADABLE, "outside of its folder")
    return os.path.join(folder, file)
