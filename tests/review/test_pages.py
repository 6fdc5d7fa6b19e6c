"""The pages as Streamlit runs them, without a browser, on a workspace that was scored for real."""

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from storage import queries
from storage.reviews import open_reviews
from storage.workspace import Workspace, open_workspace
from tests.review.conftest import MARKUP_NAME

# Guarded like app.py: the processes that read photos import the main file again.
_SCRIPT = """
if __name__ == "__main__":
    from review import {name}
    from storage.workspace import existing_workspace

    {name}.page(existing_workspace({root!r}))
"""


def _page(name: str, workspace: Workspace, **address: str) -> AppTest:
    script = _SCRIPT.format(name=name, root=str(workspace.root))
    app = AppTest.from_string(script, default_timeout=60)
    for key, value in address.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def _texts(elements) -> str:
    return "\n".join(str(element.value) for element in elements)


def test_the_gallery_counts_files_and_faces_and_shows_a_card_a_face(scored: Workspace) -> None:
    app = _page("gallery", scored)
    assert {metric.label: metric.value for metric in app.metric} == {
        "Files": "5",
        "Failed files": "1",
        "Faces found": "3",
        "Faces scored": "2",
    }
    assert len([button for button in app.markdown if " years**" in button.value]) == 2


def test_the_address_filters_the_gallery(scored: Workspace) -> None:
    assert "1 face" in _texts(_page("gallery", scored, path="collins").subheader)


def test_a_filter_that_nothing_passes_says_so(scored: Workspace) -> None:
    app = _page("gallery", scored, path="nobody")
    assert "No face passes these filters" in _texts(app.info)


def test_a_new_workspace_says_which_command_scores_a_folder(tmp_path) -> None:
    empty = open_workspace(str(tmp_path / "empty"))
    for name in ("gallery", "file_status"):
        assert f"faceline score FOLDER --workspace {empty.root}" in _texts(_page(name, empty).code)


def test_a_correction_is_stored_and_shown(scored: Workspace) -> None:
    app = _page("gallery", scored, path="collins")
    app.text_input(key="reviewer").set_value("Ada").run()
    app.number_input[0].set_value(43)
    next(button for button in app.button if button.label == "Save").click().run()
    assert not app.exception
    [review] = open_reviews(scored).newest().to_dicts()
    assert (review["verdict"], review["age"]) == ("corrected", 43)
    assert "corrected: 43 years" in _texts(app.markdown)


def test_without_a_name_nothing_can_be_saved(scored: Workspace) -> None:
    app = _page("gallery", scored, path="collins")
    assert [button.disabled for button in app.button if button.label == "Save"] == [True]


def test_files_are_listed_with_their_reasons(scored: Workspace) -> None:
    [table] = _page("file_status", scored).dataframe
    [row] = pl.from_pandas(table.value).to_dicts()
    assert (row["path"], row["status"]) == ("notes.jpg", "not an image")
    assert row["detail"]


def test_a_name_that_is_markup_is_shown_and_not_followed(scored: Workspace) -> None:
    app = _page("gallery", scored, path="bold")
    assert any(MARKUP_NAME in code.value for code in app.code)
    assert not any("**bold**" in caption.value for caption in app.caption)


def test_a_photo_is_judged_and_a_broken_one_named_with_its_reason(scored: Workspace, hopper) -> None:
    app = _page("try_photo", scored)
    before = sorted(str(path) for path in scored.root.rglob("*"))
    files = [
        ("hopper.jpg", hopper.read_bytes(), "image/jpeg"),
        ("torn [x].jpg", hopper.read_bytes()[:9000], "image/jpeg"),
    ]
    app.file_uploader[0].set_value(files).run()
    assert not app.exception
    [table] = app.dataframe
    assert len(table.value) == 1
    [error] = app.error
    assert error.value.startswith(r"**torn \[x\]\.jpg** can't be judged (truncated): ")
    assert sorted(str(path) for path in scored.root.rglob("*")) == before


def test_a_photo_without_a_face_says_so(scored: Workspace, coffee) -> None:
    app = _page("try_photo", scored)
    app.file_uploader[0].set_value([("coffee.png", coffee.read_bytes(), "image/png")]).run()
    assert "No face was found" in _texts(app.info)


def test_a_finished_run_shows_its_figures_and_tables(trained: Workspace) -> None:
    app = _page("training_runs", trained)
    assert {metric.label: metric.value for metric in app.metric}["Age MAE, years"] == "6.50"
    assert "16-29" in app.dataframe[0].value.to_string()
    assert "champion" in _texts(app.markdown)


def test_a_stopped_run_says_how_to_go_on(trained: Workspace) -> None:
    app = _page("training_runs", trained, run="train-20260101-120000-aaaa")
    assert "--resume train-20260101-120000-aaaa" in _texts(app.code)


@pytest.mark.parametrize("run", ["../registry", "unknown"])
def test_a_run_that_is_not_listed_is_not_opened(trained: Workspace, run: str) -> None:
    app = _page("training_runs", trained, run=run)
    assert app.selectbox(key="run").value == queries.training_runs(trained)["run"][0]
