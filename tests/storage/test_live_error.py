from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from storage.live_error import AGE_ERROR, GENDER_ACCURACY, live_error, live_error_by_week
from storage.reviews import Reviews, Shown, open_reviews
from storage.workspace import open_workspace

_VERSION, _OTHER = "20260101-000000-aaaaaaaa", "20260108-000000-bbbbbbbb"
_SHOWN = Shown("random", 40.0, "female", _VERSION)


@pytest.fixture
def reviews(tmp_path: Path) -> Reviews:
    return open_reviews(open_workspace(str(tmp_path / "workspace")))


def _add(
    reviews: Reviews, count: int, verdict: str, *, age: float | None = None, gender: str | None = None, shown=_SHOWN
) -> None:
    start = reviews.last_id()
    for number in range(start, start + count):
        reviews.add((f"{number:064x}", 0), verdict, "Ada", age=age, gender=gender, shown=shown)


def _answers(reviews: Reviews) -> pl.DataFrame:
    return reviews.given_for("random").filter(pl.col("model_version") == _VERSION)


def test_the_age_error_is_what_reviewers_changed_and_right_counts_as_none(reviews: Reviews) -> None:
    _add(reviews, 30, "right")
    _add(reviews, 10, "corrected", age=48)
    mae = live_error(_answers(reviews)).age_mae
    assert mae is not None
    assert (mae.value, mae.faces) == (2.0, 40)
    assert 0.5 < mae.low < 2.0 < mae.high < 3.6


def test_who_corrects_only_the_age_lets_the_gender_stand(reviews: Reviews) -> None:
    _add(reviews, 15, "right")
    _add(reviews, 4, "corrected", age=48)
    _add(reviews, 1, "corrected", gender="male")
    accuracy = live_error(_answers(reviews)).gender_accuracy
    assert accuracy is not None
    assert (accuracy.value, accuracy.faces) == (0.95, 20)
    assert (round(accuracy.low, 3), round(accuracy.high, 3)) == (0.764, 0.991)  # Wilson's interval of 19 in 20


def test_what_is_no_face_has_no_age_error_but_a_share_of_its_own(reviews: Reviews) -> None:
    _add(reviews, 20, "right")
    _add(reviews, 5, "not_a_face")
    found = live_error(_answers(reviews))
    assert found.age_mae is not None
    assert found.no_faces is not None
    assert (found.reviewed, found.age_mae.faces, found.no_faces.value) == (25, 20, 0.2)


def test_too_few_answers_give_no_figure(reviews: Reviews) -> None:
    _add(reviews, 19, "right")
    found = live_error(_answers(reviews))
    assert (found.reviewed, found.age_mae, found.gender_accuracy) == (19, None, None)
    assert live_error_by_week(_answers(reviews)).is_empty()


def test_only_random_faces_shown_with_that_model_count_and_withdrawn_answers_do_not(reviews: Reviews) -> None:
    _add(reviews, 20, "right")
    reviews.add(("f" * 64, 0), "right", "Ada", shown=Shown("wide interval", 40.0, "female", _VERSION))
    reviews.add(("e" * 64, 0), "right", "Ada", shown=Shown("random", 40.0, "female", "another"))
    reviews.add((f"{0:064x}", 0), "withdrawn", "Ada", shown=_SHOWN)
    assert live_error(_answers(reviews)).reviewed == 19


def test_a_later_review_from_the_gallery_does_not_bias_the_measure(reviews: Reviews) -> None:
    _add(reviews, 20, "right")
    reviews.add((f"{0:064x}", 0), "corrected", "Ben", age=80)
    mae = live_error(_answers(reviews)).age_mae
    assert mae is not None
    assert mae.value == 0


def test_weeks_with_enough_answers_are_shown(reviews: Reviews) -> None:
    _add(reviews, 10, "right")
    _add(reviews, 10, "corrected", age=44)
    weeks = live_error_by_week(_answers(reviews))
    assert weeks.select("model_version", "figure", "value", "faces").rows() == [
        (_VERSION, AGE_ERROR, 2.0, 20),
        (_VERSION, GENDER_ACCURACY, 1.0, 20),
    ]
    assert (weeks["low"] < weeks["value"]).all()


def test_a_new_model_goes_on_where_the_one_before_it_ended(reviews: Reviews, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two weeks, and a promotion in the second of them: three points, of which none mixes models or weeks."""
    other = Shown("random", 40.0, "female", _OTHER)
    monkeypatch.setattr("storage.reviews.now", lambda: datetime(2026, 3, 4, tzinfo=UTC))
    _add(reviews, 20, "corrected", age=45)
    monkeypatch.setattr("storage.reviews.now", lambda: datetime(2026, 3, 9, tzinfo=UTC))  # the next Monday
    _add(reviews, 20, "corrected", age=44)
    _add(reviews, 20, "corrected", age=41, gender="male", shown=other)
    _add(reviews, 19, "right", shown=Shown("random", 40.0, "female", "of few faces"))
    weeks = live_error_by_week(reviews.given_for("random"))
    assert weeks.filter(figure=AGE_ERROR).select("week", "model_version", "value").rows() == [
        (date(2026, 3, 2), _VERSION, 5.0),
        (date(2026, 3, 9), _VERSION, 4.0),
        (date(2026, 3, 9), _OTHER, 1.0),
    ]
    assert weeks.filter(figure=GENDER_ACCURACY)["value"].to_list() == [1.0, 1.0, 0.0]
    assert live_error(_answers(reviews)).reviewed == 40


def test_one_face_counts_for_each_model_that_it_was_drawn_for(reviews: Reviews) -> None:
    for version in (_VERSION, _OTHER):
        reviews.add(("a" * 64, 0), "right", "Ada", shown=Shown("random", 40.0, "female", version))
    reviews.add(("a" * 64, 0), "corrected", "Ben", age=41, shown=Shown("random", 40.0, "female", _OTHER))
    found = reviews.given_for("random").sort("model_version")
    assert found.select("model_version", "verdict").rows() == [(_VERSION, "right"), (_OTHER, "corrected")]
