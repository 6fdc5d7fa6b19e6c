"""How long a person waits at the review pages, in a real Chromium: for each page, and for the next face after a key;
and what memory the server takes.

The browser's own clock is read, in the page: Playwright looks again after 0.1, 0.25, 0.5 and 1 second and walks the
whole page each time, which made 0.2 seconds look like 0.4.

Run with: python -m benchmarks.review_browser WORKSPACE [--faces 50], on a workspace of benchmarks/review_scale.py, for
example. It answers faces, so the workspace is not to be a real one."""

import argparse
import statistics

import psutil
from playwright.sync_api import Page, expect

from storage.workspace import existing_workspace
from tests.review.served import PATIENCE_MS, chromium, new_page, pages_of, until_idle

_PAGES = {"Overview": "", "Gallery": "gallery", "Review": "review", "Data quality": "quality", "Models": "models"}
_BLINK_MS = 200  # a key sooner than a person could see the face isn't taken
_WATCH = """
    const note = () => { window.lastChange = performance.now() };
    new MutationObserver(note).observe(document, {subtree: true, childList: true, attributes: true});
    document.addEventListener("load", note, true);
    document.addEventListener("keydown", event => { window.keyAt = event.timeStamp }, true);
"""
_NEXT_FACE = """said => {
    const captions = [...document.querySelectorAll("[data-testid=stCaptionContainer]")];
    const face = document.querySelector("img[alt='the face to judge']");
    const isThere = captions.some(each => each.textContent.startsWith(said)) && face && face.complete;
    return isThere ? performance.now() - window.keyAt : false;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace")
    parser.add_argument("--faces", type=int, default=50)
    arguments = parser.parse_args()
    expect.set_options(timeout=PATIENCE_MS)
    workspace = existing_workspace(arguments.workspace)
    scores = workspace.scan("scores").select("file_hash").collect().height
    print(f"{scores:,} scores\n\n| | seconds |\n|---|---|")
    with pages_of(workspace) as address, chromium() as browser:
        for name, path in _PAGES.items():
            print(f"| {name}, in a new session | {_until_there(new_page(browser), f'{address}/{path}'):.2f} |")
        waits = sorted(_reviewing(new_page(browser), address, arguments.faces))
        print(f"| from the key to the next face, median of {len(waits)} | {statistics.median(waits):.2f} |")
        print(f"| the slowest but one in twenty | {waits[int(0.95 * len(waits))]:.2f} |")
        print(f"\nThe server takes {_memory_gb():.2f} GB.")


def _until_there(page: Page, url: str) -> float:
    """From the address to the page's last change before it came to rest."""
    page.add_init_script(_WATCH)
    page.goto(url)
    until_idle(page)
    return page.evaluate("window.lastChange") / 1000


def _reviewing(page: Page, address: str, faces: int) -> list[float]:
    page.add_init_script(_WATCH)
    page.goto(f"{address}/review")
    page.get_by_role("textbox", name="Your name").fill("Ada")
    page.keyboard.press("Enter")
    expect(page.get_by_alt_text("the face to judge")).to_be_visible()
    page.get_by_role("heading", name="Review").click()
    return [_until_next(page, answered) for answered in range(1, faces + 1)]


def _until_next(page: Page, answered: int) -> float:
    page.wait_for_timeout(_BLINK_MS)
    page.keyboard.press("y")
    return page.wait_for_function(_NEXT_FACE, arg=f"{answered} reviewed since", polling="raf").json_value() / 1000


def _memory_gb() -> float:
    """Of the largest process started from here: the Streamlit server."""
    return max(each.memory_info().rss for each in psutil.Process().children(recursive=True)) / 1e9


if __name__ == "__main__":
    main()
