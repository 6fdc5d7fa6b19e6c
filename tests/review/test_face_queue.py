"""The queue, over real tables and a real reviews database."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from review.answer import Answer
from review.face_queue import Claims, FaceQueue
from storage.reviews import Reviews, open_reviews
from storage.workspace import Workspace, open_workspace
from storage.worth import next_faces, pool_of
from tests.rows import face_row, faces, file_row, files, score_row, scores

_NAMES = [f"{number}.jpg" for number in range(12)]
_MODEL = "m" * 64
_RIGHT = Answer("right")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    opened = open_workspace(str(tmp_path / "workspace"))
    opened.append("files", files(*map(file_row, _NAMES)))
    opened.append("faces", faces(*map(face_row, _NAMES)))
    opened.append("scores", scores(*(score_row(name, female=0.5 + place / 30) for place, name in enumerate(_NAMES))))
    return opened


@pytest.fixture
def reviews(workspace: Workspace) -> Reviews:
    return open_reviews(workspace)


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def queue(workspace: Workspace, reviews: Reviews, background: ThreadPoolExecutor) -> FaceQueue:
    return _queue(workspace, reviews, background, Claims())


def _queue(workspace: Workspace, reviews: Reviews, background: ThreadPoolExecutor, claims: Claims) -> FaceQueue:
    def fetch(served):
        return next_faces(pool_of(workspace, _MODEL), None, reviews.newest(), served, 5)

    return FaceQueue(fetch, reviews, background, claims)


def _head(queue: FaceQueue):
    face = queue.head()
    assert face is not None
    return face


def _answer(queue: FaceQueue, said: Answer, reviewer: str = "Ada"):
    face = _head(queue)
    queue.answer(face, said, reviewer)
    return face


def test_every_face_comes_once_block_after_block(queue: FaceQueue, reviews: Reviews) -> None:
    shown = [_answer(queue, _RIGHT).key for _ in _NAMES]
    assert len(set(shown)) == len(_NAMES)
    assert queue.head() is None
    assert len(reviews.newest()) == queue.answered == len(_NAMES)


def test_an_answer_keeps_what_was_shown_and_what_was_said(queue: FaceQueue, reviews: Reviews) -> None:
    face = _answer(queue, Answer("corrected", 41, other_gender=True))
    [row] = reviews.of_photo(face.file_hash).to_dicts()
    assert (row["age"], row["gender"], row["old_age"], row["old_gender"]) == (41.0, "male", 30.0, "female")
    assert (row["reason"], row["model_version"], row["reviewer"]) == (face.reason, "pretrained", "Ada")


def test_an_age_alone_leaves_the_gender_unsaid(queue: FaceQueue, reviews: Reviews) -> None:
    face = _answer(queue, Answer("corrected", 41))
    assert reviews.of_photo(face.file_hash)["gender"].to_list() == [None]


def test_a_skipped_face_is_not_reviewed_and_does_not_come_again(queue: FaceQueue, reviews: Reviews) -> None:
    skipped = _answer(queue, Answer("skip"))
    shown = [_answer(queue, _RIGHT).key for _ in _NAMES[1:]]
    assert skipped.key not in shown
    assert reviews.of_photo(skipped.file_hash).is_empty()


def test_undo_withdraws_the_answer_and_shows_the_face_again(queue: FaceQueue, reviews: Reviews) -> None:
    face = _answer(queue, Answer("not_a_face"))
    queue.undo("Ada")
    assert reviews.newest().is_empty()
    assert reviews.of_photo(face.file_hash)["verdict"].to_list() == ["not_a_face", "withdrawn"]
    assert _answer(queue, _RIGHT).key == face.key
    assert reviews.newest()["verdict"].to_list() == ["right"]


def test_a_skip_can_be_undone_too_and_undoing_nothing_does_nothing(queue: FaceQueue, reviews: Reviews) -> None:
    queue.undo("Ada")
    face = _answer(queue, Answer("skip"))
    queue.undo("Ada")
    assert _head(queue).key == face.key
    assert reviews.last_id() == 0


def test_an_answer_that_comes_late_is_to_no_other_face(queue: FaceQueue, reviews: Reviews) -> None:
    face = _answer(queue, _RIGHT)
    queue.answer(face, Answer("not_a_face"), "Ada")
    assert reviews.newest()["verdict"].to_list() == ["right"]


def test_what_another_person_judged_meanwhile_is_passed_over(queue: FaceQueue, reviews: Reviews) -> None:
    first = _head(queue)
    reviews.add(first.key, "right", "Ben")
    assert _head(queue).key != first.key


def test_two_people_at_once_look_at_different_faces_and_lose_nothing(
    workspace: Workspace, reviews: Reviews, background: ThreadPoolExecutor
) -> None:
    claims = Claims()
    ada, ben = (_queue(workspace, reviews, background, claims) for _ in range(2))
    assert _head(ada).key != _head(ben).key
    for turn in range(len(_NAMES)):
        _answer((ada, ben)[turn % 2], _RIGHT, ("Ada", "Ben")[turn % 2])
    assert ada.head() is ben.head() is None
    assert len(reviews.newest()) == reviews.last_id() == len(_NAMES)


def test_the_last_face_is_shown_to_both_of_two_people(
    workspace: Workspace, reviews: Reviews, background: ThreadPoolExecutor
) -> None:
    claims = Claims()
    ada, ben = (_queue(workspace, reviews, background, claims) for _ in range(2))
    for _ in _NAMES[1:]:
        _answer(ada, _RIGHT)
    assert _head(ada).key == _head(ben).key
