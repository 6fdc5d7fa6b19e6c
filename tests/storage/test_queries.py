from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from storage import queries
from storage.queries import FaceFilter
from storage.reviews import open_reviews
from storage.schemas import FileStatus
from storage.workspace import BadWorkspace, Workspace, now, open_workspace
from tests.rows import content_hash, crop_of, face_row, faces, file_row, files, score_row, scores

_MODEL = "m" * 64
_ALL = FaceFilter(_MODEL)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Three scored faces: `ann` (20, female, wide interval), `bob` (50, male, low quality), `sam` (70, uncertain)."""
    opened = open_workspace(str(tmp_path / "workspace"))
    names = ("ann", "bob", "sam")
    opened.append("files", files(*(file_row(f"{name}.jpg", source=f"/{name}") for name in names)))
    opened.append("faces", faces(*(face_row(f"{name}.jpg") for name in names)))
    opened.append(
        "scores",
        scores(
            score_row("ann.jpg", age=20.0, age_low=5.0, age_high=45.0, female=0.99),
            score_row("bob.jpg", age=50.0, age_low=45.0, age_high=55.0, female=0.1, quality=0.2),
            score_row(
                "sam.jpg", age=70.0, age_low=64.0, age_high=76.0, female=0.5, scored_at=now() + timedelta(hours=1)
            ),
        ),
    )
    return opened


def _paths(
    workspace: Workspace, chosen: FaceFilter = _ALL, order: queries.Order = "youngest", rows=slice(0, 24)
) -> list[str]:
    reviews = open_reviews(workspace).newest()
    return queries.faces_page(workspace, chosen, reviews, order, rows)["path"].to_list()


@pytest.mark.parametrize(
    ("chosen", "paths"),
    [
        (FaceFilter(_MODEL), ["ann.jpg", "bob.jpg", "sam.jpg"]),
        (FaceFilter(_MODEL, ages=(50, 70)), ["bob.jpg", "sam.jpg"]),
        (FaceFilter(_MODEL, widths=(30, 116)), ["ann.jpg"]),
        (FaceFilter(_MODEL, qualities=(0, 0.5)), ["bob.jpg"]),
        (FaceFilter(_MODEL, genders=("female", "uncertain")), ["ann.jpg", "sam.jpg"]),
        (FaceFilter(_MODEL, genders=()), []),
        (FaceFilter(_MODEL, source="/bob"), ["bob.jpg"]),
        (FaceFilter(_MODEL, path_part="SAM.j"), ["sam.jpg"]),
        (FaceFilter(_MODEL, path_part="(.*)"), []),
        (FaceFilter("another"), []),
    ],
)
def test_a_filter_shows_the_faces_that_pass(workspace: Workspace, chosen: FaceFilter, paths: list[str]) -> None:
    assert _paths(workspace, chosen) == paths
    assert queries.faces_by_age(workspace, chosen, queries.no_reviews())["faces"].sum() == len(paths)


@pytest.mark.parametrize(
    ("order", "first"),
    [("least certain", "ann"), ("lowest quality", "bob"), ("youngest", "ann"), ("oldest", "sam"), ("newest", "sam")],
)
def test_each_order_puts_its_face_first(workspace: Workspace, order: queries.Order, first: str) -> None:
    assert _paths(workspace, order=order)[0] == f"{first}.jpg"


def test_pages_share_no_face_and_miss_none(workspace: Workspace) -> None:
    pages = [_paths(workspace, order="newest", rows=slice(start, start + 2)) for start in (0, 2)]
    assert sorted(pages[0] + pages[1]) == ["ann.jpg", "bob.jpg", "sam.jpg"]


def test_the_same_photo_at_two_paths_is_one_face_with_both_counted(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("z.jpg", file_hash=content_hash("ann.jpg"), source="/zoe")))
    found = queries.faces_page(workspace, _ALL, queries.no_reviews(), "youngest", slice(0, 24))
    assert found.filter(pl.col("path") == "ann.jpg")["path_count"].to_list() == [2]
    assert len(found) == 3


def test_a_photo_scored_again_with_other_settings_shows_as_it_was_scored_last(workspace: Workspace) -> None:
    later = now() + timedelta(hours=2)
    workspace.append("scores", scores(score_row("ann.jpg", age=31.0, fingerprint="later", scored_at=later)))
    found = queries.faces_page(workspace, _ALL, queries.no_reviews(), "youngest", slice(0, 24))
    assert found["age"].to_list() == [31.0, 50.0, 70.0]


def test_an_age_only_model_passes_every_gender_filter(workspace: Workspace) -> None:
    workspace.append("scores", scores(score_row("ann.jpg", model_hash="age", female=None)))
    found = queries.faces_by_age(workspace, FaceFilter("age", genders=("male",)), queries.no_reviews())
    assert found["gender"].to_list() == [None]


def test_the_newest_review_stands_beside_its_face(workspace: Workspace) -> None:
    reviews = open_reviews(workspace)
    reviews.add((content_hash("bob.jpg"), 0), "right", "Ada")
    reviews.add((content_hash("bob.jpg"), 0), "corrected", "Ada", age=44, gender="male")
    assert _paths(workspace, FaceFilter(_MODEL, review="reviewed")) == ["bob.jpg"]
    assert _paths(workspace, FaceFilter(_MODEL, review="unreviewed")) == ["ann.jpg", "sam.jpg"]
    [row] = queries.faces_page(
        workspace, FaceFilter(_MODEL, review="reviewed"), reviews.newest(), "newest", slice(0, 1)
    ).to_dicts()
    assert (row["verdict"], row["review_age"], row["review_gender"]) == ("corrected", 44.0, "male")


def test_no_reviews_has_the_columns_of_the_newest(workspace: Workspace) -> None:
    assert queries.no_reviews().schema == open_reviews(workspace).newest().schema


def test_crops_come_for_the_faces_asked_for_only(workspace: Workspace) -> None:
    workspace.append("faces", faces(face_row("sam.jpg", 1, crop=crop_of(7))))
    found = queries.faces_page(workspace, _ALL, queries.no_reviews(), "oldest", slice(0, 1))
    pictures = queries.pictures_of(workspace, found)
    assert pictures.select("file_hash", "face_index").rows() == [(content_hash("sam.jpg"), 0)]
    assert queries.pictures_of(workspace, found.head(0)).is_empty()


def test_a_file_counts_with_the_status_that_it_had_last(workspace: Workspace) -> None:
    later = now() + timedelta(hours=1)
    broken = {"status": FileStatus.TRUNCATED, "detail": "ends early", "face_count": 0, "mtime_ns": 2, "seen_at": later}
    workspace.append("files", files(file_row("ann.jpg", source="/ann", **broken)))
    counts = queries.status_counts(workspace)
    assert counts.rows() == [("ok", 2, 2), ("truncated", 1, 0)]
    assert queries.failures(counts) == 1
    [failed] = queries.files_with(workspace, ("truncated",), 10).to_dicts()
    assert (failed["path"], failed["detail"]) == ("ann.jpg", "ends early")


def test_models_and_folders_are_listed(workspace: Workspace) -> None:
    assert queries.scored_models(workspace).select("model_hash", "model_version", "faces").rows() == [
        (_MODEL, "pretrained", 3)
    ]
    assert queries.sources(workspace) == ["/ann", "/bob", "/sam"]


def test_a_workspace_without_tables_gives_no_rows(tmp_path: Path) -> None:
    empty = open_workspace(str(tmp_path / "empty"))
    assert queries.scored_models(empty).is_empty()
    assert queries.status_counts(empty).is_empty()
    assert queries.sources(empty) == []
    assert queries.training_runs(empty).is_empty()


def test_a_missing_shard_is_refused_by_name(workspace: Workspace) -> None:
    for shard in Path(str(workspace.root / "scores")).glob("*.parquet"):
        shard.unlink()
    with pytest.raises(BadWorkspace, match="can't be read"):
        queries.scored_models(workspace)


def test_a_run_without_metrics_is_listed_as_unfinished(tmp_path: Path) -> None:
    opened = open_workspace(str(tmp_path / "workspace"))
    folder = opened.runs / "train-1"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text('{"recipe": "classic", "targets": "age"}')
    [run] = queries.training_runs(opened).to_dicts()
    assert (run["run"], run["finished"], run["recipe"], run["age_mae"]) == ("train-1", False, "classic", None)
    assert queries.run_history(opened, "train-1") is None


def test_a_run_whose_notes_are_damaged_is_refused_by_name(tmp_path: Path) -> None:
    opened = open_workspace(str(tmp_path / "workspace"))
    (opened.runs / "train-1").mkdir(parents=True)
    (opened.runs / "train-1" / "settings.json").write_text("{")
    with pytest.raises(BadWorkspace, match=r"settings\.json"):
        queries.training_runs(opened)


def test_a_row_that_was_doubled_shows_as_one_card(workspace: Workspace) -> None:
    """Two cards of one face would give two forms of one key, and Streamlit an error instead of the page."""
    again = workspace.scan("scores").filter(pl.col("age") == 20).collect().to_arrow()
    workspace.append("scores", again)
    assert _paths(workspace) == ["ann.jpg", "bob.jpg", "sam.jpg"]
