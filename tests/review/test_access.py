"""The pages for everyone: readable, usable with the keyboard and on a phone, and safe with names like markup."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, Request

from storage.workspace import Workspace
from tests.review.served import chromium, needs_chromium, new_page, pages_of, until_idle

pytestmark = [pytest.mark.slow, needs_chromium]
_PHONE, _DESK = 390, 1440  # pixels


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize(("scheme", "width"), [("light", _DESK), ("dark", _PHONE), ("light", _PHONE), ("dark", _DESK)])
def test_no_page_has_a_serious_fault_of_access_or_lets_markup_through(
    browser: Browser, trained: Workspace, hopper: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    photo = hashlib.sha256(hopper.read_bytes()).hexdigest()
    addresses = ["", "review", "gallery", f"photo?photo={photo}", "try", "quality", "runs", "models"]
    with pages_of(trained) as url:
        page = new_page(browser, width, scheme)
        strangers, dialogs = _watch(page, url)
        found = {address: _faults(page, f"{url}/{address}") for address in addresses}
    assert found == {address: [] for address in addresses}
    assert (strangers, dialogs) == ([], [])


def _watch(page: Page, url: str) -> tuple[list[str], list[str]]:
    """What the page asks of other servers, and what a script of a file's name would say."""
    strangers: list[str] = []
    dialogs: list[str] = []

    def note(sent: Request) -> None:
        if not sent.url.startswith((url, "data:", "blob:")):
            strangers.append(sent.url)

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("request", note)
    page.on("dialog", dismiss)
    return strangers, dialogs


def _faults(page: Page, address: str) -> list[str]:
    page.goto(address)
    until_idle(page)
    if address.endswith("review") and page.get_by_role("textbox", name="Your name").is_visible():
        page.get_by_role("textbox", name="Your name").fill("Ada")
        page.keyboard.press("Enter")
        page.get_by_alt_text("the face to judge").wait_for()
        until_idle(page)
    found = Axe().run(page).response["violations"]
    serious = [
        f"{fault['id']}: {node['html'][:200]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
    is_too_wide = page.evaluate("document.scrollingElement.scrollWidth > window.innerWidth")
    return serious + ["wider than the window"] * is_too_wide
