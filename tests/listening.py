"""Who listens where on this machine, from the kernel's own tables in /proc: what programs log about it isn't always so
(Dask's workers say 127.0.0.1 and take every address)."""

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

LOOPBACK = {"127.0.0.1", "::1"}


def processes_with(mark: str) -> list[int]:
    """Every process with that NAME=VALUE in its environment, which children inherit."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
        except OSError:
            continue  # gone, or somebody else's
    return found


def listens_at(process_ids: Iterable[int]) -> set[tuple[str, int]]:
    """Every address and port at which one of these processes listens."""
    sockets = {link for process_id in process_ids for link in _sockets(process_id)}
    return {(address, port) for address, port, socket_link in _listening() if socket_link in sockets}


def _sockets(process_id: int) -> list[str]:
    """The sockets that a process has open, as /proc names them: socket:[123]."""
    links = []
    for descriptor in Path(f"/proc/{process_id}/fd").glob("*"):
        try:
            links.append(os.readlink(descriptor))
        except OSError:
            continue  # closed meanwhile
    return [link for link in links if link.startswith("socket:")]


def _listening() -> Iterator[tuple[str, int, str]]:
    """Address, port and socket of everything that listens on this machine."""
    for table, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        for line in Path(table).read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] != "0A":
                continue
            address, port = columns[1].split(":")
            words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
            packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
            yield socket.inet_ntop(family, packed), int(port, 16), f"socket:[{columns[9]}]"
