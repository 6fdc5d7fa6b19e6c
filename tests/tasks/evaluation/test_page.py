"""The page stands alone, escapes what came with the data, and says in words what its pictures show."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from models.figures import ABOUT_COLUMNS
from tasks.dataset import Truth
from tasks.evaluation.evaluate import measure
from tasks.evaluation.judged import Judged
from tasks.evaluation.page import evaluation_page
from tests.judged import answers_with, judged, known_model

CHROMIUM = "/usr/bin/chromium"
HOSTILE = '<script>alert("1")</script><img src=http://127.0.0.1/x>'


class Read(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(faces: Judged, **about: object) -> str:
    return evaluation_page({"model": "mine", "split": "test"} | about, faces, measure(faces))


def with_groups(faces: Judged) -> Judged:
    names: list[str | None] = [HOSTILE if index % 2 else "plain" for index in range(len(faces))]
    return judged(faces.truth, faces.answers, **{HOSTILE: names})


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(with_groups(known_model(400, 0)), model=f"mine {HOSTILE}", left_out={"no_face": 3})


def test_the_page_refers_to_nothing_outside_itself(page: str) -> None:
    read = Read(page)
    targets = [
        value or ""
        for _, attributes in read.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "action", "data", "poster")
    ]
    assert targets
    assert [target for target in targets if not target.startswith(("#", "data:image/png;base64,"))] == []
    assert re.findall(r"url\((?!#)|@import", page) == []
    assert {tag for tag, _ in read.tags} & {"script", "link", "iframe", "object", "base", "form"} == set()


def test_the_page_forbids_what_it_does_not_need(page: str) -> None:
    policies = [each["content"] for each in Read(page).all("meta") if "http-equiv" in each]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_what_came_with_the_data_is_text(page: str) -> None:
    assert Read(page).text.count(HOSTILE) >= 4  # the title, the heading, the column and the group
    assert "<script" not in page


def test_every_picture_says_what_it_shows(page: str) -> None:
    read = Read(page)
    said = [each["aria-label"] for each in read.all("div") if each.get("role") == "img"]
    assert len(read.all("figure")) == len(read.all("svg")) == len(said) == 6
    assert all(len(words or "") > 60 for words in said)


def test_ids_are_of_one_element_each(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Read(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 100
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', page)) <= set(ids)


def test_tables_have_headers_of_rows_and_columns(page: str) -> None:
    read = Read(page)
    assert len(read.all("table")) == len(read.all("caption")) == 4  # all faces, age, gender, and the further column
    assert {each["scope"] for each in read.all("th")} == {"col", "row"}


def test_races_stand_with_what_they_are() -> None:
    faces = known_model(40, 0)
    text = Read(page_of(judged(faces.truth, faces.answers, race=["White", "Black"] * 20))).text
    assert ABOUT_COLUMNS["race"] in text
    assert ABOUT_COLUMNS["race"] not in Read(page_of(faces)).text


def test_the_figures_are_those_that_were_measured(page: str) -> None:
    faces = known_model(400, 0)
    mae = np.abs(faces.age_errors()).mean()
    assert f"On 400 test faces, the estimated age is {mae:.2f} years off on average" in Read(page).text


def test_equal_figures_give_equal_pages(page: str) -> None:
    again = page_of(with_groups(known_model(400, 0)), model=f"mine {HOSTILE}", left_out={"no_face": 3})
    assert again == page


def test_ages_alone_make_a_page_without_genders() -> None:
    faces = known_model(100, 0)
    text = Read(page_of(judged(faces.truth, answers_with(faces.age_errors(), faces.truth.age)))).text
    assert "gender accuracy" not in text
    assert "Bland-Altman" in text


def test_genders_that_are_only_named_make_a_page_without_a_reliability_diagram() -> None:
    female = np.tile([1.0, 0.0], 20)
    faces = judged(Truth(np.full(40, np.nan), female), answers_with(np.zeros(40), np.full(40, np.nan), female=female))
    text = Read(page_of(faces)).text
    assert "the gender is right for 100.0" in text
    assert "Reliability" not in text
    assert "Bland-Altman" not in text


def test_one_face_makes_a_page() -> None:
    faces = judged(
        Truth(np.array([30.0]), np.array([1.0])), answers_with(np.ones(1), np.array([30.0]), female=np.ones(1))
    )
    assert "On 1 test faces, the estimated age is 1.00 years off" in Read(page_of(faces)).text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(CHROMIUM) is None, reason=f"needs {CHROMIUM}: apt-get install chromium")
def test_a_browser_asks_for_nothing_and_finds_no_barrier(page: str, tmp_path: Path) -> None:
    (tmp_path / "evaluation.html").write_text(page)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        shown = browser.new_page()
        asked, complaints = [], []
        shown.on("request", lambda request: asked.append(request.url))
        shown.on("console", lambda message: complaints.append(message.text))
        shown.goto((tmp_path / "evaluation.html").as_uri())
        assert (len(asked), complaints) == (1, [])
        shown.evaluate("document.querySelector('meta[http-equiv]').remove()")
        barriers = Axe().run(shown).response["violations"]
        assert [(barrier["id"], barrier["nodes"][0]["html"]) for barrier in barriers] == []
        assert len(re.findall(rb"/Type\s*/Page\b", shown.pdf(format="A4"))) in range(3, 7)
        browser.close()
