"""A command on a machine without a network, of which the kernel counts who would have been spoken to.

In a network namespace of its own, with nothing but loopback, whatever is sent elsewhere finds no route, and the kernel
counts it, whichever process or library it was; name servers too, which are made one that isn't there."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parent.parent
_INSIDE = """
import fcntl, socket, struct, subprocess, sys
from pathlib import Path

with socket.socket() as anyone:
    set_flags, up_and_running = 0x8914, 0x41
    fcntl.ioctl(anyone, set_flags, struct.pack("16sh", b"lo", up_and_running))
subprocess.run(["mount", "--bind", sys.argv[1], str(Path("/etc/resolv.conf").resolve())], check=True)
status = subprocess.run(sys.argv[3:], check=False).returncode
heads, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:"))
unsent = int(values[heads.index("OutNoRoutes")])
for line in Path("/proc/net/snmp6").read_text().splitlines():
    unsent += int(line.split()[1]) if line.startswith("Ip6OutNoRoutes") else 0
Path(sys.argv[2]).write_text(str(unsent))
sys.exit(status)
"""
_UNSHARE = ("unshare", "--map-root-user", "--net", "--mount")


@dataclass(frozen=True)
class Alone:
    """What became of the command; `unsent` packets would have gone elsewhere than to loopback."""

    status: int
    output: str  # stdout
    unsent: int


def run_alone(folder: Path, *command: str) -> Alone:
    """Runs a command of this Python, such as `-m flows.cli`. Notes are left in `folder`. The test is skipped where a
    network namespace can't be made, but never in CI."""
    if shutil.which(_UNSHARE[0]) is None or subprocess.run([*_UNSHARE, "true"], check=False).returncode:
        assert "CI" not in os.environ, "CI must allow a network namespace"
        pytest.skip("needs a network namespace: unshare, and the right to use it")
    names, count = folder / "resolv.conf", folder / "unsent"
    names.write_text("nameserver 192.0.2.53\noptions timeout:1 attempts:1\n")
    inside = [sys.executable, "-c", _INSIDE, str(names), str(count), sys.executable, *command]
    done = subprocess.run([*_UNSHARE, *inside], cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    return Alone(done.returncode, done.stdout, int(count.read_text()))
