from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.session import OnnxModel
from storage.registry import register
from storage.workspace import Workspace, now, open_workspace
from tasks.drift import FIGURES, LEARNT, Week, answers_for, drift, drift_since, histogram, stability_index
from tests.rows import crop_of, face_row, faces, label_row, labels, score_row, scores

counts = st.lists(st.integers(0, 10_000), min_size=3, max_size=3).map(np.array)


def ages(mean: float, faces: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 15, faces)


def test_the_index_is_that_of_the_closed_form() -> None:
    # Shares of 1/4 and 3/4 against 3/4 and 1/4: 2 * (1/2) * ln 3, once the half faces no longer count.
    found = stability_index(np.array([10_000_000, 30_000_000]), np.array([30_000_000, 10_000_000]))
    assert found == pytest.approx(np.log(3), abs=1e-6)


def test_the_half_faces_keep_an_empty_bin_finite() -> None:
    # Shares of 1/2 and 1/2 against 1/40 and 39/40: (19/40) ln(1/2 / (1/40)) + (-19/40) ln(1/2 / (39/40))
    found = stability_index(np.array([19, 19]), np.array([0, 19]))
    p, q = np.array([19.5, 19.5]) / 39, np.array([0.5, 19.5]) / 20
    assert found == pytest.approx(19 / 40 * (np.log(20) - np.log(20 / 39)))
    assert found == pytest.approx(((p - q) * np.log(p / q)).sum())


@given(counts, counts)
def test_the_index_is_symmetric_and_never_negative(earlier: np.ndarray, later: np.ndarray) -> None:
    found = stability_index(earlier, later)
    assert found >= 0
    assert found == pytest.approx(stability_index(later, earlier))


def test_equal_shares_have_no_distance() -> None:
    assert stability_index(np.array([5, 5, 5]), np.array([5, 5, 5])) == 0


def test_the_index_of_a_shift_nears_jeffreys_divergence_of_two_normals() -> None:
    """Of two normals of one width it is (shift / width)^2; ten bins keep most of that."""
    found = drift("age", histogram(ages(30, 200_000)), ages(36, 200_000, seed=1))
    assert 0.85 * (6 / 15) ** 2 < found.index < (6 / 15) ** 2
    assert found.verdict == "moved"


def test_one_distribution_is_steady_in_99_weeks_of_100() -> None:
    rng = np.random.default_rng(0)
    weeks = [drift("age", histogram(rng.normal(30, 15, 2000)), rng.normal(30, 15, 120)).verdict for _ in range(300)]
    assert weeks.count("steady") >= 294


def test_without_the_bound_by_chance_small_weeks_would_give_false_alarms() -> None:
    rng = np.random.default_rng(0)
    over = [drift("age", histogram(rng.normal(30, 15, 2000)), rng.normal(30, 15, 120)).index > 0.1 for _ in range(300)]
    assert sum(over) > 30


@pytest.mark.parametrize(("mean", "verdict"), [(30, "steady"), (36, "moved"), (45, "moved far")])
def test_the_further_it_moves_the_louder_the_verdict(mean: float, verdict: str) -> None:
    assert drift("age", histogram(ages(30, 5000)), ages(mean, 5000, seed=1)).verdict == verdict


def test_a_histogram_is_of_the_deciles_and_leaves_out_what_is_no_number() -> None:
    found = histogram(np.array([*range(100), np.nan, np.inf], np.float32))
    assert (len(found.edges), found.counts, found.median) == (9, [10] * 10, 49.5)


def test_of_nothing_a_histogram_has_no_faces() -> None:
    found = histogram(np.empty(0))
    assert (found.edges, found.counts, found.faces, np.isnan(found.median)) == ([], [0], 0, True)


def test_a_few_faces_are_no_reason_to_say_anything() -> None:
    found = drift("age", histogram(ages(30, 5000)), ages(60, 99))
    assert (found.verdict, found.faces) == ("too few faces", 99)


def test_what_is_no_number_is_left_out() -> None:
    later = np.concatenate([ages(30, 500, seed=1), np.full(500, np.nan)])
    assert drift("age", histogram(ages(30, 5000)), later).faces == 500


def test_a_figure_that_piles_up_at_its_ends_is_compared_too() -> None:
    """A probability is often 0 or 1 to the last digit, so deciles fall together."""
    earlier = np.repeat([0.0, 1.0], [800, 200])
    assert drift("female", histogram(earlier), np.repeat([0.0, 1.0], [800, 200])).verdict == "steady"
    assert drift("female", histogram(earlier), np.repeat([0.0, 1.0], [200, 800])).verdict == "moved far"


def test_a_figure_that_never_varied_moves_when_it_varies() -> None:
    assert drift("quality", histogram(np.ones(500)), np.zeros(500)).verdict == "moved far"
    assert drift("quality", histogram(np.ones(500)), np.ones(500)).verdict == "steady"


AGO = timedelta(days=30)
CROP = crop_of(0)


def store(workspace: Workspace, name: str, mean: float, found_ago: timedelta, model: str = "m" * 64) -> list[str]:
    """150 faces of that mean age, found so long ago and scored just now."""
    names = [f"{name}-{index}" for index in range(150)]
    rows = zip(names, ages(mean, 150, seed=len(name)), strict=True)
    workspace.append("faces", faces(*(face_row(each, crop=CROP, extracted_at=now() - found_ago) for each in names)))
    workspace.append("scores", scores(*(score_row(each, age=age, model_hash=model) for each, age in rows)))
    return names


def verdicts(week: Week) -> dict[str, str]:
    return {each.figure: each.verdict for each in week.drifts}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def test_before_anything_is_scored_nothing_moves(workspace: Workspace) -> None:
    assert drift_since(workspace, now()).drifts == ()


def test_a_week_of_older_people_moves_the_ages_alone(workspace: Workspace) -> None:
    store(workspace, "earlier", 30, AGO)
    store(workspace, "late", 60, timedelta())
    week = drift_since(workspace, now() - timedelta(days=7))
    assert week.reference == "the faces found before"
    assert verdicts(week) == {"age": "moved far", "female": "steady", "quality": "steady"}


def test_a_new_model_that_scores_all_again_makes_no_week_of_it(workspace: Workspace) -> None:
    store(workspace, "earlier", 30, AGO)
    week = drift_since(workspace, now() - timedelta(days=7))
    assert [each.faces for each in week.drifts] == [0, 0, 0]


def test_the_labelled_faces_are_the_reference_where_they_are_scored(workspace: Workspace) -> None:
    store(workspace, "unlabelled", 60, AGO)
    workspace.append("labels", labels(*(label_row(each) for each in store(workspace, "labelled", 30, AGO))))
    store(workspace, "late", 60, timedelta())
    week = drift_since(workspace, now() - timedelta(days=7))
    assert (week.reference, verdicts(week)["age"]) == ("the labelled faces", "moved far")


def noted(workspace: Workspace, mean: float, count: int = 500) -> str:
    """A version whose export noted answers of that mean age for the faces that it learnt from: its hash."""
    seen = {"age": ages(mean, count), "quality": np.full(count, 0.8)}
    learnt = {figure: asdict(histogram(values)) for figure, values in seen.items()}
    return register(workspace, b"a model", "# card", {LEARNT: learnt}).model_hash


def test_the_faces_that_the_model_learnt_from_are_the_reference_where_its_export_noted_them(
    workspace: Workspace,
) -> None:
    model = noted(workspace, 30)
    labelled = store(workspace, "labelled", 60, AGO, model)
    workspace.append("labels", labels(*map(label_row, labelled)))
    store(workspace, "late", 60, timedelta(), model)
    week = drift_since(workspace, now() - timedelta(days=7))
    assert week.reference == "the faces that the model learnt from"
    assert verdicts(week) == {"age": "moved far", "female": "too few faces", "quality": "steady"}


def test_where_it_learnt_from_few_faces_these_are_no_reference(workspace: Workspace) -> None:
    model = noted(workspace, 30, count=99)
    store(workspace, "earlier", 60, AGO, model)
    store(workspace, "late", 60, timedelta(), model)
    week = drift_since(workspace, now() - timedelta(days=7))
    assert (week.reference, verdicts(week)["age"]) == ("the faces found before", "steady")


def test_the_answers_for_crops_are_a_histogram_of_each_figure(model_file: Path) -> None:
    greys = np.stack([np.full((128, 128, 3), 4 * age, np.uint8) for age in range(10, 60)])
    found = answers_for(OnnxModel(model_file.read_bytes(), "tiny", "cpu"), greys)
    assert {figure: sum(each["counts"]) for figure, each in found.items()} == dict.fromkeys(FIGURES, 50)
    assert found["age"]["median"] == pytest.approx(34.5)  # tiny_model knows the age from the grey
    assert found["quality"]["median"] == 0  # there is no face in them


def test_another_models_scores_do_not_count(workspace: Workspace) -> None:
    store(workspace, "earlier", 80, AGO, model="x" * 64)
    store(workspace, "before", 30, AGO)
    store(workspace, "late", 30, timedelta())
    assert verdicts(drift_since(workspace, now() - timedelta(days=7)))["age"] == "steady"
