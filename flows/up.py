"""Prefect's server, its workers and the review pages in one command, bound to this machine, until Ctrl-C.

A Prefect server as installed has no password and answers every web page; here it has a password, the list of its own
addresses, and protection against forged requests. What one of the processes leaves when it ends by itself is a log and
half a service, so the others are ended too: systemd or whoever typed the command starts them again."""

import json
import logging
import os
import re
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from filelock import FileLock, Timeout
from upath import UPath

from flows.children import children
from flows.review_server import ADDRESS, CannotServe, check_port, command
from storage.settings import DeploySettings, UpSettings
from storage.workspace import Workspace, open_workspace, write_whole

_PYTHON = (sys.executable, "-P", "-m")  # -P: the folder where the command was typed hides no library
_USER = "admin"
_OURS_OR_YOURS = {  # what the environment may say otherwise
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "true",  # runs are forgotten after 90 days, their logs with them
}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """One start of the command: who it is, and where its pages are."""

    pid: int
    prefect: str
    review: str
    home: str

    def say(self, heading: str) -> None:
        logger.info("%s (process %d)", heading, self.pid)
        logger.info("schedules and runs: %s (the password is in %s/prefect.env)", self.prefect, self.home)
        logger.info("review:             %s", self.review)


def serve(settings: UpSettings) -> dict:
    """Serves until it is interrupted or terminated; where that is done already, says where. Raises BadWorkspace,
    CannotServe, and ChildEnded when one of the processes ends."""
    workspace = open_workspace(settings.workspace)
    home = _home(settings.home, workspace)
    prefect, review = (f"http://{ADDRESS}:{port}" for port in (settings.port, settings.review_port))
    service = Service(os.getpid(), prefect, review, str(home))
    try:
        with FileLock(home / "up.lock", blocking=False):
            _run(service, settings, workspace)
    except Timeout:
        service = _other(home)
        service.say("already running")
        return {"already_running": True, **asdict(service)}
    except KeyboardInterrupt:
        logger.info("ended")
    return {"already_running": False, **asdict(service)}


def environment(home: Path, url: str) -> dict[str, str]:
    """What Prefect's processes are told. The password is made once and kept in `home`/prefect.env, readable by its
    owner alone, for `prefect` commands in a shell: `set -a; . prefect.env`."""
    file = home / "prefect.env"
    auth = _kept_password(file) or f"{_USER}:{secrets.token_urlsafe(24)}"
    client = {"PREFECT_API_URL": f"{url}/api", "PREFECT_API_AUTH_STRING": auth}
    file.touch(mode=0o600)
    file.write_text("".join(f"{name}={value}\n" for name, value in client.items()), encoding="utf-8")
    pages = f"{url},{url.replace(ADDRESS, 'localhost')}"
    yours = {"PREFECT_SERVER_CORS_ALLOWED_ORIGINS": pages, **_OURS_OR_YOURS} | os.environ
    ours = client | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    return yours | ours


def _run(service: Service, settings: UpSettings, workspace: Workspace) -> None:
    check_port(settings.port, "--port")
    check_port(settings.review_port, "--review-port")
    home = Path(service.home)
    with (
        _signals_interrupt(),
        _noted(home / "up.json", service),
        children(home / "logs", environment(home, service.prefect)) as processes,
        httpx.Client(timeout=5) as client,  # one for all questions: each new one reads all certificates, for 0.1 s
    ):
        logger.info("starting; logs are in %s", home / "logs")
        server = ("server", "start", "--host", ADDRESS, "--port", str(settings.port))
        processes.start("server", (*_PYTHON, "prefect", *server))
        processes.wait_until(lambda: _answers(client, f"{service.prefect}/api/health"))
        processes.finish("deploy", (*_PYTHON, "flows.cli", "deploy", *_options(settings)))
        processes.finish("left-running", (*_PYTHON, "flows.left_running", *settings.pools))
        for pool in settings.pools:
            processes.start(f"worker-{pool}", (*_PYTHON, "prefect", "worker", "start", "--pool", pool))
        processes.start("review", command(settings.review_port, str(workspace.root)))
        processes.wait_until(lambda: _answers(client, f"{service.review}/_stcore/health"))
        service.say("running; Ctrl-C ends it")
        processes.wait_until(lambda: False)


def _home(given: str | None, workspace: Workspace) -> Path:
    if given is None and not workspace.is_local:
        raise CannotServe(f"{workspace.root} is no folder of this machine; name one for the database with --home")
    home = Path(given).expanduser().absolute() if given else Path(str(workspace.root / "service"))
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return home


def _kept_password(file: Path) -> str | None:
    if not file.exists():
        return None
    kept = re.search(r"^PREFECT_API_AUTH_STRING=(.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return kept[1] if kept else None


def _options(settings: UpSettings) -> list[str]:
    """The settings of `faceline deploy` among these, as its options."""
    chosen = settings.model_dump(include=set(DeploySettings.model_fields), exclude_none=True)
    return [f"--{name.replace('_', '-')}={value}" for name, value in chosen.items()]


@contextmanager
def _noted(file: Path, service: Service) -> Iterator[None]:
    """Leaves a note for the next start to find."""
    write_whole(UPath(file), json.dumps(asdict(service)).encode())
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _other(home: Path) -> Service:
    try:
        return Service(**json.loads((home / "up.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CannotServe(f"{home}: another `faceline up` is starting or ending here; try again") from error


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP end the service as Ctrl-C does, and SIGINT does where a shell had it ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).is_success
    except httpx.TransportError:
        return False
