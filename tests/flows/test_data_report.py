"""The command `faceline data`: on planted faults, on nothing, and on real faces with the shipped model."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.cli import run
from flows.data_report import report_data
from storage.findings import newest_findings, suspicious_labels
from storage.schemas import FINDINGS
from storage.settings import DataReportSettings
from storage.values import FileStatus, LabelStatus
from storage.workspace import Workspace, open_workspace
from tasks.crop import encode_crop
from tests.rows import content_hash, face_row, faces, file_row, files, label_row, labels

FACES = 120
WRONG_AGES, WRONG_GENDERS = (7, 31, 80), (12, 90)
HOSTILE = "<script>alert('x')</script> & <img src=//evil.example onerror=alert(1)>.jpg"


def face_of(number: int, level: float) -> bytes:
    """A crop that looks like no other and whose mean is `level`, which the tests' model takes for its age and gender:
    level / 4 years, and level / 255 the probability of female."""
    blocks = np.random.default_rng(number).normal(0, 25, (8, 8, 1)).repeat(16, 0).repeat(16, 1).repeat(3, 2)
    return encode_crop(np.clip(blocks - blocks.mean() + level, 0, 255).round().astype(np.uint8))


def planted() -> tuple[list[dict], list[dict], list[dict]]:
    """Faces that the tests' model knows to a few years, but for the labels in WRONG_AGES and WRONG_GENDERS; the last
    one is the first again, under another name and with another gender."""
    random = np.random.default_rng(0)
    women = np.arange(FACES) % 2 == 1
    levels = np.where(women, 210, 45) + random.uniform(-30, 30, FACES)
    surest = [0, *WRONG_GENDERS]
    levels[surest] = np.where(women, 235, 20)[surest]
    rows: tuple[list[dict], list[dict], list[dict]] = [], [], []
    for number, level in enumerate(levels):
        name = HOSTILE if number == WRONG_AGES[0] else f"{number}.jpg"
        age, woman = level / 4 + random.uniform(-2, 2), bool(women[number]) != (number in WRONG_GENDERS)
        age = (70 if age < 35 else 3) if number in WRONG_AGES else age
        groups = [("camera", "<b>bold</b>")]
        label = {"age": age, "gender": "female" if woman else "male", "groups": groups}
        add(rows, name, face_of(number, level), label)
    add(rows, "again.jpg", face_of(0, levels[0]), {"age": levels[0] / 4, "gender": "female"})
    return rows


def add(rows: tuple[list[dict], list[dict], list[dict]], name: str, crop: bytes, label: dict) -> None:
    rows[0].append(file_row(name))
    rows[1].append(face_row(name, crop=crop))
    rows[2].append(label_row(name, **label))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = open_workspace(str(tmp_path_factory.mktemp("data") / "workspace"))
    file_rows, face_rows, label_rows = planted()
    made.append("files", files(*file_rows, file_row("cut.jpg", status=FileStatus.TRUNCATED, face_count=0)))
    made.append("faces", faces(*face_rows))
    invalid = label_row("cut.jpg", age=None, status=LabelStatus.INVALID, detail="cut.jpg: <i>not</i> a number")
    made.append("labels", labels(*label_rows, invalid))
    return made


@pytest.fixture(scope="module")
def counts(workspace: Workspace, model_file: Path) -> dict:
    return report_data(DataReportSettings(workspace=str(workspace.root), model=str(model_file)))


@pytest.fixture(scope="module")
def folder(counts: dict) -> Path:
    return Path(counts["page"]).parent


@pytest.fixture
def findings(workspace: Workspace, folder: Path) -> pl.DataFrame:
    assert folder.exists()
    return newest_findings(workspace)


def found(findings: pl.DataFrame, kind: str) -> list[str]:
    return findings.filter(pl.col("kind") == kind)["file_hash"].to_list()


def test_the_planted_ages_are_found_and_no_others(findings: pl.DataFrame) -> None:
    planted = {content_hash(HOSTILE), *(content_hash(f"{number}.jpg") for number in WRONG_AGES[1:])}
    assert set(found(findings, "suspicious_age")) == planted


def test_the_planted_genders_rank_above_the_others(findings: pl.DataFrame) -> None:
    planted = {content_hash(f"{number}.jpg") for number in WRONG_GENDERS} | {content_hash("again.jpg")}
    assert set(found(findings, "suspicious_gender")[: len(planted)]) == planted


def test_the_planted_copy_is_found_with_its_other_gender(findings: pl.DataFrame) -> None:
    copies = {content_hash("0.jpg"), content_hash("again.jpg")}
    assert set(found(findings, "near_duplicate")) == copies
    assert set(found(findings, "label_conflict")) == copies


def test_the_rows_are_what_the_schema_and_the_review_page_expect(folder: Path, findings: pl.DataFrame) -> None:
    stored = pl.read_parquet(folder / "findings.parquet")
    assert stored.to_arrow().cast(FINDINGS).num_rows == len(stored)
    assert stored["score"].is_between(0, 1).all()
    assert len(suspicious_labels(findings)) == 7  # five planted, and both of the two that contradict each other


def test_names_and_values_are_shown_and_never_run(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert "&lt;script&gt;alert(" in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "&lt;i&gt;not&lt;/i&gt;" in page
    assert not re.search(r"<(script|img|b>bold|i>not)", page)


def test_the_page_needs_no_network_and_shows_no_photo(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 2
    to_review = r"http://127\.0\.0\.1:8501/photo\?photo=[0-9a-f]{64}\""
    assert not re.search(rf"(?:src|href)=\"(?!#|data:image/png|{to_review})|url\((?!#)|@import", page)
    assert "image/jpeg" not in page


def test_each_finding_on_the_page_opens_its_photo_in_review(folder: Path, findings: pl.DataFrame) -> None:
    page = (folder / "report.html").read_text()
    for file_hash in (content_hash("cut.jpg"), *found(findings, "label_conflict")):
        assert f'<a href="http://127.0.0.1:8501/photo?photo={file_hash}">' in page


def test_the_numbers_are_json_too(folder: Path) -> None:
    numbers = json.loads((folder / "report.json").read_text())
    assert numbers["files"] == {"ok": FACES + 1, "truncated": 1}
    assert numbers["findings"]["suspicious_age"] == len(WRONG_AGES)
    assert [caution for caution in numbers["cautions"] if caution["stops"]] == []


def test_what_was_found_is_counted(counts: dict) -> None:
    assert {name: counts[name] for name in ("faces", "left_out", "invalid_label", "can_train")} == {
        "faces": FACES + 1,
        "left_out": {"truncated": 1},
        "invalid_label": 1,
        "can_train": True,
    }


def test_an_empty_workspace_is_reported_as_such(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    workspace = open_workspace(str(tmp_path / "empty"))
    assert run(["data", "--workspace", str(workspace.root), "--no-check-labels"]) == 0
    last = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert (last["faces"], last["can_train"]) == (0, False)
    assert "no labelled face to train on" in Path(last["page"]).read_text()


def test_a_workspace_that_takes_no_report_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    workspace = open_workspace(str(tmp_path / "empty"))
    (workspace.local_root() / "data_reports").touch()
    assert run(["data", "--workspace", str(workspace.root), "--no-check-labels"]) == 1
    assert f"faceline: {workspace.root}/data_reports/data-" in capsys.readouterr().err


def test_without_the_model_the_rest_is_reported(workspace: Workspace, capsys: pytest.CaptureFixture) -> None:
    run(["data", "--workspace", str(workspace.root), "--no-check-labels"])
    last = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert last["label_conflict"] == 2
    assert "suspicious_age" not in last
    assert Path(last["page"]).read_text().count("<svg") == 1


@pytest.mark.slow
def test_swapped_labels_of_real_faces_rank_above_true_ones(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The shipped model on UTKFace's test crops: grown-ups who are labelled as babies, and genders swapped."""
    table = pl.read_csv(shared / "data/utkface/labels.csv").filter(
        pl.col("split") == "test", pl.col("age").is_between(25, 60)
    )
    chosen = table.sort("file").gather_every(len(table) // 60).head(60).with_row_index()
    (tmp_path / "photos").mkdir()
    for name in chosen["file"]:
        shutil.copy(shared / "data/utkface/images" / name, tmp_path / "photos")
    older = pl.col("index") % 20 == 3
    other = pl.when(pl.col("gender") == "female").then(pl.lit("male")).otherwise(pl.lit("female"))
    spoilt = chosen.with_columns(
        age=pl.when(older).then(2).otherwise("age"),
        gender=pl.when(pl.col("index") % 20 == 7).then(other).otherwise("gender"),
    )
    spoilt.select("file", "age", "gender").write_csv(tmp_path / "labels.csv")
    space = str(tmp_path / "workspace")
    photos, table_file = str(tmp_path / "photos"), str(tmp_path / "labels.csv")
    hashes = {
        hashlib.sha256((tmp_path / "photos" / name).read_bytes()).hexdigest(): index
        for index, name in chosen.select("index", "file").iter_rows()
    }
    assert run(["extract", photos, "--labels", table_file, "--faces", "whole", "--workspace", space]) == 0
    assert run(["data", "--workspace", space]) == 0
    last = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    rows = pl.read_parquet(Path(last["page"]).with_name("findings.parquet"))
    ages = rows.filter(pl.col("kind") == "suspicious_age")["age"].to_list()
    assert ages[:5].count(2) == 3  # UTKFace has wrong labels of its own
    swapped = [content for content, index in hashes.items() if index % 20 == 7]
    assert len(set(found(rows, "suspicious_gender")[:3]) & set(swapped)) >= 2
