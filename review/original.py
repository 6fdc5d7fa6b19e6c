"""The photo itself, for as long as it lies where it was found: the tables have only crops of its faces."""

import os
from collections.abc import Iterable

from review.pictures import CANVAS_SIDE
from tasks.decode import BadPhoto, Photo, decode, read_file
from tasks.folder import unescape

_MOST_BYTES, _MOST_PIXELS = 200_000_000, 100_000_000


def original(places: Iterable[tuple[str, str]], file_hash: str) -> Photo | None:
    """Reads the photo from the first of its `places` (source, path) that still has these very bytes. They were
    decoded before, in a process that could be lost, so they do no harm here; what lies there now, or outside the
    folder by way of a link, is not shown."""
    for source, path in places:
        folder, file = os.path.realpath(unescape(source)), unescape(path)
        if os.path.commonpath([folder, os.path.realpath(os.path.join(folder, file))]) != folder:
            continue
        try:
            content, found = read_file(os.path.join(folder, file), _MOST_BYTES)
            if found == file_hash:
                return decode(content, max_pixels=_MOST_PIXELS, decode_side=CANVAS_SIDE)
        except BadPhoto:
            continue
    return None
