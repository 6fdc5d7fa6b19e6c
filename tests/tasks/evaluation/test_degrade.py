"""Degradations are by the amount they say, and the table says what a model of known judgement makes of them."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from models.session import OnnxModel
from storage.schemas import ROBUSTNESS
from tasks.dataset import Truth
from tasks.evaluation.degrade import (
    LEVELS,
    Level,
    SmallestFace,
    blurred,
    darker,
    degrade,
    downscaled,
    grey,
    jpeg,
    robustness,
    rotated,
    sample,
    smallest_face,
)

SIDE = 128
CROPS = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
SMOOTH = blurred(CROPS, 6)
UNCHANGED = (
    Level("none", 0),
    Level("downscaled", SIDE),
    Level("blurred", 0),
    Level("rotated", 0),
    Level("darker", 1),
    Level("grey", 1),
)


def flat(*values: int) -> np.ndarray:
    return np.stack([np.full((SIDE, SIDE, 3), value, np.uint8) for value in values])


def differ(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("level", UNCHANGED, ids=lambda level: level.degradation)
def test_no_amount_changes_nothing(level: Level) -> None:
    assert np.array_equal(degrade(CROPS, level), CROPS)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: f"{level.degradation} {level.level:g}")
def test_crops_stay_crops_and_those_given_are_left_alone(level: Level) -> None:
    given = CROPS.copy()
    degraded = degrade(given, level)
    assert (degraded.shape, degraded.dtype) == (CROPS.shape, np.uint8)
    assert np.array_equal(given, CROPS)
    assert level.degradation == "none" or differ(degraded, CROPS) > 0


@pytest.mark.parametrize("side", [64, 32, 16, 8])
def test_downscaling_keeps_the_mean(side: int) -> None:
    assert downscaled(SMOOTH, side).mean(axis=(1, 2)) == pytest.approx(SMOOTH.mean(axis=(1, 2)), abs=0.5)


def test_downscaling_by_two_melts_a_chessboard_of_single_pixels() -> None:
    board = (np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert set(np.unique(downscaled(np.dstack([board] * 3)[None], SIDE // 2))) <= {127, 128}


def test_a_blurred_edge_is_the_integral_of_a_gaussian() -> None:
    edge = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    edge[:, :, SIDE // 2 :] = 200
    expected = 200 * norm.cdf(np.arange(SIDE), SIDE / 2 - 0.5, 4)
    assert blurred(edge, 4)[0, 60, :, 1] == pytest.approx(expected, abs=2)


def test_half_and_quarter_turns_move_every_pixel_to_its_place() -> None:
    assert np.array_equal(rotated(CROPS, 180), CROPS[:, ::-1, ::-1])
    assert np.array_equal(rotated(CROPS, 90), np.rot90(CROPS, axes=(1, 2)))


def test_a_turn_and_back_shows_the_middle_again() -> None:
    there_and_back = rotated(rotated(SMOOTH, 20), -20)
    assert differ(there_and_back[:, 32:96, 32:96], SMOOTH[:, 32:96, 32:96]) < 1


def test_a_share_of_the_light_is_left() -> None:
    assert darker(flat(200, 10), 0.2)[:, 0, 0, 0].tolist() == [40, 2]


def test_grey_has_the_luma_of_the_colour() -> None:
    colour = np.broadcast_to(np.array([200, 100, 50], np.uint8), (1, SIDE, SIDE, 3))
    assert set(grey(colour, 0).ravel()) == {round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)}
    assert grey(colour, 0.5)[0, 0, 0].tolist() == pytest.approx([162, 112, 87], abs=1)


def test_a_poorer_jpeg_is_farther_from_the_picture() -> None:
    away = [differ(jpeg(SMOOTH, quality), SMOOTH) for quality in (100, 30, 10, 5)]
    assert away == sorted(away)
    assert away[0] < 1


@pytest.fixture(scope="module")
def model(model_file: Path) -> OnnxModel:
    """Its age is the mean of a crop divided by 4, its interval 5 years to either side, its female the mean by 255."""
    return OnnxModel(model_file.read_bytes(), "tiny", "cpu")


BRIGHT = flat(40, 80, 160, 240)
TRUTH = Truth(np.array([10, 20, 40, 60], np.float32), np.array([0, 0, 1, 1], np.float32))


def test_a_model_of_known_judgement_gets_its_known_figures(model: OnnxModel) -> None:
    table = robustness(model, BRIGHT, TRUTH, (Level("none", 0), Level("rotated", 45), Level("darker", 0.5)))
    columns = ["degradation", "level", "faces", "age_mae", "gender_accuracy", "interval_coverage"]
    assert table.select(columns).rows() == [
        ("none", 0, 4, 0, 1, 1),
        ("rotated", 45, 4, 0, 1, 1),
        ("darker", 0.5, 4, (5 + 10 + 20 + 30) / 4, 0.5, 0.25),
    ]


def test_the_table_is_of_its_schema_and_has_a_row_for_each_level(model: OnnxModel, tmp_path: Path) -> None:
    table = robustness(model, BRIGHT, TRUTH)
    assert [Level(*row) for row in table.select("degradation", "level").iter_rows()] == list(LEVELS)
    assert table.columns == ROBUSTNESS.names
    table.write_parquet(tmp_path / "robustness.parquet")
    assert pl.read_parquet(tmp_path / "robustness.parquet").equals(table)
    assert json.loads(table.write_json())[0]["age_mae"] == 0


def test_each_figure_has_the_interval_that_chance_leaves_it(model: OnnxModel) -> None:
    ages = np.tile(np.array([10, 20, 40, 60], np.float32), 50)
    crops = flat(*(4 * ages).astype(int))
    truth = Truth(ages + np.tile([0, 3, 9], 67)[:200].astype(np.float32), (ages > 31).astype(np.float32))
    (row,) = robustness(model, crops, truth, LEVELS[:1]).iter_rows(named=True)
    error = np.abs(truth.age - ages).std() / np.sqrt(len(ages))
    assert row["age_mae_low"] == pytest.approx(row["age_mae"] - 1.96 * error, abs=0.1)
    assert row["age_mae_high"] == pytest.approx(row["age_mae"] + 1.96 * error, abs=0.1)
    assert row["interval_coverage_low"] < row["interval_coverage"] < row["interval_coverage_high"]
    assert row["gender_accuracy_low"] is None  # all are right


def test_unknown_ages_have_no_figures(model: OnnxModel) -> None:
    unknown = Truth(np.full(4, np.nan, np.float32), TRUTH.female)
    (row,) = robustness(model, BRIGHT, unknown, LEVELS[:1]).iter_rows(named=True)
    assert (row["age_mae"], row["interval_coverage"], row["gender_accuracy"]) == (None, None, 1)


def test_every_judged_face_is_told(model: OnnxModel) -> None:
    told: list[int] = []
    robustness(model, BRIGHT, TRUTH, LEVELS[:3], told.append)
    assert told == [4, 4, 4]


def sizes(*rows: tuple[float, float | None, float | None]) -> pl.DataFrame:
    """A table of the size 128 as it is, and of smaller ones: side, age_mae, gender_accuracy."""
    named = [
        {
            "degradation": "downscaled" if side < SIDE else "none",
            "level": side,
            "age_mae": mae,
            "gender_accuracy": right,
        }
        for side, mae, right in rows
    ]
    return pl.DataFrame(named, schema_overrides={"age_mae": pl.Float64, "gender_accuracy": pl.Float64}, strict=False)


def test_the_smallest_face_is_the_last_before_age_is_a_tenth_worse() -> None:
    found = smallest_face(sizes((128, 5, 0.95), (64, 5.1, 0.95), (32, 5.4, 0.945), (16, 5.6, 0.95)))
    assert found is not None
    assert found.side == 32
    assert (found.age_mae_growth, found.gender_loss) == pytest.approx((0.4, 0.005))


def test_the_smallest_face_is_the_last_before_gender_is_two_points_worse() -> None:
    found = smallest_face(sizes((128, 5, 0.95), (64, 5.1, 0.94), (32, 5.1, 0.925)))
    assert found is not None
    assert found.side == 64


def test_a_size_that_is_good_by_luck_does_not_count_below_one_that_is_not() -> None:
    found = smallest_face(sizes((128, 5, 0.95), (64, 5, 0.95), (32, 6, 0.95), (16, 5, 0.95)))
    assert found is not None
    assert found.side == 64


def test_a_model_that_no_size_is_good_enough_for_has_none() -> None:
    assert smallest_face(sizes((128, 5, 0.95), (64, 9, 0.95))) is None


def test_without_genders_the_age_decides() -> None:
    assert smallest_face(sizes((128, 5, None), (64, 5, None))) == SmallestFace(64, 0, None)


def test_a_sample_is_spread_over_all_and_the_same_each_time() -> None:
    assert sample(5, 10).tolist() == [0, 1, 2, 3, 4]
    chosen = sample(2000, 400)
    assert len(set(chosen.tolist())) == 400
    assert (chosen[0], chosen[-1]) == (0, 1999)
    assert np.array_equal(chosen, sample(2000, 400))
