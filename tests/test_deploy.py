"""The files for those who run the service for good: what they call exists, and takes the options they give."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.verbs import parse
from storage.settings import UpSettings

ROOT = Path(__file__).parent.parent
UNITS = sorted((ROOT / "deploy").glob("*.service"))
CONTAINER = (ROOT / "deploy/Containerfile").read_text()


def command_of(unit: Path) -> list[str]:
    [line] = re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE)
    return shlex.split(line)


def test_the_service_is_started_with_options_that_there_are() -> None:
    program, *arguments = command_of(ROOT / "deploy/faceline.service")
    assert program.endswith("/faceline")
    assert parse(arguments) == UpSettings(workspace="/srv/faceline/workspace", inbox="/srv/faceline/inbox")


def test_the_container_is_started_with_options_that_there_are() -> None:
    [arguments] = re.findall(r"^CMD (.+)$", CONTAINER, re.MULTILINE)
    assert parse(json.loads(arguments)) == UpSettings(workspace="/data/workspace", inbox="/data/inbox")


def test_the_container_has_every_package_and_file_that_it_copies() -> None:
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", CONTAINER, re.MULTILINE) for name in line.split()}
    assert {"flows", "models", "review", "storage", "tasks", "prefect.yaml", "requirements.lock"} <= copied
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_containers_user_owns_the_folder_that_holds_its_data() -> None:
    """WORKDIR makes a folder that isn't there as root, and what a build does to a volume after VOLUME is lost."""
    orders = re.findall(r"^(?:RUN|USER|WORKDIR|VOLUME) .+$", CONTAINER, re.MULTILINE)
    [made] = [index for index, order in enumerate(orders) if order.endswith("-o faceline -g faceline -m 0700 /data")]
    assert orders[made].startswith("RUN useradd --uid 10001 ")
    assert orders[made + 1 :] == ["USER faceline", "WORKDIR /data", "VOLUME /data"]
    assert "-o 10001 -g 10001" in (ROOT / "docs/service.md").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_no_fault(unit: Path, tmp_path: Path) -> None:
    """With the program in this environment, since it looks whether it's there."""
    here = unit.read_text().replace("/opt/faceline/.venv/bin", str(Path(sys.executable).parent))
    checked = tmp_path / unit.name.replace("@", "@gpu")
    checked.write_text(here)
    done = subprocess.run(["systemd-analyze", "verify", str(checked)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_are_units() -> None:
    assert [unit.name for unit in UNITS] == ["faceline-worker@.service", "faceline.service"]
