from datetime import timedelta
from pathlib import Path

import pytest

from storage.photo import history, photo_record
from storage.reviews import open_reviews
from storage.workspace import Workspace, now, open_workspace
from tests.rows import content_hash, face_row, faces, file_row, files, label_row, labels, score_row, scores

_START = now() - timedelta(days=10)


def _on(day: int):
    return _START + timedelta(days=day)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A photo with two faces at two paths, read twice with different settings, scored by two models."""
    opened = open_workspace(str(tmp_path / "workspace"))
    opened.append(
        "files",
        files(
            file_row("pair.jpg", face_count=2, seen_at=_on(0)),
            file_row("copy.jpg", file_hash=content_hash("pair.jpg"), face_count=2, seen_at=_on(1)),
            file_row("other.jpg"),
        ),
    )
    old = [face_row("pair.jpg", 0, fingerprint="old", extracted_at=_on(0))]
    new = [face_row("pair.jpg", index, extracted_at=_on(1)) for index in (1, 0)]
    opened.append("faces", faces(*old, *new))
    opened.append("labels", labels(label_row("pair.jpg", age=31.0, labelled_at=_on(2))))
    opened.append(
        "scores",
        scores(
            score_row("pair.jpg", 0, age=20.0, scored_at=_on(3)),
            score_row("pair.jpg", 0, age=25.0, model_hash="n" * 64, model_version="next", scored_at=_on(4)),
        ),
    )
    return opened


def test_the_faces_of_the_last_extraction_stand_with_their_last_score(workspace: Workspace) -> None:
    photo = photo_record(workspace, content_hash("pair.jpg"))
    assert photo is not None
    shown = photo.last_scores().select("face_index", "fingerprint", "age", "model_version").rows()
    assert shown == [(0, "f" * 16, 25.0, "next"), (1, "f" * 16, None, None)]
    assert photo.places() == [("/photos", "copy.jpg"), ("/photos", "pair.jpg")]


def test_its_history_tells_the_latest_first(workspace: Workspace) -> None:
    reviews = open_reviews(workspace)
    reviews.add((content_hash("pair.jpg"), 0), "corrected", "Ada", age=31, gender="male")
    reviews.add((content_hash("other.jpg"), 0), "right", "Ada")
    photo = photo_record(workspace, content_hash("pair.jpg"))
    assert photo is not None
    events = history(photo, reviews.of_photo(photo.file_hash))
    assert events["at"].is_sorted(descending=True)
    assert events.select("what", "detail").rows() == [
        ("review: corrected", "face 1 by Ada, 31 years, male"),
        ("scored", "face 1 by next, 25 years"),
        ("scored", "face 1 by pretrained, 20 years"),
        ("label: ok", "from wiki, 31 years, female"),
        ("met: ok", "/photos/copy.jpg"),
        ("faces found", "2, by centerface"),
        ("met: ok", "/photos/pair.jpg"),
    ]


def test_a_photo_that_is_in_no_table_is_none(workspace: Workspace) -> None:
    assert photo_record(workspace, content_hash("stranger.jpg")) is None
