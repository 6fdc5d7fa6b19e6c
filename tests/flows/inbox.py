"""An inbox of many different files with the same picture, and how far a run has come with it."""

from pathlib import Path

import polars as pl

from storage.workspace import existing_workspace
from tests.flows.serving import Up

PHOTOS = 200


def fill(folder: Path, photo: Path, first: int) -> None:
    """PHOTOS different files with the same picture."""
    (folder / "inbox").mkdir(exist_ok=True)
    for index in range(first, first + PHOTOS):
        (folder / "inbox" / f"{index}.png").write_bytes(photo.read_bytes() + str(index).encode())


def files_of(folder: Path) -> pl.DataFrame:
    return existing_workspace(str(folder / "workspace")).scan("files").select("path", "status").collect()


def in_the_middle(up: Up, done_before: int = 0) -> None:
    """Returns when a run has committed some of the photos, and not all."""
    up.wait_until(lambda: len(files_of(up.folder)) >= done_before + 16)
    assert len(files_of(up.folder)) < done_before + PHOTOS - 16, "it was too fast to be caught"
