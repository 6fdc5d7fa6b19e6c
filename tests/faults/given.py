"""What the checks work on: photos of faces, a small model, and what a run without a fault makes of them."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.faults.runs import finish, scoring


@dataclass(frozen=True)
class Given:
    """`lfw` are photos of 250 x 250 pixels in a fixed order, `model` the file of a real but trivial model."""

    lfw: list[Path]
    model: Path
    scratch: Path

    def folder_of(self, count: int) -> Path:
        """The first so many photos in a folder of their own. Not to be changed: several checks share it."""
        folder = self.scratch / f"photos-{count}"
        return folder if folder.exists() else copied(self.lfw[:count], folder)

    def scored(self, count: int) -> Path:
        """The workspace that a run without a fault makes of those photos. Not to be changed either."""
        work = self.scratch / f"work-{count}"
        if not work.exists():
            ended = finish(self.scratch / f"log-{count}", *scoring(self.folder_of(count), work, self.model))
            assert ended.status == 0, ended.err
        return work


def copied(photos: list[Path], folder: Path) -> Path:
    """A folder with copies, that a check may do anything to."""
    folder.mkdir(exist_ok=True)
    for photo in photos:
        shutil.copy(photo, folder)
    return folder
