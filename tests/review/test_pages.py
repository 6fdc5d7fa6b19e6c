"""The pages as Streamlit runs them, without a browser, on a workspace that was scored for real."""

import gc
import hashlib
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import polars as pl
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from review.review_queue import _BLINK_S
from storage import queries
from storage.audit import promotions
from storage.registry import champion, versions
from storage.reviews import Shown, open_reviews
from storage.runs import training_runs
from storage.values import FindingKind, LabelStatus
from storage.workspace import Workspace, existing_workspace, now, open_workspace
from tests.bucket import upload
from tests.findings import finding, write_findings
from tests.review.conftest import MARKUP_NAME
from tests.rows import content_hash, face_row, faces, file_row, files, label_row, labels, score_row, scores

# Guarded like app.py: the processes that read photos import the main file again.
_SCRIPT = """
if __name__ == "__main__":
    from review import {name}
    from review.opened import as_they_are, shared_reviews
    from review.visit import Visit
    from storage.workspace import existing_workspace

    workspace = existing_workspace({root!r})
    reviews = shared_reviews(workspace, read_only={read_only!r})
    {name}.page(Visit(as_they_are(workspace), reviews, {reviewer!r}, {read_only!r}))
"""
pytestmark = pytest.mark.slow
_READ_ONLY = {"reviewer": "", "read_only": True}


def _page(
    name: str, workspace: Workspace, *, reviewer: str = "Ada", read_only: bool = False, **address: str
) -> AppTest:
    script = _SCRIPT.format(name=name, root=str(workspace.root), reviewer=reviewer, read_only=read_only)
    app = AppTest.from_string(script, default_timeout=60)
    for key, value in address.items():
        app.query_params[key] = value
    return _run(app)


def _run(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception
    return app


def _in_use(workspace: Workspace) -> queries.ModelInUse | None:
    return queries.model_in_use(workspace, queries.scored_models(workspace))


def _texts(elements) -> str:
    return "\n".join(str(element.value) for element in elements)


def _metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def _button(app: AppTest, label: str):
    return next(button for button in app.button if button.label == label)


def _press(app: AppTest, label: str) -> AppTest:
    time.sleep(_BLINK_S)  # as a person would, at the least
    _button(app, label).click()
    return _run(app)


def _with_the_form_open(app: AppTest) -> AppTest:
    """Of the gallery's first card: `file_hash` and `face_index` are in the popover's key."""
    [link] = [element for element in app.main if element.type == "page_link"]
    file_hash = link.query_string.removeprefix("photo=")
    app.session_state[f"review-{file_hash[:16]}-0"] = True
    return _run(app)


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


# Overview

WHAT_IS_KEPT = (
    "a\nsmall crop",
    "kept until someone deletes it",
    "`retention_days`",
    "faceline forget PHOTO --workspace",
    "faceline forget --subject ID --workspace",
    "delete everything, delete the folder",
    "errors that differ by age and by group",
    "not for decisions about",
)


@pytest.fixture(scope="module")
def kept(scored_once: Workspace) -> str:
    """What stands under the heading on what is kept, once that is opened."""
    app = _page("overview", scored_once, **_READ_ONLY)
    app.session_state["kept"] = True
    [found] = [part for part in _run(app).expander if "kept" in part.label]
    return _texts([*found.markdown, *found.code])


def test_the_overview_counts_what_came_in_and_what_waits(scored: Workspace) -> None:
    app = _page("overview", scored)
    assert _metrics(app) == {
        "Files": "5",
        "Failed files": "1",
        "Faces found": "3",
        "Faces scored": "2",
        "Faces reviewed": "0",
    }
    assert "it takes 20" in _texts(app.caption)
    assert "In use" in _texts(app.markdown)


@pytest.mark.parametrize("words", WHAT_IS_KEPT)
def test_the_first_page_says_what_is_kept_for_how_long_and_how_to_delete_it(words: str, kept: str) -> None:
    assert words in kept


def _visit_of(hours: float, workspace: Workspace) -> None:
    """Ada's, so many hours ago."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.reviews.now", lambda: now() - timedelta(hours=hours))
        open_reviews(workspace).note_visit("Ada")


def test_the_overview_says_what_is_new_since_a_persons_last_visit(scored: Workspace) -> None:
    assert "first visit" in _texts(_page("overview", scored).info)
    open_reviews(scored).add(("a" * 64, 0), "right", "Ben")
    _visit_of(2, scored)
    news = _texts(_page("overview", scored).info)
    assert "5 files" in news
    assert "1 reviews by others" in news
    assert "Type your name" in _texts(_page("overview", scored, reviewer="").caption)


def test_enough_random_answers_give_the_live_error(scored: Workspace) -> None:
    model = _in_use(scored)
    assert model is not None
    shown = Shown("random", 30.0, "female", model.model_version)
    for number in range(20):
        open_reviews(scored).add((f"{number:064x}", 0), "corrected", "Ada", age=34, shown=shown)
    assert _metrics(_page("overview", scored))["Age error, years"] == "4.0"


def test_the_live_error_goes_on_from_model_to_model(scored: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The headline is of the model in use, of which too few faces were reviewed; the weeks are of all models."""
    reviews, today = open_reviews(scored), now()
    for week, version in enumerate(["20260101-000000-aaaaaaaa", "20260108-000000-bbbbbbbb"]):
        monkeypatch.setattr("storage.reviews.now", lambda days=14 - 7 * week: today - timedelta(days=days))
        for number in range(20):
            shown = Shown("random", 30.0, "female", version)
            reviews.add((f"{number:064x}", 0), "corrected", "Ada", age=34, shown=shown)
    monkeypatch.undo()
    app = _page("overview", scored)
    assert "it takes 20" in _texts(app.caption)
    assert "Week by week" in _texts(app.caption)
    drawn = [chart.proto.spec for chart in app.get("vega_lite_chart")]
    drawn = [spec for spec in drawn if "model_version" in spec]
    assert len(drawn) == 2
    assert all("20260101-000000-aaaaaaaa" in spec and "20260108-000000-bbbbbbbb" in spec for spec in drawn)


def test_where_every_face_is_labelled_the_pages_say_that_none_is_drawn(scored: Workspace) -> None:
    assert "of photos without a label" in _texts(_page("overview", scored).caption)
    hashes = scored.scan("scores").select("file_hash").collect()["file_hash"].unique()
    scored.append("labels", labels(*(label_row("", file_hash=file_hash) for file_hash in hashes)))
    st.cache_resource.clear()
    assert "none is drawn at random" in _texts(_page("overview", scored).caption)
    assert "none is drawn at random" in _texts(_page("review_queue", scored, why="random").info)
    assert _page("review_queue", scored).button


def test_a_week_of_other_faces_is_a_warning_and_one_of_the_same_is_not(scored: Workspace) -> None:
    assert "Too few faces came in" in _texts(_page("overview", scored).caption)
    model = _in_use(scored)
    assert model is not None
    judged = {"model_hash": model.model_hash, "model_version": model.model_version}
    for week, (found, older) in enumerate([(now() - timedelta(days=30), 0), (now(), 40)]):
        names = [f"week-{week}-{number}.jpg" for number in range(120)]
        rows = [score_row(name, age=20.0 + number % 10 + older, **judged) for number, name in enumerate(names)]
        scored.append("faces", faces(*(face_row(name, extracted_at=found) for name in names)))
        scored.append("scores", scores(*rows))
    st.cache_resource.clear()
    app = _page("overview", scored)
    assert ["age has moved far this week" in warning.value for warning in app.warning] == [True]
    assert "in female, quality" in _texts(app.caption)


# Review


def test_a_face_is_judged_with_a_button_and_the_next_one_shown(scored: Workspace) -> None:
    app = _page("review_queue", scored)
    first = _texts(app.caption)
    app = _press(app, "Right")
    [review] = open_reviews(scored).newest().to_dicts()
    assert review["verdict"] == "right"
    assert _texts(app.caption) != first
    assert "1 reviewed" in _texts(app.caption)


def test_a_workspace_in_a_bucket_is_reviewed_into_postgres(scored: Workspace, bucket: str, reviews_url: str) -> None:
    upload(scored.local_root(), bucket)
    afar = existing_workspace(bucket)
    assert _metrics(_page("overview", afar))["Files"] == "5"
    _press(_page("review_queue", afar), "Not a face")
    [review] = open_reviews(afar).newest().to_dicts()
    assert review["verdict"] == "not_a_face"
    assert _metrics(_page("overview", afar))["Faces reviewed"] == "1"


def test_a_typed_age_corrects_it(scored: Workspace) -> None:
    app = _page("review_queue", scored)
    app.text_input(key="typed").set_value("43g")
    app = _press(app, "Enter")
    [review] = open_reviews(scored).newest().to_dicts()
    assert (review["verdict"], review["age"]) == ("corrected", 43.0)
    assert review["gender"] in ("female", "male")


def test_what_was_typed_and_means_nothing_is_refused_with_an_explanation(scored: Workspace) -> None:
    app = _page("review_queue", scored)
    app.text_input(key="typed").set_value("430")
    app = _press(app, "Enter")
    assert "An age up to 116" in _texts(app.error).replace("\\", "")
    assert open_reviews(scored).newest().is_empty()


def test_a_press_faster_than_a_blink_is_no_answer(scored: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    app = _page("review_queue", scored)
    monkeypatch.setattr("review.review_queue._BLINK_S", 60)
    _button(app, "Right").click()
    _run(app)
    assert open_reviews(scored).newest().is_empty()


def test_undo_takes_the_answer_back(scored: Workspace) -> None:
    app = _press(_page("review_queue", scored), "Not a face")
    app = _press(app, "Undo")
    assert open_reviews(scored).newest().is_empty()
    assert "0 reviewed" in _texts(app.caption)


def test_the_queue_ends_with_a_word_of_what_to_do(scored: Workspace) -> None:
    app = _page("review_queue", scored)
    for _ in range(2):
        app = _press(app, "Right")
    assert "No face is left" in _texts(app.success)


def test_a_suspicious_label_is_what_is_asked_about(scored: Workspace, hopper: Path) -> None:
    write_findings(scored, finding("hopper", FindingKind.SUSPICIOUS_AGE, file_hash=_hash(hopper)))
    app = _page("review_queue", scored)
    assert "The label says" in _texts(app.header)
    assert "label is probably wrong" in _texts(app.caption)


def test_labels_that_contradict_each_other_are_asked_about_before_anything_is_scored(tmp_path: Path) -> None:
    """As in a workspace of labelled photos, which `faceline data` looked at before the first training."""
    workspace = open_workspace(str(tmp_path / "labelled"))
    names = ("one.jpg", "again.jpg")
    workspace.append("files", files(*map(file_row, names)))
    workspace.append("faces", faces(*map(face_row, names)))
    workspace.append("labels", labels(*(label_row(name, age=age) for name, age in zip(names, (30, 55), strict=True))))
    assert "No face is scored" in _texts(_page("review_queue", workspace).info)
    write_findings(workspace, *(finding(name, FindingKind.LABEL_CONFLICT, group="one") for name in names))
    [link] = [element for element in _page("data_quality", workspace).main if element.type == "page_link"]
    assert link.proto.label == "Review the suspicious labels"
    app = _page("review_queue", workspace, why="suspicious label")
    app.text_input(key="typed").set_value("42")
    app = _press(app, "Enter")
    _press(app, "Right")
    said = open_reviews(workspace).newest()
    assert set(said["file_hash"]) == {content_hash(name) for name in names}
    assert sorted(said["verdict"]) == ["corrected", "right"]


def test_without_a_name_nothing_can_be_reviewed(scored: Workspace) -> None:
    app = _page("review_queue", scored, reviewer="")
    assert "Type your name" in _texts(app.info)
    assert not app.button


# Gallery


def test_the_gallery_shows_a_card_a_face(scored: Workspace) -> None:
    app = _page("gallery", scored)
    assert len([words for words in app.markdown if " years**" in words.value]) == 2


def test_the_address_filters_the_gallery(scored: Workspace) -> None:
    assert "1 face" in _texts(_page("gallery", scored, path="collins").header)


def test_the_gallery_names_a_version_without_its_hash_twice(scored: Workspace) -> None:
    model = _in_use(scored)
    assert model is not None
    assert _page("gallery", scored).selectbox(key="model").options == [model.model_version]
    alien = {"model_hash": "e" * 64, "model_version": "pretrained", "scored_at": now() + timedelta(hours=1)}
    scored.append("scores", scores(score_row("a.jpg", **alien)))
    st.cache_resource.clear()
    named = ["pretrained (eeeeeeee)", model.model_version]
    assert _page("gallery", scored).selectbox(key="model").options == named


def test_the_gallery_shows_what_is_most_worth_a_look_first(scored: Workspace, hopper: Path, collins: Path) -> None:
    for place, photo in enumerate((hopper, collins)):
        label = finding("", FindingKind.SUSPICIOUS_AGE, file_hash=_hash(photo))
        write_findings(scored, label, report=f"data-2026010{place + 1}-120000-aaaa")  # the newest one counts
        shown = _page("gallery", scored, sort="most worth a look").main
        assert next(each.query_string for each in shown if each.type == "page_link") == f"photo={_hash(photo)}"


def test_a_filter_that_nothing_passes_says_so(scored: Workspace) -> None:
    app = _page("gallery", scored, path="nobody")
    assert "No face passes these filters" in _texts(app.info)


def test_a_new_workspace_says_which_command_scores_a_folder(tmp_path: Path) -> None:
    empty = open_workspace(str(tmp_path / "empty"))
    for name in ("overview", "gallery", "review_queue", "data_quality"):
        assert f"faceline score FOLDER --workspace {empty.root}" in _texts(_page(name, empty).code)


def test_a_correction_in_the_gallery_is_stored_and_shown(scored: Workspace) -> None:
    app = _with_the_form_open(_page("gallery", scored, path="collins"))
    app.number_input[0].set_value(43)
    app = _press(app, "Save")
    [review] = open_reviews(scored).newest().to_dicts()
    assert (review["verdict"], review["age"], review["reason"]) == ("corrected", 43, None)
    assert "corrected: 43 years" in _texts(app.markdown)


def test_without_a_name_nothing_can_be_saved(scored: Workspace) -> None:
    app = _with_the_form_open(_page("gallery", scored, reviewer="", path="collins"))
    assert [button.disabled for button in app.button if button.label == "Save"] == [True]


def test_a_name_that_is_markup_is_shown_and_not_followed(scored: Workspace) -> None:
    app = _with_the_form_open(_page("gallery", scored, path="bold"))
    assert any(MARKUP_NAME in code.value for code in app.code)
    assert not any("**bold**" in caption.value for caption in app.caption)


# Photo


def test_a_photo_is_shown_with_its_paths_and_its_history(scored: Workspace, hopper: Path) -> None:
    open_reviews(scored).add((_hash(hopper), 0), "corrected", "Ada", age=77)
    app = _page("one_photo", scored, photo=_hash(hopper))
    assert any(MARKUP_NAME in code.value for code in app.code)
    events = app.dataframe[1].value
    assert {"scored", "met: ok", "faces found", "review: corrected"} <= set(events["what"])
    assert not app.info


def test_a_photo_that_is_gone_is_told_from_its_crops(scored: Workspace, collins: Path) -> None:
    source = Path(scored.scan("files").select("source").first().collect().item())
    kept = source / "collins.png"
    moved = kept.rename(source.parent / "moved.png")
    try:
        app = _page("one_photo", scored, photo=_hash(collins))
        assert "isn't where it was found" in _texts(app.info)
    finally:
        moved.rename(kept)


def test_a_photo_says_how_it_was_turned_and_which_face_is_too_small(tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path / "turned"))
    workspace.append("files", files(file_row("a.jpg", face_count=2)))
    small = face_row("a.jpg", 1, width=20.0, height=30.0, rotation=270)
    workspace.append("faces", faces(face_row("a.jpg", rotation=270), small))
    said = _texts(_page("one_photo", workspace, photo=content_hash("a.jpg")).caption)
    assert "Face 2 is too small to judge" in said
    assert "turned clockwise by 270 degrees" in said


@pytest.mark.parametrize("wanted", ["", "../../etc/passwd", "/etc/passwd", "a" * 64, "A" * 64, "\0", "a" * 63])
def test_an_address_of_no_photo_shows_none(scored: Workspace, wanted: str) -> None:
    app = _page("one_photo", scored, photo=wanted)
    assert "No such photo" in _texts(app.info)
    assert not app.dataframe


# Data quality


def test_files_are_listed_with_their_reasons(scored: Workspace) -> None:
    app = _page("data_quality", scored)
    [row] = pl.from_pandas(app.dataframe[0].value).to_dicts()
    assert (row["path"], row["status"]) == ("notes.jpg", "not an image")
    assert row["detail"]
    [reason] = pl.from_pandas(app.dataframe[1].value).to_dicts()
    assert (reason["files"], reason["example"]) == (1, "notes.jpg")


@pytest.mark.parametrize("kind", list(FindingKind))
def test_findings_are_listed_with_the_photos_path(scored: Workspace, collins: Path, kind: FindingKind) -> None:
    assert "faceline data --workspace" in _texts(_page("data_quality", scored).code)
    write_findings(scored, finding("collins", kind, file_hash=_hash(collins)))
    [row] = pl.from_pandas(_page("data_quality", scored).dataframe[2].value).to_dicts()
    assert (row["path"], row["expected_age"]) == ("collins.png", 30.0)
    assert row["face"].startswith("data:image/jpeg")
    assert row["photo"] == f"photo?photo={_hash(collins)}"


def test_an_invalid_label_is_opened_with_its_reason(scored: Workspace, coffee: Path) -> None:
    """Its photo may have no face at all."""
    reason = "coffee.png: an age of 140.0 years is outside 0 to 116"
    invalid = label_row("", file_hash=_hash(coffee), age=None, status=LabelStatus.INVALID, detail=reason)
    scored.append("labels", labels(invalid))
    write_findings(scored, finding("", FindingKind.INVALID_LABEL, file_hash=_hash(coffee), face_index=None))
    app = _page("data_quality", scored)
    [row] = pl.from_pandas(app.dataframe[2].value).to_dicts()
    assert not [link for link in app.main if link.type == "page_link"]  # to the queue, which asks about faces
    address = dict(parse_qsl(urlsplit(row["photo"]).query))
    assert "140" in _texts(_page("one_photo", scored, **address).markdown)


# Try a photo


def test_a_photo_is_judged_and_a_broken_one_named_with_its_reason(scored: Workspace, hopper: Path) -> None:
    app = _page("try_photo", scored)
    before = sorted(str(path) for path in scored.root.rglob("*"))
    files = [
        ("hopper.jpg", hopper.read_bytes(), "image/jpeg"),
        ("torn [x].jpg", hopper.read_bytes()[:9000], "image/jpeg"),
    ]
    app.file_uploader[0].set_value(files)
    _run(app)
    [table] = app.dataframe
    assert len(table.value) == 1
    [error] = app.error
    assert error.value.startswith(r"**torn \[x\]\.jpg** can't be judged (truncated): ")
    assert sorted(str(path) for path in scored.root.rglob("*")) == before


def test_a_photo_without_a_face_says_so(scored: Workspace, coffee: Path) -> None:
    app = _page("try_photo", scored)
    app.file_uploader[0].set_value([("coffee.png", coffee.read_bytes(), "image/png")])
    assert "No face was found" in _texts(_run(app).info)


# Training runs


def test_a_finished_run_shows_its_figures_and_tables(trained: Workspace) -> None:
    app = _page("training_runs", trained)
    assert _metrics(app)["Age MAE, years"] == "6.50"
    assert "16-29" in app.dataframe[0].value.to_string()


def test_a_stopped_run_says_how_to_go_on(trained: Workspace) -> None:
    app = _page("training_runs", trained, run="train-20260101-120000-aaaa")
    assert "--resume train-20260101-120000-aaaa" in _texts(app.code)


@pytest.mark.parametrize("run", ["../registry", "unknown"])
def test_a_run_that_is_not_listed_is_not_opened(trained: Workspace, run: str) -> None:
    app = _page("training_runs", trained, run=run)
    assert app.selectbox(key="run").value == training_runs(trained)["run"][0]


# Models


def test_the_challenger_stands_beside_the_champion_with_the_change(challenged: Workspace) -> None:
    app = _page("model_versions", challenged)
    row = app.dataframe[0].value.set_index("Figure").loc["Age MAE, years"]
    assert list(row) == [
        "6.50 (5.50 to 7.50)", "6.00 (5.00 to 7.00)", "-0.50", "lower", "Mean absolute error of the age.",
    ]  # fmt: skip
    assert app.dataframe[-1].value["When (UTC)"].str.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d").all()
    assert "champion" in _texts(app.markdown)


def test_a_promotion_needs_a_reason_and_keeps_it_with_the_name(challenged: Workspace) -> None:
    app = _page("model_versions", challenged)
    challenger = versions(challenged)[-1].name
    label = next(button.label for button in app.button if button.label.startswith("Promote"))
    app = _press(app, label)
    before = champion(challenged)
    assert before is not None
    assert before.name != challenger
    app.text_input(key="promotion_reason").set_value("better on the inbox")
    _press(app, label)
    after = champion(challenged)
    assert after is not None
    assert after.name == challenger
    assert promotions(challenged)["reason"][0] == "Ada, on the review pages: better on the inbox"


def test_a_page_that_is_loaded_again_still_says_what_is_new(scored: Workspace) -> None:
    for hours in (30, 0.5, 0.1):
        _visit_of(hours, scored)
    assert "5 files" in _texts(_page("overview", scored).info)


def test_a_new_workspace_says_which_command_trains(tmp_path: Path) -> None:
    empty = open_workspace(str(tmp_path / "empty"))
    commands = _texts(_page("training_runs", empty).code).splitlines()
    assert commands == [
        f"faceline extract FOLDER --labels LABELS --workspace {empty.root}",
        f"faceline train --workspace {empty.root}",
    ]


def test_a_workspace_without_models_says_how_to_make_one(tmp_path: Path) -> None:
    empty = open_workspace(str(tmp_path / "empty"))
    assert "faceline export latest" in _texts(_page("model_versions", empty).code)


# Read-only


def _files_of(workspace: Workspace) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in workspace.local_root().rglob("*") if path.is_file()}


_SHOWN_TO_ALL = ["overview", "gallery", "one_photo", "try_photo", "data_quality", "training_runs", "model_versions"]


@pytest.mark.parametrize("reviewed", [False, True], ids=["never reviewed", "reviewed"])
@pytest.mark.parametrize("name", _SHOWN_TO_ALL)
def test_read_only_pages_show_and_change_nothing(
    challenged: Workspace, hopper: Path, name: str, reviewed: bool
) -> None:
    if reviewed:
        open_reviews(challenged).add((_hash(hopper), 0), "corrected", "Ada", age=77)
        gc.collect()  # its last connection goes, and with it the files beside the database
    before = _files_of(challenged)
    app = _page(name, challenged, **_READ_ONLY, photo=_hash(hopper))
    assert not {"Save", "Right"} & {button.label for button in app.button}
    assert not [button for button in app.button if button.label.startswith("Promote")]
    assert _files_of(challenged) == before
