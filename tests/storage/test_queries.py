from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from storage import queries
from storage.queries import FaceFilter, FileFilter
from storage.registry import promote, register
from storage.reviews import open_reviews
from storage.values import FileStatus
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


@pytest.mark.parametrize("female", [None, 0.0, 0.25, 0.2501, 0.5, 0.7499, 0.75, 1.0])
def test_a_gender_is_named_alike_of_one_face_and_of_many(female: float | None) -> None:
    many = pl.DataFrame({"female": [female]}, schema={"female": pl.Float64})
    assert many.select(queries.gender_of(pl.col("female"))).item() == queries.gender_named(female)


def test_a_gender_is_named_from_three_quarters_on() -> None:
    named = [queries.gender_named(female) for female in (0.25, 0.26, 0.74, 0.75, None)]
    assert named == ["male", "uncertain", "uncertain", "female", None]


def _in_use(workspace: Workspace) -> queries.ModelInUse | None:
    return queries.model_in_use(workspace, queries.scored_models(workspace))


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


@pytest.mark.parametrize(("size", "paths"), [("small", ["tiny.jpg"]), ("large", ["ann.jpg", "large.jpg"])])
def test_faces_too_small_to_judge_can_be_shown_alone_or_left_out(
    tmp_path: Path, size: queries.FaceSize, paths: list[str]
) -> None:
    opened = open_workspace(str(tmp_path / "sizes"))
    sides = {"ann.jpg": (40, 60), "large.jpg": (30, 48), "tiny.jpg": (47.9, 40)}
    opened.append("files", files(*map(file_row, sides)))
    opened.append("faces", faces(*(face_row(name, width=wide, height=tall) for name, (wide, tall) in sides.items())))
    opened.append("scores", scores(*map(score_row, sides)))
    assert sorted(_paths(opened, FaceFilter(_MODEL, size=size))) == paths


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
    [failed] = queries.files_with(workspace, FileFilter(("truncated",)), 10).to_dicts()
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


def test_a_missing_shard_is_refused_by_name(workspace: Workspace) -> None:
    for shard in Path(str(workspace.root / "scores")).glob("*.parquet"):
        shard.unlink()
    with pytest.raises(BadWorkspace, match="can't be read"):
        queries.scored_models(workspace)


def test_a_row_that_was_doubled_shows_as_one_card(workspace: Workspace) -> None:
    """Two cards of one face would give two forms of one key, and Streamlit an error instead of the page."""
    again = workspace.scan("scores").filter(pl.col("age") == 20).collect().to_arrow()
    workspace.append("scores", again)
    assert _paths(workspace) == ["ann.jpg", "bob.jpg", "sam.jpg"]


def test_a_file_filter_lists_the_files_that_pass(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("torn.jpg", source="/bob", status=FileStatus.TRUNCATED, file_hash=None)))

    def paths(*statuses: str, **chosen: str) -> list[str]:
        return sorted(queries.files_with(workspace, FileFilter(statuses, **chosen), 10)["path"])

    assert paths("ok", "truncated", source="/bob") == ["bob.jpg", "torn.jpg"]
    assert paths("ok", path_part="SAM") == ["sam.jpg"]
    assert paths("ok", source="/bob", path_part="sam") == []


def test_reasons_of_failure_are_counted_with_an_example(workspace: Workspace) -> None:
    torn = {"status": FileStatus.TRUNCATED, "detail": "ends early", "file_hash": None}
    workspace.append("files", files(file_row("b.jpg", **torn), file_row("a.jpg", **torn)))
    assert queries.failure_reasons(workspace, 10).rows() == [("truncated", "ends early", 2, "a.jpg")]


def test_what_came_in_is_counted_by_day_folder_and_status(workspace: Workspace) -> None:
    yesterday = now() - timedelta(days=1)
    workspace.append("files", files(file_row("old.jpg", source="/ann", seen_at=yesterday)))
    first = queries.arrivals(workspace).row(0)
    assert first == (yesterday.date(), "/ann", "ok", 1)
    assert queries.arrivals(workspace)["files"].sum() == 4


def test_news_are_the_rows_since_a_moment(workspace: Workspace) -> None:
    moment = now() + timedelta(minutes=1)
    later = now() + timedelta(minutes=2)
    workspace.append("files", files(file_row("torn.jpg", status=FileStatus.TRUNCATED, seen_at=later)))
    assert queries.news_since(workspace, moment) == queries.News(files=1, failed=1, scores=1)  # sam's, of in an hour
    assert queries.news_since(workspace, now() + timedelta(hours=3)) == queries.News(0, 0, 0)


def test_the_champion_is_in_use_where_it_scored_and_else_the_model_that_scored_last(
    workspace: Workspace, model_file: Path
) -> None:
    assert _in_use(workspace) == queries.ModelInUse(_MODEL, "pretrained", 3, is_champion=None)
    version = register(workspace, model_file.read_bytes(), "card", {})
    promote(workspace, version.name, "a test's")
    assert _in_use(workspace) == queries.ModelInUse(_MODEL, "pretrained", 3, is_champion=False)
    by_champion = {"model_hash": version.model_hash, "model_version": version.name}
    workspace.append("scores", scores(score_row("ann.jpg", **by_champion, scored_at=now() - timedelta(days=9))))
    in_use = _in_use(workspace)
    assert in_use == queries.ModelInUse(version.model_hash, version.name, 1, is_champion=True)


def test_a_workspace_without_scores_has_no_model_in_use(tmp_path: Path) -> None:
    assert _in_use(open_workspace(str(tmp_path / "empty"))) is None
