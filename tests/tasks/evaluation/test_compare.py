"""Two models on the same faces: what changes, whether that's more than chance, and which of them should be used."""

from collections.abc import Callable

import numpy as np
import pytest

from tasks.dataset import Truth
from tasks.evaluation.bootstrap import drawn_figures
from tasks.evaluation.compare import Change, clearly_worse, compare, in_words, overall, why_not_better
from tasks.evaluation.judged import Judged
from tests.judged import answers_with, judged, known_model


def better_by(before: Judged, *, errors: float = 1, right: float | None = None, seed: int = 1) -> Judged:
    """A model whose errors are so many times those of another. Its gender is right with a probability of `right`;
    None: it says what the other says."""
    truth, female = before.truth, before.answers.female
    if right is not None:
        female = np.where(np.random.default_rng(seed).random(len(before)) < right, truth.female, 1 - truth.female)
        female = 0.05 + 0.9 * female
    return judged(truth, answers_with(errors * before.age_errors(), truth.age, female=female))


def change_of(changes: list[Change], name: str) -> Change:
    return next(change for change in overall(changes) if change.name == name)


def test_a_change_is_the_second_figure_less_the_first_with_an_interval_around_it() -> None:
    before = known_model(400, 0)
    change = change_of(compare(before, better_by(before, errors=0.5)), "age_mae")
    assert (change.before, change.after) == pytest.approx((np.abs(before.age_errors()).mean(), change.before / 2))
    assert change.interval is not None
    assert change.interval[0] < change.difference < change.interval[1] < 0
    assert (change.verdict, change.faces) == ("better", 400)


def test_more_is_better_of_shares_and_less_of_errors() -> None:
    before = known_model(400, 0)
    verdicts = {each.name: each.verdict for each in overall(compare(before, better_by(before, errors=2, right=0.97)))}
    assert {name: verdicts[name] for name in ("age_mae", "cs5", "gender_accuracy", "age_bias", "interval_width")} == {
        "age_mae": "worse", "cs5": "worse", "gender_accuracy": "better", "age_bias": None, "interval_width": None,
    }  # fmt: skip


def test_a_model_does_not_differ_from_itself() -> None:
    changes = compare(known_model(100, 0), known_model(100, 0))
    assert {change.difference for change in changes} == {0}
    assert {change.verdict for change in changes} == {None}
    assert why_not_better(changes) is not None


def test_a_paired_interval_tells_apart_what_two_intervals_cannot() -> None:
    before = known_model(300, 0)
    after = better_by(before, errors=0.93)
    whole = [np.ones(300, bool)]
    first, second = (drawn_figures(faces, whole)[0]["age_mae"].interval() or (0, 0) for faces in (before, after))
    assert second[1] > first[0]  # the two intervals overlap
    change = change_of(compare(before, after), "age_mae")
    assert change.verdict == "better"
    assert change.interval is not None
    assert change.interval[1] - change.interval[0] < (first[1] - first[0]) / 2


@pytest.mark.slow
def test_two_equal_models_seldom_differ_by_more_than_chance() -> None:
    """95 % intervals: of 20 pairs of equally good models, about one is wrongly told apart."""
    pairs = ((known_model(150, seed), np.random.default_rng(seed + 500).normal(0, 5, 150)) for seed in range(20))
    changes = [compare(one, judged(one.truth, answers_with(errors, one.truth.age))) for one, errors in pairs]
    assert sum(change_of(each, "age_mae").verdict is not None for each in changes) <= 4


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (lambda before: better_by(before, errors=0.8), None),
        (lambda before: better_by(before, right=0.99), None),
        (lambda before: better_by(before, errors=0.8, right=0.6), "gender accuracy is worse"),
        (lambda before: better_by(before, errors=1.3, right=0.99), "age MAE is worse"),
        (better_by, "no better by more than chance in age MAE or gender accuracy"),
        (lambda before: judged(before.truth, answers_with(np.zeros(500), before.truth.age)), "has no gender accuracy"),
    ],
    ids=["age", "gender", "worse gender", "worse age", "equal", "age alone"],
)
def test_a_model_takes_over_where_it_is_better_in_one_thing_and_worse_in_none(
    after: Callable[[Judged], Judged], reason: str | None
) -> None:
    before = known_model(500, 0)
    found = why_not_better(compare(before, after(before)))
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_a_model_that_learns_gender_too_is_judged_by_what_both_have() -> None:
    faces = known_model(300, 0)
    alone = judged(faces.truth, answers_with(1.3 * faces.age_errors(), faces.truth.age))
    assert why_not_better(compare(alone, faces)) is None
    assert "gender accuracy: only with one of them" in in_words(compare(alone, faces))


def test_the_words_have_the_changes_and_their_intervals() -> None:
    before = known_model(500, 0)
    words = in_words(compare(before, better_by(before, errors=0.5)))
    assert words.startswith("On the same 500 faces: age MAE, years: -2.")
    assert "(95 % interval -2." in words
    assert "gender accuracy: +0.0 points (no interval)" in words


def test_a_group_that_fares_worse_is_named_though_all_faces_fare_better() -> None:
    before = known_model(600, 0)
    groups: list[str | None] = ["few" if index < 60 else "many" for index in range(600)]
    times = np.where(np.arange(600) < 60, 1.6, 0.6)
    after = answers_with(times * before.age_errors(), before.truth.age, female=before.answers.female)
    changes = compare(judged(before.truth, before.answers, camera=groups), judged(before.truth, after, camera=groups))
    worse = [(change.column, change.group, change.name) for change in clearly_worse(changes)]
    assert change_of(changes, "age_mae").verdict == "better"
    assert worse == [("camera", "few", "age_mae")]


@pytest.mark.filterwarnings("error")
def test_faces_of_unknown_age_give_no_change_and_no_error() -> None:
    nothing = Truth(np.full(100, np.nan), np.full(100, np.nan))
    faces = judged(nothing, answers_with(np.zeros(100), np.full(100, 40.0)))
    assert compare(faces, faces) == []
    assert why_not_better([]) == "no better by more than chance in anything"
