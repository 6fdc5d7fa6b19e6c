"""The card says what was measured, and only that."""

import pytest

from models.card import model_card
from storage.settings import TrainSettings

OVERALL = {"faces": 1951.0, "age_mae": 5.184, "cs5": 0.626, "gender_accuracy": 0.9451, "gender_ece": 0.0123}
INTERVALS = {"age_mae": (4.95, 5.41), "gender_accuracy": (0.935, 0.955)}
BANDS = [{"band": "75-116", "faces": 91.0, "age_mae": 10.1, "age_bias": -9.2, "interval_coverage": 0.88}]
GROUPS = [
    {"column": "race", "group": "a|b<script>", "faces": 50.0, "age_mae": 4.0},
    {"column": "gender", "group": "female", "faces": 900.0, "age_mae": 5.5},
]
TEST = {"overall": OVERALL, "intervals": INTERVALS, "bands": BANDS, "groups": GROUPS}
NONE = {"overall": {}, "intervals": {}, "bands": [], "groups": []}
ABOUT = {
    "data": "Photos of a town's archive.",
    "licence": "not stated",
    "faces": {"train": 17266, "val": 1452, "test": 1951},
    "data_hash": "f998",
    "device": "CPU",
    "with": {"keras": "3.15.1", "lock_sha256": "ab12", "tf2onnx": None},
}
PARITY = {"age": 9.5e-5, "female": 1.3e-6}


def card_of(**metrics: object) -> str:
    return model_card(TrainSettings(), ABOUT, {"val": NONE, "test": TEST, "parity": PARITY} | metrics)


@pytest.mark.parametrize(
    "line",
    [
        "| age MAE, years | 5.18 | 4.95 to 5.41 |",
        "| gender accuracy | 94.5\N{NO-BREAK SPACE}% | 93.5\N{NO-BREAK SPACE}% to 95.5\N{NO-BREAK SPACE}% |",
        "| gender calibration error (ECE) | 0.012 |  |",
        "| 75-116 | 91 | 10.10 | -9.20 |  | 88.0\N{NO-BREAK SPACE}% |  |",
        "### By race, as the labels have it",
        "Photos of a town's archive. 17,266 faces to train on",
        "Made with: keras 3.15.1, lock_sha256 ab12",
        "**Not for** decisions about a person",
    ],
)
def test_what_was_measured_stands_in_the_card(line: str) -> None:
    assert line in card_of()


def test_the_card_says_how_many_labels_are_from_reviews() -> None:
    sources = {"train": {"table:<mine>.csv": 17_200, "review": 66}, "val": {"table:<mine>.csv": 1452}, "test": {}}
    card = model_card(
        TrainSettings(), ABOUT | {"label_sources": sources}, {"val": NONE, "test": TEST, "parity": PARITY}
    )
    assert "|  | train | val | test |" in card
    assert "| review | 66 | 0 | 0 |" in card
    assert "| table:&lt;mine>.csv | 17,200 | 1,452 | 0 |" in card
    assert "labels are from" not in card_of()  # of a run that didn't note them


@pytest.mark.parametrize(("trunk", "teacher"), [("champion", "champion"), ("auto", "pretrained")])
def test_the_card_of_a_fast_model_says_that_it_is_cut_down_and_who_taught_it(trunk: str, teacher: str) -> None:
    card = model_card(TrainSettings(network="fast", trunk=trunk), ABOUT, {"val": NONE, "test": TEST, "parity": PARITY})
    assert "cut down" in card
    assert f"taught by the model `{teacher}`" in card


def test_the_card_of_a_model_in_8_bits_says_what_they_changed() -> None:
    assert "age MAE by +0.05 years and gender by -0.6 points" in card_of(
        int8={"age_mae": 0.047, "gender_accuracy": -0.0062}
    )
    assert "8 bits" not in card_of()


def test_a_group_from_a_table_can_neither_break_the_card_nor_add_to_it() -> None:
    assert "<script>" not in card_of()
    assert "| a\\|b&lt;script> | 50 | 4.00 |" in card_of()


def test_a_column_of_races_stands_with_what_it_is_and_one_of_cameras_does_not() -> None:
    assert "0 White, 1 Black, 2 Asian, 3 Indian, 4 Others" in card_of()
    assert "a guess from looks" in card_of()
    cameras = [row | {"column": "camera"} for row in GROUPS]
    assert "a guess from looks" not in card_of(test=TEST | {"groups": cameras})


def test_groups_have_the_genders_of_the_grown_ups_for_themselves() -> None:
    """Of children they are wrong more often, and groups differ in how many of them are children."""
    few_grown = [{"column": "camera", "group": "a", "faces": 50.0, "gender_accuracy_from_16": 0.976}]
    assert "| gender accuracy, from age 16 |\n" in card_of(test=TEST | {"groups": few_grown})
    assert "| a | 50 |  |  |  |  |  | 97.6\N{NO-BREAK SPACE}% |" in card_of(test=TEST | {"groups": few_grown})


def test_without_test_faces_the_validation_faces_are_shown_and_named() -> None:
    card = card_of(val=TEST, test=NONE)
    assert "## Figures on the 1,452 faces of the val split" in card


def test_worse_pictures_are_shown_where_they_were_measured() -> None:
    rows = [
        {"degradation": "none", "level": 0, "faces": 200, "age_mae": 5.2, "age_mae_low": 4.6, "age_mae_high": 5.9},
        {"degradation": "downscaled", "level": 32, "faces": 200, "age_mae": 5.6, "gender_accuracy": None},
        {"degradation": "darker", "level": 0.2, "faces": 200, "age_mae": 7.0, "gender_accuracy": 0.9},
    ]
    assert "On worse pictures" not in card_of()
    card = card_of(robustness=rows, smallest_face={"side": 32, "age_mae_growth": 0.4, "gender_loss": None})
    assert "faces of **32 pixels and more**" in card
    assert "| 200 faces, 95 % interval in brackets | age MAE" in card
    assert "| as they are | 5.20 (4.60 to 5.90) |  |  |" in card
    assert "| faces of 32 pixels | 5.60 |  |  |" in card
    assert "| 20% of the light | 7.00 | 90.0\N{NO-BREAK SPACE}% |  |" in card
    assert "give it large ones" in card_of(robustness=rows, smallest_face=None)
