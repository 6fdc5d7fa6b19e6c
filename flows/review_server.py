"""Serves the review pages: Streamlit in a process of its own, bound to this machine.

Streamlit as installed listens on every interface, takes uploads of 200 MB, shows tracebacks in the page and reports
usage; the flags say otherwise here, and a flag wins over any configuration file. It also takes whatever page was loaded
under the name that a request is for: one from elsewhere whose name was made to lead here (DNS rebinding) could look at
faces, so the names that it may be asked by are listed. Python's `-P` keeps the folder
where the command was typed from hiding libraries."""

import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from storage.refusal import Refusal
from storage.settings import ReviewSettings
from storage.workspace import existing_workspace

ADDRESS = "127.0.0.1"
_FLAGS = {
    "server.address": ADDRESS,
    "server.headless": "true",
    "server.enableXsrfProtection": "true",
    "server.enableCORS": "true",
    "server.maxUploadSize": "20",  # MB
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",  # to Google and ChatGPT, with what is in the error
    "client.toolbarMode": "minimal",
    "global.disableWidgetStateDuplicationWarning": "true",  # filters have defaults, and a button that resets them
    "logger.hideWelcomeMessage": "true",
}
_PROXY = "STREAMLIT_BROWSER_SERVER_ADDRESS"  # Streamlit's own variable for the name of a proxy before it
logger = logging.getLogger(__name__)


class CannotServe(Refusal):
    """The pages can't be served; the message says why, and what to do."""


def serve(settings: ReviewSettings) -> None:
    """Serves until it is interrupted or terminated. Raises BadWorkspace and CannotServe."""
    workspace = existing_workspace(settings.workspace)
    check_port(settings.port, "--port")
    logger.info("review of %s: http://%s:%d (Ctrl-C ends it)", workspace.root, ADDRESS, settings.port)
    # What a command prints on stdout is for scripts, so Streamlit's lines go to stderr.
    pages = command(settings.port, str(workspace.root), read_only=settings.read_only)
    server = subprocess.Popen(pages, stdout=sys.stderr)
    before = signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    try:
        status = server.wait()
    except KeyboardInterrupt:
        status = server.wait()  # Ctrl-C reached Streamlit as well, which ends by itself
    finally:
        signal.signal(signal.SIGTERM, before)
    if status > 0:
        raise CannotServe(f"the review pages ended with status {status}; the lines above say why")


def command(port: int, workspace: str, *, read_only: bool = False) -> list[str]:
    """What runs the pages."""
    package = importlib.util.find_spec("review")
    if package is None or package.origin is None:
        raise CannotServe("the review pages aren't installed; install Faceline again")
    app = Path(package.origin).parent / "app.py"
    flags = [f"--{name}={value}" for name, value in (_FLAGS | {"server.port": str(port)}).items()]
    names = [ADDRESS, "localhost", *filter(None, [os.environ.get(_PROXY)])]
    flags += [f"--server.allowedHosts={name}" for name in names]
    arguments = [workspace, "--read-only"] if read_only else [workspace]
    return [sys.executable, "-P", "-m", "review.start", "run", str(app), *flags, "--", *arguments]


def check_port(port: int, option: str) -> None:
    """Raises CannotServe when something listens there already, and names the next port that is free."""
    if not _is_free(port):
        free = next((other for other in range(port + 1, 2**16) if _is_free(other)), None)
        raise CannotServe(f"port {port} of {ADDRESS} is taken; {free} is free: give it with {option} {free}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
        return True
