"""What the pages are handed by mistake or in malice, in a real browser: each is refused with a sentence, costs the
server nothing, and learns nothing of the machine."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from review.try_photo import LARGEST_MB
from storage.workspace import Workspace, existing_workspace
from tests.pictures import png_bomb
from tests.review.served import (
    PATIENCE_MS,
    chromium,
    highest,
    memory,
    needs_chromium,
    new_page,
    pages_of,
    server_of,
    until_idle,
)

pytestmark = [pytest.mark.slow, needs_chromium]
_BOMB_SIDE = 20_000  # pixels
_DECODED = 3 * _BOMB_SIDE**2  # bytes


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def workspace(scored_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With a run whose figures lack what the page counts on."""
    copy = shutil.copytree(str(scored_once.root), tmp_path_factory.mktemp("refusals") / "workspace")
    run = copy / "runs" / "train-20260101-120000-aaaa"
    run.mkdir(parents=True)
    (run / "settings.json").write_text(json.dumps({"recipe": "distribution"}))
    (run / "metrics.json").write_text(json.dumps({"test": {"overall": {"age_mae": 6.5}}}))
    return existing_workspace(str(copy))


@pytest.fixture(scope="module")
def address(workspace: Workspace) -> Iterator[str]:
    with pages_of(workspace) as address:
        yield address


@pytest.fixture(scope="module")
def large(hopper: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of 25 MB, of which 5 are too much."""
    file = tmp_path_factory.mktemp("large") / "large.jpg"
    file.write_bytes(hopper.read_bytes() + bytes(25_000_000))
    return file


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page for uploads."""
    page = new_page(browser)
    page.goto(f"{address}/try")
    until_idle(page)
    yield page
    page.context.close()


def test_a_file_over_the_limit_is_refused_with_a_sentence_and_the_others_are_judged(
    page: Page, hopper: Path, large: Path
) -> None:
    photos = page.locator("input[type=file]")
    photos.set_input_files([str(large), str(hopper)])
    refused = page.get_by_test_id("stFileChip").filter(has_text=large.name)
    expect(refused).to_contain_text(f"File must be {LARGEST_MB}.0MB or smaller.")
    refused.hover()
    expect(page.get_by_role("tooltip")).to_contain_text(f"File must be {LARGEST_MB}.0MB or smaller.")
    expect(page.get_by_text(f"A file in red was not taken: it is over {LARGEST_MB} MB, or no photo")).to_be_visible()
    expect(page.get_by_text("one face", exact=True)).to_be_visible()
    assert page.get_by_test_id("stException").count() == 0


def test_the_server_takes_no_upload_from_elsewhere_nor_one_over_the_limit(
    page: Page, hopper: Path, large: Path
) -> None:
    """As a program would send it, which the browser's own check doesn't hold up."""
    with page.expect_request(lambda request: "upload_file" in request.url) as sent:
        page.locator("input[type=file]").set_input_files(str(hopper))
    token = {"x-xsrftoken": sent.value.headers["x-xsrftoken"]}
    mine = {"_streamlit_xsrf": token["x-xsrftoken"]}

    def status(photo: Path, cookies: dict[str, str], headers: dict[str, str]) -> int:
        with photo.open("rb") as stream:
            return httpx.put(sent.value.url, files={"file": stream}, cookies=cookies, headers=headers).status_code

    assert status(hopper, {}, {}) == 403
    assert status(hopper, mine, {}) == 403  # what another site's page could make the browser send
    assert status(hopper, mine, token) == 204
    assert status(large, mine, token) == 413


def test_a_decompression_bomb_gets_a_sentence_and_no_memory(
    page: Page, address: str, hopper: Path, tmp_path: Path
) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_bomb(_BOMB_SIDE, 8, 2))
    assert bomb.stat().st_size < 2_000_000 < _DECODED
    photos, server = page.locator("input[type=file]"), server_of(address)
    photos.set_input_files(str(hopper))  # the model, the readers and their libraries are there before it is measured
    expect(page.get_by_text("one face", exact=True)).to_be_visible()
    everything = (server, *server.children(recursive=True))
    before = memory(*everything)
    with highest(lambda: memory(*everything)) as peak:
        photos.set_input_files(str(bomb))
        expect(page.get_by_text("can't be judged (too large)")).to_contain_text("20000 x 20000 pixels, over the limit")
    assert peak[0] - before < _DECODED / 4
    expect(page.get_by_text("one face", exact=True)).to_be_visible()


def test_a_fault_of_ours_shows_no_traceback_no_path_and_no_link_to_elsewhere(
    browser: Browser, address: str, workspace: Workspace
) -> None:
    page = new_page(browser)
    page.goto(f"{address}/runs")
    fault = page.get_by_test_id("stException")
    expect(fault).to_contain_text("encountered an error")
    shown = page.locator("body").inner_text()
    assert [word for word in ("Traceback", "KeyError", "report", ".py", str(workspace.root)) if word in shown] == []
    assert fault.get_by_role("link").count() == 0
    page.goto(f"{address}/models")
    expect(page.get_by_role("heading", name="Registered models")).to_be_visible()


@pytest.mark.parametrize(
    "name", ["127.0.0.1", "evil.example"], ids=["another page", "a name that was made to lead here"]
)
def test_a_page_from_elsewhere_gets_no_session(address: str, name: str) -> None:
    port = int(address.rpartition(":")[2])
    stream = f"ws://{name}:{port}/_stcore/stream"
    with connect(f"ws://127.0.0.1:{port}/_stcore/stream", origin=Origin(address)):
        pass
    with socket.create_connection(("127.0.0.1", port)) as here, pytest.raises(InvalidStatus) as refused:
        connect(stream, sock=here, origin=Origin(f"http://evil.example:{port}"))
    assert refused.value.response.status_code == 403
