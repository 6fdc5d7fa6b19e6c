"""Takes the README's pictures of the review pages anew: `make pictures`. They show two portraits in the public domain,
the shipped model's answers, and one label that is wrong."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from flows.label import label_photos
from flows.scoring import score_here
from storage.ledger import sha256_of
from storage.settings import LabelSettings, ScoreSettings
from storage.values import FindingKind
from storage.workspace import Workspace, existing_workspace
from tests import samples
from tests.findings import finding, write_findings
from tests.review.served import chromium, new_page, pages_of, until_idle

PICTURES = Path(__file__).parent.parent.parent / "docs" / "pictures"
DESK, PHONE = (1440, 900), (390, 844)


def main() -> int:
    with _scored() as (workspace, photo), pages_of(workspace) as address, chromium() as browser:
        for name, size, path in (
            ("gallery", DESK, "gallery"),
            ("overview", DESK, ""),
            ("review", DESK, "review"),
            ("overview-phone", PHONE, ""),
            ("review-phone", PHONE, "review"),
            ("photo-phone", PHONE, f"photo?photo={photo}"),
        ):
            _take(_opened(browser, f"{address}/{path}", size), PICTURES / f"{name}.png")
    return 0


@contextmanager
def _scored() -> Iterator[tuple[Workspace, str]]:
    """A workspace, and the content of the photo with both people in it."""
    folder = Path(tempfile.mkdtemp(prefix="archive-"))
    photos = folder / "photos"
    photos.mkdir()
    hopper, collins = (Image.open(photo).convert("RGB") for photo in (samples.HOPPER, samples.COLLINS))
    hopper.save(photos / "hopper.jpg", quality=92)
    collins.save(photos / "collins.png")
    both = Image.new("RGB", (hopper.width + collins.width, max(hopper.height, collins.height)))
    both.paste(hopper, (0, 0))
    both.paste(collins, (hopper.width, 0))
    both.save(photos / "both.jpg", quality=92)
    shutil.copy(samples.COFFEE, photos / "coffee.png")
    (photos / "cut.jpg").write_bytes((photos / "hopper.jpg").read_bytes()[:9000])
    (photos / "notes.jpg").write_text("not a photo\n")
    labels = folder / "labels.csv"
    labels.write_text("path,age,gender\nhopper.jpg,77,female\ncollins.png,12,male\n")
    workspace = str(folder / "workspace")
    score_here(ScoreSettings(folders=[str(photos)], workspace=workspace, model="pretrained"))
    label_photos(LabelSettings(folders=[str(photos)], workspace=workspace, labels=str(labels)))
    opened = existing_workspace(workspace)
    wrong = {"age": 12.0, "gender": "male", "expected_age": 43.0, "expected_gender": "female"}
    suspicious = finding("", FindingKind.SUSPICIOUS_AGE, file_hash=sha256_of(photos / "collins.png"), **wrong)
    write_findings(opened, suspicious)
    try:
        yield opened, sha256_of(photos / "both.jpg")
    finally:
        shutil.rmtree(folder)


def _opened(browser: Browser, url: str, size: tuple[int, int]) -> Page:
    page = new_page(browser, width=size[0])
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(url)
    until_idle(page)
    if "/review" in url:
        _give_name(page, hidden=size == PHONE)
    return page


def _give_name(page: Page, *, hidden: bool) -> None:
    if hidden:
        page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_role("textbox", name="Your name").fill("Ada")
    page.keyboard.press("Enter")
    if hidden:
        page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    page.get_by_alt_text("the face to judge").wait_for()
    until_idle(page)


def _take(page: Page, file: Path) -> None:
    page.wait_for_timeout(2000)  # charts are drawn after the page is idle
    page.screenshot(path=file)
    Image.open(file).convert("RGB").quantize(256).save(file, optimize=True)
    page.close()


if __name__ == "__main__":
    sys.exit(main())
