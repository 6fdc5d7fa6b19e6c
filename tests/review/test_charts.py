"""Many models in one chart stay apart, and its legend stays short."""

from datetime import date, timedelta

import polars as pl

from review.charts import KIND_COLOURS, error_chart
from storage.live_error import AGE_ERROR, GENDER_ACCURACY


def _weeks(versions: dict[str, int]) -> pl.DataFrame:
    """Rows of live_error_by_week: for each version the number of its week."""
    rows = [
        (date(2026, 3, 2) + timedelta(weeks=week), version, figure, 0.9, 0.8, 1.0, 30)
        for version, week in versions.items()
        for figure in (AGE_ERROR, GENDER_ACCURACY)
    ]
    return pl.DataFrame(rows, ["week", "model_version", "figure", "value", "low", "high", "faces"], orient="row")


def test_models_of_one_week_stand_side_by_side() -> None:
    drawn = error_chart(_weeks({"a": 0, "b": 1, "c": 1}), AGE_ERROR, ".1f").data
    assert drawn.select("model", "at").rows() == [
        ("a", date(2026, 3, 2)),
        ("b", date(2026, 3, 9)),
        ("c", date(2026, 3, 10)),
    ]


def test_of_many_models_the_newest_have_a_colour_each() -> None:
    chart = error_chart(_weeks({f"version {week}": week for week in range(9)}), AGE_ERROR, ".1f")
    scale = chart.to_dict()["layer"][0]["encoding"]["color"]["scale"]
    assert scale["domain"] == [*(f"version {week}" for week in (8, 7, 6, 5, 4)), "earlier models"]
    assert scale["range"] == list(KIND_COLOURS)


def test_a_legend_of_long_names_has_a_line_for_each_and_takes_nothing_from_the_chart() -> None:
    few, many = (error_chart(_weeks({f"{week}": week for week in range(count)}), AGE_ERROR, ".1f") for count in (2, 4))
    assert few.to_dict()["layer"][0]["encoding"]["color"]["legend"]["columns"] == 1
    assert many.to_dict()["height"] > few.to_dict()["height"]
