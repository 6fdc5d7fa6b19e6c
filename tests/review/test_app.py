"""The app around the pages: which there are, and what the command line says."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

from storage.workspace import Workspace

_SCRIPT = """
if __name__ == "__main__":
    from review.app import main

    main({arguments!r})
"""


def _app(*arguments: str) -> AppTest:
    app = AppTest.from_string(_SCRIPT.format(arguments=list(arguments)), default_timeout=60).run()
    assert not app.exception
    return app


def test_the_first_page_is_the_overview_and_a_name_can_be_given(scored: Workspace) -> None:
    app = _app(str(scored.root))
    assert [title.value for title in app.title] == ["Overview"]
    app.text_input(key="reviewer").set_value(" Ada ").run()
    assert "first visit" in app.info[0].value


def test_a_read_only_app_asks_for_no_name_and_notes_no_visit(scored: Workspace) -> None:
    app = _app(str(scored.root), "--read-only")
    assert not app.text_input
    assert not app.info


def test_a_missing_workspace_is_said_in_a_sentence(tmp_path: Path) -> None:
    app = _app(str(tmp_path / "none"))
    assert "there is no workspace" in app.error[0].value.replace("\\", "")


def test_the_note_on_what_estimates_are_for_is_on_every_page(scored: Workspace) -> None:
    assert any("not for decisions about people" in caption.value for caption in _app(str(scored.root)).sidebar.caption)
