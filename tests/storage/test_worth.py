from pathlib import Path
from typing import get_args

import polars as pl
import pytest

from storage import queries
from storage.queries import FaceFilter
from storage.reviews import Reviews, Shown, open_reviews
from storage.values import FindingKind, LabelStatus
from storage.workspace import Workspace, open_workspace
from storage.worth import RANDOM_EVERY, REASONS, Reason, by_age, is_all_labelled, next_faces, pool_of, waiting
from tests.findings import finding, write_findings
from tests.rows import content_hash, face_row, faces, file_row, files, label_row, labels, score_row, scores

_MODEL, _OTHER = "m" * 64, "o" * 64
_NAMES = [f"{number}.jpg" for number in range(200)]
_DOUBTS = {  # the score that makes a face worth a look, by the reason it gets
    "uncertain gender": {"female": 0.52},
    "wide interval": {"age_low": 0.0, "age_high": 80.0},
    "low quality": {"quality": 0.02},
}


@pytest.fixture(scope="module")
def not_drawn(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The photos that aren't in the random share of _MODEL."""
    opened = open_workspace(str(tmp_path_factory.mktemp("drawn") / "workspace"))
    opened.append("scores", scores(*map(_sure, _NAMES)))
    drawn = _hashes(_next(opened, "random", most=200), "random")
    return [name for name in _NAMES if content_hash(name) not in drawn]


@pytest.fixture
def workspace(tmp_path: Path, not_drawn: list[str]) -> Workspace:
    """200 photos with a sure estimate each, but for three with a doubt."""
    opened = open_workspace(str(tmp_path / "workspace"))
    opened.append("files", files(*(file_row(name) for name in _NAMES)))
    opened.append("faces", faces(*(face_row(name) for name in _NAMES)))
    doubts = dict(zip(not_drawn, _DOUBTS.values(), strict=False))
    opened.append("scores", scores(*(_sure(name) | doubts.get(name, {}) for name in _NAMES)))
    return opened


@pytest.fixture
def reviews(workspace: Workspace) -> Reviews:
    return open_reviews(workspace)


def _sure(name: str) -> dict:
    return score_row(name, age_low=29.0, age_high=31.0, female=0.99, quality=0.95)


def _next(
    workspace: Workspace, reason: Reason | None = None, *, model=_MODEL, said=None, served=(), most: int = 100
) -> pl.DataFrame:
    pool = pool_of(workspace, model)
    return next_faces(pool, reason, queries.no_reviews() if said is None else said, served, most)


def _reasons(workspace: Workspace, reason: Reason | None = None) -> list[str]:
    return _next(workspace, reason)["reason"].to_list()


def _hashes(found: pl.DataFrame, reason: str) -> set[str]:
    return set(found.filter(pl.col("reason") == reason)["file_hash"])


def test_every_reason_has_its_place_in_the_order_of_the_pages() -> None:
    assert get_args(Reason) == REASONS


def test_what_the_model_doubts_comes_first_with_its_reason(workspace: Workspace) -> None:
    assert _reasons(workspace)[:3] == list(_DOUBTS)


def test_models_that_disagree_on_a_face_make_it_worth_a_look(workspace: Workspace, not_drawn: list[str]) -> None:
    name = not_drawn[-1]
    other = _sure(name) | {"model_hash": _OTHER, "age": 55.0}
    workspace.append("scores", scores(other))
    first = _next(workspace).row(0, named=True)
    assert (first["file_hash"], first["reason"]) == (content_hash(name), "models disagree")


def test_the_gallery_can_be_ordered_as_the_queue_is(workspace: Workspace, not_drawn: list[str]) -> None:
    write_findings(workspace, finding(not_drawn[-1], FindingKind.SUSPICIOUS_AGE))
    pool = pool_of(workspace, _MODEL)
    shown = queries.faces_page(
        workspace, FaceFilter(_MODEL), queries.no_reviews(), "most worth a look", slice(0, 4), worths=pool.faces
    )
    asked = next_faces(pool, None, queries.no_reviews(), (), 4)
    assert shown["file_hash"].to_list() == asked["file_hash"].to_list()
    assert shown["file_hash"][0] == content_hash(not_drawn[-1])


def test_the_ages_of_what_was_scored_are_the_gallerys(workspace: Workspace) -> None:
    workspace.append("scores", scores(_sure("old.jpg") | {"age": 71.5, "female": 0.5}))
    write_findings(workspace, finding("never scored", FindingKind.SUSPICIOUS_AGE))
    pool = pool_of(workspace, _MODEL)
    assert by_age(pool).equals(queries.all_by_age(workspace, FaceFilter(_MODEL)))
    assert by_age(pool).sum()["faces"].item() == len(pool.faces) - 1


def test_a_suspicious_label_comes_before_everything_else_even_without_a_score(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("labelled.jpg")))
    workspace.append("faces", faces(face_row("labelled.jpg")))
    workspace.append("labels", labels(label_row("labelled.jpg", age=62.0, gender="male")))
    write_findings(
        workspace, finding("labelled.jpg", FindingKind.SUSPICIOUS_AGE), finding(_NAMES[0], FindingKind.NEAR_DUPLICATE)
    )
    first = _next(workspace).row(0, named=True)
    assert (first["file_hash"], first["reason"]) == (content_hash("labelled.jpg"), "suspicious label")
    assert (first["label_age"], first["label_gender"], first["age"]) == (62.0, "male", None)
    assert first["crop"] == face_row("labelled.jpg")["crop"]
    assert _hashes(_next(workspace), "suspicious label") == {content_hash("labelled.jpg")}


def test_the_most_suspicious_label_comes_first(workspace: Workspace, not_drawn: list[str]) -> None:
    names = not_drawn[-3:]
    scored = zip(names, (0.2, 0.9, 0.5), strict=True)
    write_findings(workspace, *(finding(name, FindingKind.SUSPICIOUS_GENDER, score=score) for name, score in scored))
    found = _next(workspace, "suspicious label")["file_hash"].to_list()
    assert found == [content_hash(names[place]) for place in (1, 2, 0)]


def test_one_look_in_ten_is_at_a_face_drawn_at_random(workspace: Workspace) -> None:
    reasons = _reasons(workspace)
    drawn = [place for place, reason in enumerate(reasons) if reason == "random"]
    assert drawn == list(range(RANDOM_EVERY - 1, len(reasons), RANDOM_EVERY))[: len(drawn)]
    assert len(drawn) > 5


def test_the_draw_is_the_same_each_time_and_another_for_another_model(workspace: Workspace) -> None:
    drawn = _hashes(_next(workspace), "random")
    assert _hashes(_next(workspace), "random") == drawn
    workspace.append("scores", scores(*(_sure(name) | {"model_hash": _OTHER} for name in _NAMES)))
    assert _hashes(_next(workspace, model=_OTHER), "random") != drawn


def test_a_doubtful_face_has_the_same_chance_to_be_drawn_as_any(tmp_path: Path) -> None:
    """Whether a face is drawn must not depend on what the model says of it."""
    drawn = []
    for female in (0.5, 0.99):
        opened = open_workspace(str(tmp_path / f"{female}"))
        opened.append("scores", scores(*(_sure(name) | {"female": female} for name in _NAMES)))
        drawn.append(_hashes(_next(opened, "random", most=200), "random"))
    assert drawn[0] == drawn[1]
    assert 5 < len(drawn[0]) < 40


def test_a_face_whose_photo_has_a_label_is_not_drawn_and_stays_in_the_other_orders(workspace: Workspace) -> None:
    """The model may have learnt it by heart."""
    drawn = sorted(_hashes(_next(workspace, most=200), "random"))
    labelled, first = drawn[: len(drawn) // 2], _next(workspace).row(0, named=True)["file_hash"]
    workspace.append("labels", labels(*(label_row("", file_hash=file_hash) for file_hash in [*labelled, first])))
    found = _next(workspace, most=200)
    assert _hashes(found, "random") == set(drawn) - set(labelled)
    assert set(labelled) <= set(found["file_hash"])
    assert found["file_hash"][0] == first


def test_an_invalid_label_is_a_label_too(workspace: Workspace) -> None:
    """A person may have healed it, and the model learnt from that."""
    [drawn, *_] = sorted(_hashes(_next(workspace), "random"))
    workspace.append("labels", labels(label_row("", file_hash=drawn, age=None, status=LabelStatus.INVALID)))
    assert drawn not in _hashes(_next(workspace), "random")


def test_where_every_scored_face_is_labelled_none_is_drawn_and_none_is_lost(workspace: Workspace) -> None:
    assert not is_all_labelled(pool_of(workspace, _MODEL))
    workspace.append("labels", labels(*map(label_row, _NAMES)))
    assert is_all_labelled(pool_of(workspace, _MODEL))
    assert "random" not in _reasons(workspace)
    assert len(_next(workspace, most=300)) == len(_NAMES)


def test_a_reviewed_face_is_not_shown_again(workspace: Workspace, reviews: Reviews) -> None:
    first = _next(workspace).row(0, named=True)["file_hash"]
    reviews.add((first, 0), "right", "Ada", shown=Shown("uncertain gender", 30.0, "female", "pretrained"))
    assert first not in _next(workspace, said=reviews.newest())["file_hash"].to_list()


def test_a_drawn_face_that_was_reviewed_for_another_reason_is_asked_about_all_the_same(
    workspace: Workspace, reviews: Reviews
) -> None:
    """Left out, the sample would lack just the faces that caught someone's eye."""
    drawn = sorted(_hashes(_next(workspace), "random"))
    reviews.add((drawn[0], 0), "corrected", "Ada", age=50)
    reviews.add((drawn[1], 0), "right", "Ada", shown=Shown("random", 30.0, "female", "pretrained"))
    left = _hashes(_next(workspace, said=reviews.newest()), "random")
    assert drawn[0] in left
    assert drawn[1] not in left


def test_faces_already_handed_out_are_left_out(workspace: Workspace) -> None:
    first = _next(workspace, most=50)
    then = _next(workspace, served=first.select("file_hash", "face_index").rows(), most=50)
    assert not set(first["file_hash"]) & set(then["file_hash"])
    assert len(then) == 50


def test_only_faces_of_one_reason_are_shown_when_asked_for(workspace: Workspace) -> None:
    assert set(_reasons(workspace, "low quality")) == {"low quality"}
    assert set(_reasons(workspace, "random")) == {"random"}


def test_what_waits_is_counted_by_reason(workspace: Workspace, reviews: Reviews) -> None:
    assert dict(waiting(pool_of(workspace, _MODEL), reviews.newest()).iter_rows()) == dict.fromkeys(_DOUBTS, 1)
    first = _next(workspace).row(0, named=True)
    reviews.add((first["file_hash"], 0), "right", "Ada")
    assert first["reason"] not in waiting(pool_of(workspace, _MODEL), reviews.newest())["reason"].to_list()


def test_a_workspace_without_scores_has_nothing_to_show(tmp_path: Path) -> None:
    empty = open_workspace(str(tmp_path / "empty"))
    assert _next(empty, model="").is_empty()
    assert not is_all_labelled(pool_of(empty, ""))
    assert waiting(pool_of(empty, ""), queries.no_reviews()).is_empty()
