"""Fifty large photos in a real browser: what the server keeps of them on disk and in memory when the tab is closed."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from storage.workspace import Workspace, existing_workspace
from tests.review.served import (
    PATIENCE_MS,
    chromium,
    highest,
    memory,
    needs_chromium,
    new_page,
    pages_of,
    server_of,
)

pytestmark = [pytest.mark.slow, needs_chromium]
PHOTOS, SIZE_BYTES = 50, 5_000_000
WARMING = 2  # photos before the first measurement, so that the model, the readers and their libraries are there
CLOSED_S = 200  # within which a closed tab is forgotten


@dataclass(frozen=True)
class Visit:
    """A tab with fifty photos, from before it was opened to after it was closed; bytes of the server."""

    before: int
    peak: int
    after: int
    written: int  # to disk, while the photos came
    found: list[Path]  # files that have something of a photo in them
    searched: int


@pytest.fixture(scope="module")
def visit(scored_once: Workspace, hopper: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    photos = large_photos(hopper, tmp_path_factory.mktemp("photos"), WARMING + PHOTOS)
    folder = tmp_path_factory.mktemp("served")
    workspace = shutil.copytree(str(scored_once.root), folder / "workspace")
    with pytest.MonkeyPatch.context() as patch, chromium() as browser:
        for name in ("HOME", "TMPDIR"):
            (folder / name).mkdir()
            patch.setenv(name, str(folder / name))
        with pages_of(existing_workspace(str(workspace))) as address:
            server = server_of(address)
            upload(browser, address, photos[:WARMING]).context.close()
            before, written = memory(server), written_by(server)
            with highest(lambda: memory(server)) as peak:
                page = upload(browser, address, photos[WARMING:])
            written = written_by(server) - written
            page.context.close()
            ends = time.monotonic() + CLOSED_S
            while given_back(before, peak[0], memory(server)) < 0.8 and time.monotonic() < ends:
                time.sleep(1)
            files = [file for file in folder.rglob("*") if file.is_file()]
            found = [file for file in files if has_any(file, photos)]
            yield Visit(before, peak[0], memory(server), written, found, len(files))


def test_the_memory_of_a_closed_tab_is_given_back(visit: Visit) -> None:
    """Seen red: nothing of it ever was, as Streamlit forgets a tab when the next one closes."""
    assert visit.peak - visit.before > PHOTOS * SIZE_BYTES
    assert given_back(visit.before, visit.peak, visit.after) >= 0.8, visit


def test_no_byte_of_an_upload_reaches_the_disk(visit: Visit) -> None:
    """Seen red with 135 MB: uploads above 1 MB lay in temporary files without a name while they came in."""
    assert visit.written < SIZE_BYTES


def test_nothing_of_an_upload_is_left_in_a_file(visit: Visit) -> None:
    assert visit.searched > 10
    assert visit.found == []


def has_any(file: Path, photos: list[Path]) -> bool:
    """Bytes from the middle of a photo, or its SHA-256."""
    content = file.read_bytes()
    return any(
        each[len(each) // 2 :][:32] in content or hashlib.sha256(each).hexdigest().encode() in content
        for each in (photo.read_bytes() for photo in photos)
    )


def given_back(before: int, peak: int, after: int) -> float:
    return (peak - after) / max(1, peak - before)


def written_by(server: psutil.Process) -> int:
    """Bytes that it and its readers caused to be written to a disk, to files without a name too."""
    return sum(process.io_counters().write_bytes for process in (server, *server.children(recursive=True)))


def upload(browser: Browser, address: str, photos: list[Path]) -> Page:
    page = new_page(browser)
    page.goto(f"{address}/try")
    page.locator("input[type=file]").set_input_files(photos)
    expect(page.get_by_text("one face", exact=True)).to_have_count(len(photos), timeout=5 * PATIENCE_MS)
    return page


def large_photos(portrait: Path, folder: Path, count: int) -> list[Path]:
    """The portrait at about 5 MB, each time with noise of its own."""
    large = cv2.resize(cv2.imread(str(portrait)), (2560, 3000)).astype(np.int16)
    made, noise = [], np.random.default_rng(0)
    for number in range(count):
        noisy = np.clip(large + noise.integers(-24, 25, large.shape, np.int16), 0, 255).astype(np.uint8)
        made.append(folder / f"large-{number}.jpg")
        cv2.imwrite(str(made[-1]), noisy, [cv2.IMWRITE_JPEG_QUALITY, 96])
    return made
