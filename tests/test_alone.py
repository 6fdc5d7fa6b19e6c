"""That the count of those spoken to counts: names, addresses and probes alike, and loopback not."""

from pathlib import Path

import pytest

from tests.alone import run_alone

_CALLS = {
    "a name": "socket.getaddrinfo('faceline.example', 443)",
    "an address": "socket.create_connection(('192.0.2.1', 443))",
    "a probe for its own address": "socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 1))",
    "IPv6": "socket.create_connection(('2001:db8::1', 443))",
}


@pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
def test_who_speaks_to_anyone_is_noticed(call: str, tmp_path: Path) -> None:
    assert run_alone(tmp_path, "-c", f"import contextlib, socket\nwith contextlib.suppress(OSError): {call}").unsent > 0


def test_loopback_is_no_stranger(tmp_path: Path) -> None:
    code = "import socket\nwith socket.create_server(('127.0.0.1', 0)) as s: socket.create_connection(s.getsockname())"
    found = run_alone(tmp_path, "-c", code)
    assert (found.status, found.unsent) == (0, 0)
