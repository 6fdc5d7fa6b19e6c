"""Each picture is one element that stands alone, is the same each time, and doesn't grow with the faces."""

import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from models.evaluation_plots import bland_altman, confusion, coverage_by_band, error_by_age, reliability_diagram

RANDOM = np.random.default_rng(0)
AGE, ERROR = RANDOM.uniform(0, 90, 400), RANDOM.normal(0, 5, 400)
BETWEEN = np.array([[0.1, 0.3], [0.7, 0.9]])
PICTURES: dict[str, Callable[[], str]] = {
    "reliability": lambda: reliability_diagram(np.array([0.2, 0.8]), np.array([0.2, 0.8]), BETWEEN, RANDOM.random(9)),
    "error": lambda: error_by_age(AGE, ERROR),
    "agreement": lambda: bland_altman(AGE, AGE + ERROR, (0.1, -10, 10)),
    "confusion": lambda: confusion(np.array([[90, 10], [0, 50]]), ["a", "b"], ["a", "b"], "gender"),
    "coverage": lambda: coverage_by_band(["0-4", "5-15"], np.array([0.2, 0.8]), BETWEEN, np.array([8.0, 20.0])),
}
each_picture = pytest.mark.parametrize("name", PICTURES)


@each_picture
def test_a_picture_is_one_element_without_an_address(name: str) -> None:
    svg = PICTURES[name]()
    assert svg.startswith("<svg")
    assert "http" not in svg
    root = ElementTree.fromstring(svg.replace("xlink:", ""))
    assert (root.tag, root.get("viewBox", "").split()[:2]) == ("svg", ["0", "0"])
    assert len(root.findall(".//text")) > 3  # its words are words


@each_picture
def test_ids_carry_the_pictures_name(name: str) -> None:
    svg = PICTURES[name]()
    assert {identifier.split("-")[0] for identifier in re.findall(r'\bid="([^"]+)"', svg)} == {name}


def test_equal_figures_give_equal_bytes() -> None:
    assert error_by_age(AGE, ERROR) == error_by_age(AGE, ERROR)
    assert bland_altman(AGE, AGE + ERROR, (0, -1, 1)) == bland_altman(AGE, AGE + ERROR, (0, -1, 1))


def test_a_picture_of_many_faces_is_hardly_larger() -> None:
    many = np.tile(AGE, 100)
    svg = bland_altman(many, many + RANDOM.normal(0, 5, len(many)), (0, -10, 10))
    assert len(svg) < 600_000


def test_a_step_of_few_faces_is_left_out_of_the_error_by_age() -> None:
    age = np.concatenate([np.full(20, 22.0), np.full(20, 27.0), np.full(9, 80.0)])
    assert error_by_age(age, np.zeros(49)) == error_by_age(np.where(age == 80, 90.0, age), np.zeros(49))


def test_the_counts_of_a_confusion_matrix_are_in_it() -> None:
    svg = PICTURES["confusion"]()
    assert {"90", "10", "50"} <= set(re.findall(r">(\d+)</", svg))
