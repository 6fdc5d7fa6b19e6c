import socket
from pathlib import Path

import pytest

from flows.review_server import CannotServe, command, serve
from review.try_photo import LARGEST_MB
from storage.settings import ReviewSettings
from storage.workspace import BadWorkspace, open_workspace


def test_the_pages_are_bound_to_this_machine_and_say_little() -> None:
    flags = command(8601, "/w")
    wanted = {
        "--server.address=127.0.0.1",
        "--server.port=8601",
        "--server.enableXsrfProtection=true",
        f"--server.maxUploadSize={LARGEST_MB}",
        "--browser.gatherUsageStats=false",
        "--client.showErrorDetails=none",
    }
    assert wanted <= set(flags)
    assert flags[-2:] == ["--", "/w"]
    assert command(8601, "/w", read_only=True)[-3:] == ["--", "/w", "--read-only"]


def test_the_name_of_a_proxy_is_one_that_the_pages_may_be_asked_by(monkeypatch: pytest.MonkeyPatch) -> None:
    def names() -> list[str]:
        return [flag.split("=")[1] for flag in command(8601, "/w") if flag.startswith("--server.allowedHosts=")]

    assert names() == ["127.0.0.1", "localhost"]
    monkeypatch.setenv("STREAMLIT_BROWSER_SERVER_ADDRESS", "review.example.org")
    assert names() == ["127.0.0.1", "localhost", "review.example.org"]


def test_serving_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWorkspace, match="there is no workspace"):
        serve(ReviewSettings(workspace=str(tmp_path / "none")))


def test_a_port_that_is_taken_is_refused_by_name(tmp_path: Path) -> None:
    open_workspace(str(tmp_path / "workspace"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotServe, match=str(port)):
            serve(ReviewSettings(workspace=str(tmp_path / "workspace"), port=port))
