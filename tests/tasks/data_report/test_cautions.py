"""What can't work is told before a training, and what can is left alone."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from storage.choices import Targets
from storage.workspace import Workspace, open_workspace
from tasks.data_report.cautions import cautions
from tasks.data_report.holdings import holdings
from tasks.dataset import Dataset

PLENTY = 3000


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def plenty(faces: int = PLENTY) -> pl.DataFrame:
    """Labelled faces of as many people, of all ages and both genders in equal numbers, on the three sides."""
    places = np.arange(faces)
    tenths = places // 2 % 10
    return pl.DataFrame(
        {
            "age": pl.Series(places % 100, dtype=pl.Float32),
            "gender": np.where(places % 2, "female", "male"),
            "subject_id": places.astype(str),
            "groups": [None] * faces,
            "side": np.select([tenths == 0, tenths == 1], ["val", "test"], "train"),
        },
        schema_overrides={"groups": pl.List(pl.Struct({"key": pl.String, "value": pl.String}))},
    )


def said(workspace: Workspace, rows: pl.DataFrame, targets: Targets = "age+gender", **more) -> list[tuple[bool, str]]:
    dataset = Dataset(rows, more.get("left_out", {}))
    found = cautions(dataset, holdings(workspace, dataset), targets, more.get("parted", 0))
    return [(caution.stops, caution.text) for caution in found]


def test_plenty_of_everything_gives_no_caution(workspace: Workspace) -> None:
    assert said(workspace, plenty()) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gender": pl.lit("female")}, "gender can't be learnt"),
        ({"age": pl.lit(30.0)}, "age can't be learnt"),
        ({"age": pl.lit(None, pl.Float32)}, "has an age"),
        ({"side": pl.lit("train")}, "At least two people are needed"),
    ],
    ids=["one gender", "one age", "no age", "one side"],
)
def test_what_cannot_work_stops_a_training(workspace: Workspace, changed: dict, words: str) -> None:
    stops = [text for stops, text in said(workspace, plenty().with_columns(**changed)) if stops]
    assert len(stops) == 1
    assert words in stops[0]


def test_nothing_to_train_on_says_why(workspace: Workspace) -> None:
    assert said(workspace, plenty(0), left_out={"no_face": 3}) == [
        (True, "no labelled face to train on (3 no_face); label photos with `faceline label`")
    ]


AGED = pl.col("age") >= 75
ROWS = pl.int_range(pl.len())
VAL = pl.col("side") == "val"
HARDLY = {
    "few faces": (plenty(20), {}, "Only 16 faces to train on: expect a model worse than the one that ships."),
    "few to calibrate on": (
        plenty().filter(~VAL | (ROWS < 42)),
        {},
        "Only 6 faces to validate on have an age: the 90 % interval will be rough, under 9 a whole life.",
    ),
    "few genders to calibrate on": (
        plenty().with_columns(gender=pl.when(~VAL | (ROWS < 42)).then("gender")),
        {},
        "Only 6 faces to validate on have a gender: the probability of female will be rough.",
    ),
    "one gender to calibrate on": (
        plenty().filter(~VAL | (pl.col("gender") == "female")),
        {},
        "All faces to validate on are female: of the others nothing tells how sure the model may be.",
    ),
    "a rare age": (plenty().filter(~AGED | (ROWS < 90)), {}, "Fewer than 20 faces at ages 75-116 (15)"),
    "one band": (plenty().filter(pl.col("age").is_between(30, 44) | (ROWS < 200)), {}, "of the ages are 30-44"),
    "a rare gender": (plenty().filter((ROWS % 2 == 0) | (ROWS < 300)), {}, "Only 9 % of the faces are female"),
    "no gender": (plenty().with_columns(gender=pl.when(ROWS > 9).then("gender")), {}, "10 faces have no gender"),
    "no ids": (plenty().with_columns(subject_id=pl.lit(None, pl.String)), {}, "3,000 faces have no subject id"),
    "one person": (
        plenty().with_columns(subject_id=pl.when(ROWS < 2000).then(pl.lit("anna")).otherwise("subject_id")),
        {},
        "One person is on 2,000 of 3,000 faces",
    ),
    "left out": (plenty(), {"left_out": {"several_faces": 4000}}, "More photos are left out (4,000) than used (3,000)"),
    "shots on two sides": (plenty(), {"parted": 7}, "7 shots stand on two sides of the split"),
}


@pytest.mark.parametrize("case", HARDLY)
def test_what_hardly_works_is_told_and_stops_nothing(workspace: Workspace, case: str) -> None:
    rows, more, words = HARDLY[case]
    found = said(workspace, rows, **more)
    assert not any(stops for stops, _ in found)
    assert [text for _, text in found if words in text] != []


def test_genders_do_not_matter_where_ages_alone_are_learnt(workspace: Workspace) -> None:
    assert said(workspace, plenty().with_columns(gender=pl.lit("female")), targets="age") == []
