"""`faceline up` as its users start it, on free ports of loopback, and Prefect's REST API as its own page uses it."""

import json
import os
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.listening import listens_at, processes_with
from tests.ports import free_port

REPOSITORY = Path(__file__).parent.parent.parent
READY_S, RUN_S, STOP_S = 900, 600, 180  # generous: a machine that trains meanwhile takes ten times as long
ANSWER_S = 180  # Prefect's server itself waits 60 s for SQLite's lock before it says 503
RUNNING = "running; Ctrl-C ends it"
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx would read all certificates anew for each question
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Api:
    """Password and CSRF token, as Prefect's page sends them."""

    def __init__(self, url: str, auth: str) -> None:
        user, password = auth.split(":")
        self._ask = partial(_ask_patiently, url, (user, password))

    def get(self, path: str, **query: str) -> dict:
        return self._ask("GET", path, params=query).raise_for_status().json()

    def post(self, path: str, body: dict) -> httpx.Response:
        client = str(uuid.uuid4())
        token = self.get("/csrf-token", client=client)["token"]
        headers = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}
        return self.post_without_token(path, body, headers=headers)

    def post_without_token(self, path: str, body: dict, **more: dict) -> httpx.Response:
        return self._ask("POST", path, json=body, **more)

    def flow_runs(self, **wanted: dict) -> list[dict]:
        return self.post("/flow_runs/filter", wanted).raise_for_status().json()


@dataclass(frozen=True)
class Up:
    """`faceline up` in a folder of its own, where it has its inbox and its workspace."""

    folder: Path
    port: int
    review_port: int
    process: subprocess.Popen
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def home(self) -> Path:
        return self.folder / "workspace/service"

    def prefect_env(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in (self.home / "prefect.env").read_text().splitlines())

    def api(self) -> Api:
        return Api(f"{self.url}/api", self.prefect_env()["PREFECT_API_AUTH_STRING"])

    def wait_until(self, done: Callable[[], bool], limit_s: float = RUN_S) -> None:
        deadline = time.monotonic() + limit_s
        while not done():
            assert time.monotonic() < deadline, f"not done within {limit_s} s\n{self.said()}"
            assert self.process.poll() is None, f"ended with status {self.process.returncode}\n{self.said()}"
            time.sleep(0.5)

    def said(self) -> str:
        logs = [self.log, *sorted((self.home / "logs").glob("*.log"))]
        return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in logs if log.exists())

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Sends that signal to the command itself, as a terminal's Ctrl-C does; returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP_S)

    def processes(self) -> dict[int, str]:
        """Every process that was started from here and is still there, with its command line."""
        return {
            process_id: (Path("/proc") / str(process_id) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            for process_id in processes_with(f"PREFECT_HOME={self.home}")
        }

    def listens_at(self) -> set[tuple[str, int]]:
        """Every address and port at which one of its processes listens."""
        return listens_at((self.process.pid, *self.processes()))


def start(folder: Path, *options: str, ports: tuple[int, int] | None = None, **environment: str) -> Up:
    """Starts it, and doesn't wait."""
    port, review_port = ports or (free_port(), free_port())
    log = folder / "up.log"
    with log.open("a") as output:
        command = ("up", f"--port={port}", f"--review-port={review_port}", *options)
        process = faceline(folder, *command, output=output, **environment)
    return Up(folder, port, review_port, process, log)


def start_and_wait(folder: Path, *options: str, **environment: str) -> Up:
    up = start(folder, *options, **environment)
    said_before = up.log.read_text().count(RUNNING)
    try:
        up.wait_until(lambda: up.log.read_text().count(RUNNING) > said_before, READY_S)
    except BaseException:
        make_sure_it_ended(up)
        raise
    return up


def faceline(folder: Path, *arguments: str, output: object, **environment: str) -> subprocess.Popen:
    """The command, in that folder, with none of Prefect's settings but those that are given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FACELINE_"))}
    command = [sys.executable, "-P", "-m", "flows.cli", *arguments]
    return subprocess.Popen(command, cwd=folder, env=inherited | environment, stdout=output, stderr=output)  # type: ignore[call-overload]


def make_sure_it_ended(up: Up) -> None:
    """For the end of a test that may have failed half-way."""
    if up.process.poll() is None:
        up.process.terminate()
        up.process.wait(STOP_S)
    for process_id in up.processes():
        os.kill(process_id, signal.SIGKILL)


@contextmanager
def proxy() -> Iterator[tuple[dict[str, str], list[str]]]:
    """A proxy that leads nowhere: the environment of those who should use it for all but this machine, and whom they
    asked it for."""
    asked: list[str] = []

    class Proxy(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            _, address, _ = self.rfile.readline().decode().split()
            asked.append(address)
            self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_address[1]}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    environment = {name: here for upper in names for name in (upper, upper.lower())}
    yield environment | {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}, asked
    server.shutdown()
    server.server_close()


def last_line(log: Path) -> dict:
    return json.loads(log.read_text().strip().splitlines()[-1])


def _ask_patiently(url: str, auth: tuple[str, str], method: str, path: str, **request: Any) -> httpx.Response:
    """Asks again where SQLite was locked, which the server answers with 503; Prefect's own client does the same."""
    for _ in range(10):
        answer = httpx.request(method, url + path, auth=auth, timeout=ANSWER_S, verify=_NO_TLS, **request)
        if answer.status_code != 503:
            break
        time.sleep(1)
    return answer
