"""The whole app in a real browser, on 100,000 scores: the server as `faceline review` starts it, and Debian's
Chromium."""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Position, expect

from storage.audit import promotions
from storage.registry import champion
from storage.reviews import open_reviews
from storage.values import FindingKind
from storage.workspace import Workspace
from tests.findings import finding, write_findings
from tests.patience import wait_for
from tests.pictures import turned
from tests.review.conftest import MANY
from tests.review.served import PATIENCE_MS, chromium, needs_chromium, new_page, pages_of, until_idle

pytestmark = [pytest.mark.slow, needs_chromium]
_TO_JUDGE = "the face to judge"
_ALL = f"{MANY + 2:,} faces"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as browser:
        yield browser


def test_a_person_filters_reviews_tries_photos_and_reads_a_run(
    browser: Browser, many: Workspace, hopper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with pages_of(many) as address:
        page = new_page(browser)
        _filter_and_review(page, new_page(browser), address, many)
        kept = _files(many.local_root())
        _try_photos(page, address, hopper, tmp_path)
        _try_the_camera(page, address)
        assert (_files(temporary), _files(many.local_root())) == (
            set(),
            kept,
        )  # a photo that was tried leaves nothing
        _read_a_run(page, address)


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def _filter_and_review(page: Page, colleague: Page, address: str, workspace: Workspace) -> None:
    page.goto(f"{address}/gallery")
    expect(page.get_by_role("heading", name=_ALL)).to_be_visible()
    expect(
        page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").first
    ).to_be_visible()
    page.get_by_role("textbox", name="File path contains").fill("collins")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="1 face")).to_be_visible()
    expect(page).to_have_url(re.compile("path=collins"))
    colleague.goto(page.url)
    expect(colleague.get_by_role("heading", name="1 face")).to_be_visible()
    expect(colleague.get_by_role("textbox", name="File path contains")).to_have_value("collins")
    _download(colleague)
    review = page.get_by_role("button", name="Review", exact=True)
    expect(review).to_have_count(1)  # the heading comes before the cards that no longer pass have gone
    _give_name(page, "Ada")
    review.click()
    save = page.get_by_role("button", name="Save")
    expect(save).to_have_count(1)  # the card from before the name was given has gone
    expect(save).to_be_enabled()
    page.get_by_text("It is wrong").click()
    page.get_by_role("spinbutton", name="Age in years").fill("43")
    save.click()
    expect(page.get_by_text("corrected: 43 years")).to_be_visible()
    assert open_reviews(workspace).newest()["age"].to_list() == [43.0]
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Photo", exact=True).click()
    expect(page.get_by_alt_text("the photo, with a box")).to_be_visible()
    expect(page).to_have_url(re.compile("photo=[0-9a-f]{64}"))


def _download(page: Page) -> None:
    """What the filter leaves, in both formats."""
    page.get_by_role("button", name="Download these faces").click()
    rows = []
    for name, read in (("CSV", pl.read_csv), ("Parquet", pl.read_parquet)):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        rows.append(read(download.value.path()))
    assert [list(each["path"]) for each in rows] == [["collins.png"]] * 2


def _try_photos(page: Page, address: str, hopper: Path, folder: Path) -> None:
    torn = folder / "torn.jpg"
    torn.write_bytes(hopper.read_bytes()[:9000])
    page.goto(f"{address}/try")
    page.locator("input[type=file]").set_input_files([str(hopper), str(torn)])
    expect(page.get_by_alt_text("the photo, with a box")).to_be_visible()
    expect(page.get_by_text("one face", exact=True)).to_be_visible()
    expect(page.get_by_text("can't be judged (truncated)")).to_be_visible()
    on_its_side = folder / "turned.jpg"
    with Image.open(hopper) as portrait:
        on_its_side.write_bytes(turned(portrait.convert("RGB"), "JPEG", 6, quality=95))
    page.locator("input[type=file]").set_input_files(str(on_its_side))
    expect(page.get_by_text("one face", exact=True)).to_have_count(2)
    shown = page.get_by_alt_text("the photo, with a box").nth(1)
    assert shown.evaluate("img => img.decode().then(() => img.naturalHeight > img.naturalWidth)")
    # A further photo in another run of the page: the processes that read photos are still there.
    page.locator("input[type=file]").set_input_files(str(folder / "torn.jpg"))
    expect(page.get_by_text("can't be judged (truncated)")).to_have_count(2)


def _try_the_camera(page: Page, address: str) -> None:
    """Chromium's own stands in for one; what it shows is no face."""
    page.goto(f"{address}/try")
    page.get_by_text("Use the camera").click()
    page.wait_for_function("document.querySelector('video')?.videoWidth > 0")  # before, there is nothing to take
    page.get_by_role("button", name="Take Photo").click()
    expect(page.get_by_text("no face found", exact=True)).to_be_visible()


def _read_a_run(page: Page, address: str) -> None:
    page.goto(f"{address}/runs")
    expect(page.get_by_role("heading", name="Training runs")).to_be_visible()
    expect(page.get_by_text("6.50")).to_be_visible()
    expect(page.locator("[data-testid=stVegaLiteChart]")).to_have_count(2)
    page.goto(f"{address}/models")
    cards = page.get_by_text("Model card", exact=True)
    expect(cards).to_have_count(2)
    cards.last.click()
    expect(page.get_by_role("heading", name="A card")).to_be_visible()
    assert page.locator("img[src*='127.0.0.1/x']").count() == 0
    assert page.get_by_test_id("stException").count() == 0


def test_fifty_faces_are_reviewed_with_keys_alone(browser: Browser, many: Workspace) -> None:
    with pages_of(many) as address:
        page = new_page(browser)
        _start_reviewing(page, address, "Ada")
        for answered in range(45):
            page.keyboard.press("yg"[answered % 2])
            _until_reviewed(page, answered + 1)
        page.get_by_role("textbox", name="Age in years").focus()
        for answered, typed in enumerate(["34", "", "n", "51g"], 45):
            page.keyboard.type(typed)
            page.keyboard.press("Enter")
            _until_reviewed(page, answered + 1)
        page.keyboard.type("u")  # the cursor is still in the field
        page.keyboard.press("Enter")
        _until_reviewed(page, 48)
        page.keyboard.type("62g")
        page.keyboard.press("Enter")
        _until_reviewed(page, 49)
    said = open_reviews(many).newest()
    assert len(said) == 49
    assert sorted(said["age"].drop_nulls().to_list()) == [34.0, 62.0]
    assert dict(said["verdict"].value_counts().iter_rows()) == {"corrected": 24, "right": 24, "not_a_face": 1}
    assert (said["reason"] == "random").sum() == 4  # one look in ten


def test_two_people_at_once_lose_nothing_and_see_different_faces(browser: Browser, many: Workspace) -> None:
    with pages_of(many) as address:
        people = {name: new_page(browser) for name in ("Ada", "Ben")}
        for name, page in people.items():
            _start_reviewing(page, address, name)
        for answered in range(10):
            for page in people.values():
                page.keyboard.press("y")
            for page in people.values():
                _until_reviewed(page, answered + 1)
    reviews = open_reviews(many)
    said = [reviews.of_photo(file_hash) for file_hash in reviews.newest()["file_hash"]]
    assert sorted(row["reviewer"].to_list() for row in said) == [["Ada"]] * 10 + [["Ben"]] * 10


def test_a_finding_opens_its_photo(browser: Browser, scored: Workspace) -> None:
    file_hash = scored.scan("faces").select("file_hash").collect()["file_hash"][0]
    write_findings(scored, finding("", FindingKind.LABEL_CONFLICT, file_hash=file_hash, group="one"))
    with pages_of(scored) as address:
        page = new_page(browser)
        page.goto(f"{address}/quality")
        page.get_by_role("tab", name="Labels").click()
        expect(page.get_by_role("link", name="Review the suspicious labels")).to_be_visible()
        table = page.get_by_role("tabpanel", name="Labels").get_by_test_id("stDataFrame")
        link: Position = {"x": 62 + 30, "y": 35 + 32}  # the second column of the first row below the heading
        table.hover(position=link)
        # Before, a click chooses the cell.
        expect(table.get_by_test_id("data-grid-canvas")).to_have_css("cursor", "pointer")
        with page.context.expect_page() as opened:
            table.click(position=link)
        photo = opened.value
        expect(photo).to_have_url(f"{address}/photo?photo={file_hash}")
        expect(photo.get_by_alt_text("the photo, with a box")).to_be_visible()


def test_a_challenger_is_promoted_with_a_reason(browser: Browser, many: Workspace) -> None:
    before = champion(many)
    with pages_of(many) as address:
        page = new_page(browser)
        page.goto(f"{address}/models")
        _give_name(page, "Ada")
        page.get_by_role("button", name="Make it the champion").click()
        page.get_by_role("textbox", name="Reason").fill("better on the inbox")
        page.get_by_role("button", name=re.compile("Promote")).click()
        wait_for(lambda: champion(many) != before)
        # The one before is the challenger now.
        assert before is not None
        expect(page.get_by_text(before.name, exact=True).first).to_be_visible()
    assert promotions(many)["reason"][0] == "Ada, on the review pages: better on the inbox"


def test_a_read_only_app_has_no_way_to_write(browser: Browser, many: Workspace) -> None:
    with pages_of(many, "--read-only") as address:
        page = new_page(browser)
        page.goto(f"{address}/gallery")
        expect(page.get_by_role("heading", name=_ALL)).to_be_visible()
        until_idle(page)
        assert page.get_by_role("link", name="Review").count() == 0
        assert page.get_by_role("button", name="Review").count() == 0
        assert page.get_by_role("textbox", name="Your name").count() == 0
        page.goto(f"{address}/review")
        expect(page.get_by_text("Page not found")).to_be_visible()


def _give_name(page: Page, name: str) -> None:
    page.get_by_role("textbox", name="Your name").fill(name)
    page.keyboard.press("Enter")


def _start_reviewing(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}/review")
    _give_name(page, name)
    expect(page.get_by_alt_text(_TO_JUDGE)).to_be_visible()
    _until_reviewed(page, 0)
    page.get_by_role("heading", name="Review").click()  # out of the field, so that letters are keys


def _until_reviewed(page: Page, count: int) -> None:
    expect(page.get_by_text(f"{count} reviewed since")).to_be_visible()
    page.wait_for_timeout(200)  # a key sooner than a person could see the face isn't taken
