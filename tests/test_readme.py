"""What the documents promise: links that lead somewhere, code that runs, dependencies that are explained."""

import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from flows.cli import run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_picture_of_the_readme_is_small_and_described() -> None:
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert {path for _, path in pictures} == {
        f"docs/pictures/{file.name}" for file in (ROOT / "docs/pictures").iterdir()
    }
    assert [path for about, path in pictures if not about or (ROOT / path).stat().st_size > 200_000] == []


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[<>=;~! ]", entry)[0] for entry in project["dependencies"]}
    table = README[README.index("| dependency |") :]
    assert {name for name in names if name not in table} == set()


@pytest.mark.parametrize(
    "words",
    [
        "Faces are personal data",
        "What it keeps, all of it in the workspace folder",
        "It is kept until you delete it",
        "delete the workspace folder",
        "faceline forget --subject",
        "estimates, with errors that differ by age and group",
        "not for deciding about a person",
    ],
)
def test_the_readme_says_what_is_stored_for_how_long_and_what_estimates_are_not_for(words: str) -> None:
    assert words in " ".join(README.split())


@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements*.lock")), ids=lambda path: path.name)
def test_every_locked_package_has_its_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", lock.read_text())
    packages = [entry for entry in entries if "==" in entry]
    assert len(packages) > 100
    assert [entry.split()[0] for entry in packages if "--hash=sha256:" not in entry] == []


@pytest.mark.slow
def test_the_code_that_reads_the_tables_runs(
    hopper: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "photos").mkdir()
    photo = shutil.copy(hopper, tmp_path / "photos")
    for moment in (1_700_000_000, 1_800_000_000):  # touched in between
        os.utime(photo, (moment, moment))
        run(["score", str(tmp_path / "photos"), "--workspace", str(tmp_path / "faces"), "--model", str(model_file)])
    block = README[README.index("    import polars as pl") : README.index("| table | one row is |")]
    code = "\n".join(line.removeprefix("    ") for line in block.splitlines())
    exec(code.replace("~/faces", str(tmp_path / "faces")), {})
    assert "shape: (1, " in capsys.readouterr().out


def test_the_lock_names_no_address() -> None:
    locks = [path.read_text() for path in ROOT.glob("requirements*.lock")]
    assert locks
    assert not any("://" in lock for lock in locks)
