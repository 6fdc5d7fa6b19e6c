"""What the first page asks of the tables is asked before anybody visits: when the server starts, and once a run has
ended. Of a million scores it takes seconds, which the first visitor would wait for."""

import logging
from threading import Thread
from time import sleep

from review.opened import Tables, as_they_are
from review.overview import read_ahead
from storage.refusal import Refusal
from storage.workspace import existing_workspace

logger = logging.getLogger(__name__)
_LOOK_EVERY_S = 15


def keep_reading_ahead(root: str) -> None:
    """In a thread that ends with its process."""
    Thread(target=_keep_reading, args=(root,), name="read ahead", daemon=True).start()


def _keep_reading(root: str) -> None:
    seen = read = None
    while True:
        before, seen = seen, _as_they_are(root)
        # While a run commits every few seconds, reading after each would slow the run, and be old at once.
        if seen is not None and seen != read and (read is None or seen == before):
            _read(seen)
            read = seen
        sleep(_LOOK_EVERY_S)


def _as_they_are(root: str) -> Tables | None:
    """None where there is nothing to read, which the pages say why."""
    try:
        return as_they_are(existing_workspace(root))
    except Refusal:
        return None


def _read(tables: Tables) -> None:
    try:
        read_ahead(tables)
    except Refusal as error:
        logger.warning("%s", error)
