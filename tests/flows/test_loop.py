"""The loop, on real faces: mixed-up labels are found by the data report, come first on the page Review, are corrected
there, and the model that is trained on what was said is better.

The faces are of UTKFace's test split, which is split further here: the shipped model hasn't seen them, so it judges
labels that it can't know by heart. The original's recipe starts with new heads, and its squared error shows what wrong
labels cost. Figures are in docs/experiments.md."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.cli import run
from review.answer import Answer
from review.face_queue import BLOCK, Claims, FaceQueue, Look
from storage.reviews import Reviews, open_reviews
from storage.workspace import Workspace, existing_workspace
from storage.worth import next_faces, pool_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # a machine that trains meanwhile takes ten times as long
TRAIN, VAL, TEST = 170, 30, 80  # faces
WRONG = 0.15  # share of the faces to train and validate on whose label is another one's
SEED = 0
QUICK = ("--recipe", "classic", "--epochs", "3", "--patience", "3", "--batch", "16", "--copies", "1")


@dataclass(frozen=True)
class Loop:
    """What came of it. `hits` says of each look, in the order of the queue, whether the label was wrong."""

    faces: int
    wrong: int
    hits: list[bool]
    before: dict  # the training on the labels as they came
    after: dict  # the training on those and what was said in review


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Loop:
    folder = tmp_path_factory.mktemp("loop")
    truth = mixed_up_labels(shared / "data/utkface", folder)
    photos, labels, space = (str(folder / name) for name in ("photos", "labels.csv", "workspace"))
    here = ["--workspace", space]
    assert run(["extract", photos, "--labels", labels, "--faces", "whole", *here]) == 0
    assert run(["data", *here]) == 0
    workspace = existing_workspace(space)
    before = trained(workspace)
    hits = [is_wrong(truth[face.file_hash]) for face in reviewed(workspace, truth)]
    return Loop(len(truth), sum(map(is_wrong, truth.values())), hits, before, trained(workspace))


def mixed_up_labels(utkface: Path, folder: Path) -> dict[str, dict]:
    """Photos and their labels, of which some were dealt out anew: a row by content with age, gender, said_age and
    said_gender."""
    table = pl.read_csv(utkface / "labels.csv").filter(pl.col("split") == "test").sort("file")
    chosen = table.unique("group", keep="first", maintain_order=True).sample(
        TRAIN + VAL + TEST, shuffle=True, seed=SEED
    )
    dealt = np.arange(len(chosen))
    wrong = np.random.default_rng(SEED).choice(TRAIN + VAL, round(WRONG * (TRAIN + VAL)), replace=False)
    dealt[wrong] = np.roll(wrong, 1)
    sides = ["train"] * TRAIN + ["val"] * VAL + ["test"] * TEST
    rows = chosen.select("file", "age", "gender").with_columns(
        said_age=chosen["age"][dealt], said_gender=chosen["gender"][dealt], split=pl.Series(sides)
    )
    (folder / "photos").mkdir()
    for name in rows["file"]:
        shutil.copy(utkface / "images" / name, folder / "photos")
    said = rows.select("file", "split", age="said_age", gender="said_gender")
    said.write_csv(folder / "labels.csv")
    return {
        hashlib.sha256((folder / "photos" / row["file"]).read_bytes()).hexdigest(): row
        for row in rows.iter_rows(named=True)
    }


def is_wrong(row: dict) -> bool:
    return (row["age"], row["gender"]) != (row["said_age"], row["said_gender"])


def trained(workspace: Workspace) -> dict:
    """What `metrics.json` has of the test faces."""
    assert run(["train", "--workspace", str(workspace.root), *QUICK]) == 0
    newest = max(workspace.runs.iterdir(), key=str)
    return json.loads((newest / "metrics.json").read_text())["test"]["overall"]


def reviewed(workspace: Workspace, truth: dict[str, dict]) -> Iterator[Look]:
    """Each face that the queue puts first because of its label, in its order, answered as who knows the truth does."""
    reviews = open_reviews(workspace)
    with ThreadPoolExecutor(1) as background:
        queue = FaceQueue(partial(fetch, workspace, reviews), reviews, background, Claims())
        while (face := queue.head()) is not None:
            queue.answer(face, answer_to(face, truth[face.file_hash]), "who knows")
            yield face


def fetch(workspace: Workspace, reviews: Reviews, served: set) -> pl.DataFrame:
    return next_faces(pool_of(workspace, ""), "suspicious label", reviews.newest(), served, BLOCK)


def answer_to(face: Look, row: dict) -> Answer:
    if not is_wrong(row):
        return Answer("right")
    return Answer("corrected", int(row["age"]), other_gender=face.label_gender != row["gender"])


def test_the_queue_finds_wrong_labels_three_times_as_fast_as_random_order(loop: Loop) -> None:
    """By the looks until half of them are found: in random order, that takes half of the faces on average."""
    half = -(-loop.wrong // 2)
    found = np.cumsum(loop.hits)
    assert found[-1] >= half
    looks = int(np.argmax(found >= half)) + 1
    at_random = half * (loop.faces + 1) / (loop.wrong + 1)
    assert at_random / looks >= 3


def test_the_model_that_learns_from_the_reviews_is_better(loop: Loop) -> None:
    assert loop.after["faces"] == loop.before["faces"] == TEST
    assert loop.after["age_mae"] < loop.before["age_mae"]
