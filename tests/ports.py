"""Ports of loopback for the servers that tests start."""

import socket


def free_port(above: int = 0) -> int:
    """A port that nothing listens on at this moment."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            if (port := probe.getsockname()[1]) > above:
                return port


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
