"""The review pages as `faceline review` serves them, and Debian's Chromium to look at them."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.error import URLError

import psutil
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from storage.workspace import Workspace
from tests.ports import free_port, listens

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 180_000
needs_chromium = pytest.mark.skipif(
    shutil.which(CHROMIUM) is None, reason=f"needs {CHROMIUM}: apt-get install chromium"
)
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)

_AT_WORK = ("stStatusWidget", "stSpinner", "stSkeleton", "stAppSkeleton")


@contextmanager
def pages_of(workspace: Workspace, *flags: str) -> Iterator[str]:
    """Where the app is served, by the command's own code."""
    port = free_port()
    command = [sys.executable, "-m", "flows.cli", "review", "--workspace", str(workspace.root), "--port", str(port)]
    with served_by([*command, *flags], port) as url:
        yield url


@contextmanager
def served_by(command: list[str], port: int) -> Iterator[str]:
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_healthy(url, server)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=180)
    assert not listens(port), "the server outlived its command"


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
        yield browser
        browser.close()


def new_page(browser: Browser, width: int = 1440, scheme: Literal["light", "dark"] = "light") -> Page:
    """A page in a profile of its own: another person's browser."""
    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE_MS)
    return context.new_page()


def until_idle(page: Page) -> None:
    """Waits until the page has come, its script has ended, and nothing is at work in it."""
    page.wait_for_selector("h1")
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    at_work = ", ".join(f"[data-testid={name}]" for name in _AT_WORK)
    page.wait_for_function(f"document.querySelectorAll('{at_work}').length === 0")
    page.wait_for_load_state("networkidle")


def server_of(address: str) -> psutil.Process:
    command = f"--server.port={address.rpartition(':')[2]}"
    [found] = [each for each in psutil.Process().children(recursive=True) if command in each.cmdline()]
    return found


def memory(*processes: psutil.Process) -> int:
    """Bytes that are in memory for them, shared ones counted for each."""
    return sum(process.memory_info().rss for process in processes)


@contextmanager
def highest(measure: Callable[[], int]) -> Iterator[list[int]]:
    """The most that it said in between, as the only one of a list."""
    over, most = threading.Event(), [0]

    def look() -> None:
        while not over.wait(0.1):
            most[0] = max(most[0], measure())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def _wait_until_healthy(url: str, server: subprocess.Popen) -> None:
    ends = time.monotonic() + PATIENCE_MS / 1000
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
