"""Scoring and extraction as a user runs them: rows conserved, nothing done twice, bad files costing only themselves."""

import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from flows.extraction import extract_folders, list_folders
from flows.scoring import score_folders
from flows.steps import threads
from models import centerface
from models.contract import BadModel
from storage.registry import shipped
from storage.settings import ExtractSettings, ScoreSettings
from storage.workspace import BadWorkspace, existing_workspace, open_workspace
from tasks.folder import BadFolder


def score(folder: Path, workspace: Path, model: Path, **settings) -> dict:
    with threads() as submit:
        wanted = ScoreSettings(folders=[str(folder)], workspace=str(workspace), model=str(model), workers=2, **settings)
        return score_folders(wanted, submit)


def extract(folder: Path, workspace: Path, **settings) -> dict:
    with threads() as submit:
        wanted = ExtractSettings(folders=[str(folder)], workspace=str(workspace), workers=2, **settings)
        return extract_folders(wanted, submit)


def table(workspace: Path, name: str) -> pl.DataFrame:
    return existing_workspace(str(workspace)).scan(name).collect()


@pytest.fixture
def photos(tmp_path: Path, hopper: Path, collins: Path, coffee: Path) -> Path:
    """Two faces, no face, and the kinds of bad file that a folder has."""
    folder = tmp_path / "photos"
    (folder / "inner" / "x.jpg").mkdir(parents=True)
    shutil.copy(hopper, folder / "hopper.jpg")
    shutil.copy(collins, folder / "inner" / "collins.png")
    shutil.copy(coffee, folder / "coffee.png")
    whole = hopper.read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("no photo\n")
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    (folder / "loop").symlink_to(".")
    (folder / "many-pixels.png").write_bytes(_png_header(60_000, 60_000))
    os.close(os.open(os.fsencode(folder) + b"/caf\xe9.jpg", os.O_CREAT))
    shutil.copy(hopper, os.fsencode(folder) + b"/caf\xe9.jpg")
    return folder


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has almost no pixels."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size) + _chunk(b"IDAT", zlib.compress(b"\0" * 10))


def _chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def test_folders_without_a_file_are_warned_of(
    tmp_path: Path, model_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "unmounted").mkdir()
    assert score(tmp_path / "unmounted", tmp_path / "work", model_file)["files"] == 0
    assert f"{tmp_path}/unmounted: no file is there" in caplog.text


def test_every_file_met_ends_in_one_status(photos: Path, tmp_path: Path, model_file: Path) -> None:
    score(photos, tmp_path / "work", model_file)
    found = dict(table(tmp_path / "work", "files").select("path", "status").iter_rows())
    assert found == {
        "hopper.jpg": "ok",
        "inner/collins.png": "ok",
        "coffee.png": "ok",
        "caf%E9.jpg": "ok",
        "cut.jpg": "truncated",
        "empty.jpg": "not_an_image",
        "text.jpg": "not_an_image",
        "nowhere.jpg": "unreadable",
        "loop": "unsupported",
        "many-pixels.png": "too_large",
    }


def test_every_failed_file_has_a_reason(photos: Path, tmp_path: Path, model_file: Path) -> None:
    score(photos, tmp_path / "work", model_file)
    failed = table(tmp_path / "work", "files").filter(pl.col("status") != "ok")
    assert failed["detail"].null_count() == 0


@pytest.mark.slow
def test_each_face_is_scored_once_though_its_photo_stands_at_two_paths(
    photos: Path, tmp_path: Path, model_file: Path
) -> None:
    counts = score(photos, tmp_path / "work", model_file)
    scores = table(tmp_path / "work", "scores")
    assert counts["faces"] == 2
    assert scores.select("file_hash", "face_index").is_unique().all()
    assert len(scores) == 2


def test_a_second_run_does_no_work(photos: Path, tmp_path: Path, model_file: Path) -> None:
    first = score(photos, tmp_path / "work", model_file)
    before = {name: table(tmp_path / "work", name) for name in ("files", "faces", "scores")}
    second = score(photos, tmp_path / "work", model_file)
    assert (second["read"], second["skipped"], second["rescored"]) == (0, first["files"], 0)
    assert all(rows.equals(table(tmp_path / "work", name)) for name, rows in before.items())


@pytest.mark.slow
def test_another_limit_tries_only_that_again_which_failed_by_one(
    photos: Path, tmp_path: Path, model_file: Path
) -> None:
    score(photos, tmp_path / "work", model_file)
    faces = table(tmp_path / "work", "faces")
    counts = score(photos, tmp_path / "work", model_file, max_pixels=10**9, photo_timeout_s=30)
    assert (counts["read"], counts["faces"], counts["rescored"]) == (1, 0, 0)
    assert table(tmp_path / "work", "faces").equals(faces)
    rows = table(tmp_path / "work", "files").filter(pl.col("path") == "many-pixels.png")
    assert rows.height == 2


def test_a_photo_in_a_folder_given_twice_over_is_one_of_the_outer(photos: Path, tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path / "work"))
    inner, outer = str(photos / "inner"), str(photos)
    listed = [list_folders(folders, workspace) for folders in ([inner, outer], [outer, inner])]
    assert {file.source for files in listed for file in files} == {outer}
    assert len(listed[0]) == len(listed[1]) == len(list_folders([outer], workspace))


@pytest.mark.slow
def test_a_renamed_photo_is_not_decoded_again(photos: Path, tmp_path: Path, model_file: Path) -> None:
    score(photos, tmp_path / "work", model_file)
    (photos / "inner" / "collins.png").rename(photos / "moved.png")
    counts = score(photos, tmp_path / "work", model_file)
    assert (counts["read"], counts["faces"]) == (1, 0)
    moved = table(tmp_path / "work", "files").filter(pl.col("path") == "moved.png")
    assert moved["face_count"].to_list() == [1]


@pytest.mark.slow
def test_a_changed_photo_is_done_again(photos: Path, tmp_path: Path, model_file: Path, collins: Path) -> None:
    score(photos, tmp_path / "work", model_file)
    Image.open(collins).convert("RGB").resize((300, 300)).save(photos / "hopper.jpg")
    assert score(photos, tmp_path / "work", model_file)["faces"] == 1


@pytest.mark.slow
def test_faces_that_were_extracted_before_are_scored_from_their_crops(
    photos: Path, tmp_path: Path, model_file: Path
) -> None:
    extract(photos, tmp_path / "work")
    shutil.rmtree(photos / "inner")
    counts = score(photos, tmp_path / "work", model_file)
    assert (counts["read"], counts["rescored"]) == (0, 2)


@pytest.mark.slow
def test_chunks_do_not_change_the_rows(photos: Path, tmp_path: Path, model_file: Path) -> None:
    columns = ["file_hash", "face_index", "fingerprint", "model_hash", "age", "female", "quality"]
    score(photos, tmp_path / "one", model_file)
    score(photos, tmp_path / "many", model_file, chunk_files=1)
    one, many = (table(tmp_path / name, "scores").select(columns).sort("file_hash") for name in ("one", "many"))
    assert one.equals(many)


@pytest.mark.slow
def test_quality_is_told_by_one_detector_for_all_chunks(
    photos: Path, tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loaded = centerface.load, []

    def noted(content: bytes, *, threads: int) -> centerface.Network:
        loaded.append(threads)
        return load(content, threads=threads)

    monkeypatch.setattr(centerface, "load", noted)
    score(photos, tmp_path / "work", model_file, chunk_files=1)
    assert all(told > 0.6 for told in table(tmp_path / "work", "scores")["quality"])
    assert len(loaded) == 2  # that of quality, and the one by which the file is tried before workers start


def test_crops_can_be_left_out(photos: Path, tmp_path: Path, model_file: Path) -> None:
    score(photos, tmp_path / "work", model_file, keep_crops=False)
    assert table(tmp_path / "work", "faces")["crop"].null_count() == 2
    assert len(table(tmp_path / "work", "scores")) == 2


@pytest.mark.slow
def test_the_workspace_inside_the_folder_is_not_scored(photos: Path, model_file: Path) -> None:
    first = score(photos, photos / "work", model_file)
    assert score(photos, photos / "work", model_file)["files"] == first["files"]


def test_an_empty_folder_is_scored_in_no_time(tmp_path: Path, model_file: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert score(tmp_path / "empty", tmp_path / "work", model_file)["files"] == 0


def test_a_folder_without_one_image_gives_rows_and_no_score(tmp_path: Path, model_file: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    counts = score(tmp_path / "texts", tmp_path / "work", model_file)
    assert (counts["files"], counts["not_an_image"], counts["faces"]) == (1, 1, 0)


def test_a_missing_folder_is_named(tmp_path: Path, model_file: Path) -> None:
    with pytest.raises(BadFolder, match="nothing-here"):
        score(tmp_path / "nothing-here", tmp_path / "work", model_file)


def test_a_second_run_at_the_same_time_is_refused(photos: Path, tmp_path: Path, model_file: Path) -> None:
    with (
        open_workspace(str(tmp_path / "work")).only_writer(),
        pytest.raises(BadWorkspace, match="another run"),
    ):
        score(photos, tmp_path / "work", model_file)


def test_a_bad_model_scores_nothing(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_text("no model")
    with pytest.raises(BadModel):
        score(photos, tmp_path / "work", tmp_path / "bad.onnx")
    assert not existing_workspace(str(tmp_path / "work")).has("scores")


def test_every_row_tells_the_model_and_the_provider_that_ran(photos: Path, tmp_path: Path, model_file: Path) -> None:
    counts = score(photos, tmp_path / "work", model_file)
    scores = table(tmp_path / "work", "scores")
    assert set(scores["model_hash"]) == {counts["model_hash"]}
    assert set(scores["provider"]) == {"CPUExecutionProvider"}


@pytest.mark.slow
def test_scores_of_the_fast_model_stand_beside_those_of_the_other(photos: Path, tmp_path: Path) -> None:
    for name in ("pretrained", "fast"):
        score(photos, tmp_path / "workspace", Path(name))
    rows = table(tmp_path / "workspace", "scores")
    hashes = {name: shipped(name).model_hash for name in ("pretrained", "fast")}
    assert dict(rows.select("model_version", "model_hash").unique().iter_rows()) == hashes
    assert rows["model_version"].value_counts()["count"].n_unique() == 1


@pytest.mark.slow
def test_scoring_never_imports_what_only_takes_long(photos: Path, tmp_path: Path, model_file: Path) -> None:
    arguments = ["score", str(photos), "--workspace", str(tmp_path / "work"), "--model", str(model_file)]
    code = (
        f"import sys; from flows.cli import run; assert run({arguments!r}) == 0; "
        "sys.exit(', '.join({'tensorflow', 'keras', 'pandas', 'pyarrow.compute'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
