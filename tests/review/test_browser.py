"""The whole app in a real browser: the server as `faceline review` starts it, and Debian's Chromium."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from storage.reviews import open_reviews
from storage.workspace import Workspace

_CHROMIUM = "/usr/bin/chromium"
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PATIENCE_MS = 60_000
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which(_CHROMIUM) is None, reason=f"needs {_CHROMIUM}: apt-get install chromium"),
]


@pytest.fixture
def address(trained: Workspace) -> Iterator[str]:
    """Where the app is served, by the command's own code."""
    port = _free_port()
    arguments = [sys.executable, "-m", "flows.cli", "review", "--workspace", str(trained.root), "--port", str(port)]
    server = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_healthy(url, server)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    assert not _listens(port), "the server outlived its command"


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_CHROMIUM, args=_QUIET)
        yield chromium
        chromium.close()


def test_a_person_filters_reviews_tries_photos_and_reads_a_run(
    browser: Browser, address: str, trained: Workspace, hopper: Path, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    _filter_and_review(page, address, trained)
    _try_photos(page, address, hopper, tmp_path)
    _read_a_run(page, address)


def _filter_and_review(page: Page, address: str, workspace: Workspace) -> None:
    page.goto(address)
    expect(page.get_by_role("heading", name="2 faces")).to_be_visible()
    expect(
        page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").first
    ).to_be_visible()
    page.get_by_role("textbox", name="File path contains").fill("collins")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="1 face")).to_be_visible()
    expect(page).to_have_url(re.compile("path=collins"))
    review = page.get_by_role("button", name="Review", exact=True)
    expect(review).to_have_count(1)  # the heading comes before the cards that no longer pass have gone
    page.get_by_role("textbox", name="Your name").fill("Ada")
    page.keyboard.press("Enter")
    review.click()
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    page.get_by_text("It is wrong").click()
    page.get_by_role("spinbutton", name="Age in years").fill("43")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("corrected: 43 years")).to_be_visible()
    assert open_reviews(workspace).newest()["age"].to_list() == [43.0]


def _try_photos(page: Page, address: str, hopper: Path, folder: Path) -> None:
    torn = folder / "torn.jpg"
    torn.write_bytes(hopper.read_bytes()[:9000])
    page.goto(f"{address}/try")
    page.locator("input[type=file]").set_input_files([str(hopper), str(torn)])
    expect(page.get_by_alt_text("the photo, with a box")).to_be_visible()
    expect(page.get_by_text("one face", exact=True)).to_be_visible()
    expect(page.get_by_text("can't be judged (truncated)")).to_be_visible()
    # A second photo in another run of the page: the processes that read photos are still there.
    page.locator("input[type=file]").set_input_files(str(folder / "torn.jpg"))
    expect(page.get_by_text("can't be judged (truncated)")).to_have_count(2)


def _read_a_run(page: Page, address: str) -> None:
    page.goto(f"{address}/runs")
    expect(page.get_by_role("heading", name="Training runs")).to_be_visible()
    expect(page.get_by_text("6.50")).to_be_visible()
    expect(page.locator("[data-testid=stVegaLiteChart]")).to_have_count(2)
    page.get_by_text("Model card").click()
    expect(page.get_by_role("heading", name="A card")).to_be_visible()
    assert page.locator("img[src*='127.0.0.1/x']").count() == 0
    assert page.get_by_test_id("stException").count() == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_healthy(url: str, server: subprocess.Popen) -> None:
    ends = time.monotonic() + _PATIENCE_MS / 1000
    while time.monotonic() < ends:
        assert server.poll() is None, server.communicate()[0].decode()
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
                assert answer.status == 200
                return
        except (URLError, OSError):
            time.sleep(0.3)
    os.kill(server.pid, signal.SIGKILL)
    pytest.fail(f"nothing answers at {url}: {server.communicate()[0].decode()}")
