"""The whole way on sample photos: freely usable pictures that come inside Python packages, edited into a small folder
as people have them: named like the original's, some turned, one with no face, one with two, one damaged.

It's two people, so the fine-tune shows the steps, not a better model."""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

from flows.export import export_run
from flows.extraction import extract_folders
from flows.scoring import score_folders
from flows.steps import threads
from flows.train import train_model
from storage.settings import DemoSettings, ExportSettings, ExtractSettings, ScoreSettings, TrainSettings
from storage.workspace import BadWorkspace, Workspace, existing_workspace

_HOPPER = ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "1906-12-09_1984")  # US Navy, public domain
_COLLINS = ("skimage", "data/astronaut.png", "1956-11-19_1999")  # NASA, public domain
_COFFEE = ("skimage", "data/coffee.png")  # no face
_MARKER = "faceline-demo.txt"
_UPRIGHT_TURN = 6  # EXIF: stored turned, to be shown turned back by 90 degrees


def run_demo(settings: DemoSettings) -> dict:
    """Extracts, trains, exports and scores; prints a table. Raises BadWorkspace where the folder holds other things."""
    folder = _fresh(Path(settings.folder))
    photos, workspace = folder / "photos", str(folder / "workspace")
    make_photos(photos)
    with threads() as submit:
        extracted = extract_folders(ExtractSettings(folders=[str(photos)], labels="wiki", workspace=workspace), submit)
        trained = train_model(TrainSettings(workspace=workspace, targets="age", epochs=2, batch=8, patience=2))
        exported = export_run(ExportSettings(workspace=workspace, run=trained["run"]))
        scored = score_folders(ScoreSettings(folders=[str(photos)], model="pretrained", workspace=workspace), submit)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(_table(existing_workspace(workspace)))
    console.print(f"Look at the faces:  faceline review --workspace {workspace}")
    return {"extracted": extracted, "run": trained["run"], "version": exported["version"], "scored": scored}


def make_photos(folder: Path) -> None:
    """Writes the sample folder: what an archive's folder looks like, in small."""
    folder.mkdir(parents=True)
    hopper, collins = (Image.open(_inside(*photo[:2])).convert("RGB") for photo in (_HOPPER, _COLLINS))
    for number, edit in enumerate((lambda photo: photo, ImageOps.mirror, _darker, _smaller, _paler)):
        edit(hopper).save(folder / f"{10 + number}_{_HOPPER[2]}.jpg", quality=92)
        edit(collins).save(folder / f"{20 + number}_{_COLLINS[2]}.jpg", quality=92)
    turned = Image.Exif()
    turned[0x0112] = _UPRIGHT_TURN
    collins.rotate(90, expand=True).save(folder / f"26_{_COLLINS[2]}.jpg", quality=92, exif=turned)
    hopper.save(folder / "17_2030-01-01_1984.jpg")  # born after the photo: an invalid label
    Image.open(_inside(*_COFFEE)).convert("RGB").save(folder / "no face.jpg")
    _side_by_side(hopper, collins).save(folder / "two people.jpg", quality=92)
    whole = (folder / f"10_{_HOPPER[2]}.jpg").read_bytes()
    (folder / "damaged.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.jpg").write_text("not a photo at all\n", encoding="utf-8")


def _fresh(folder: Path) -> Path:
    """An empty folder; one that an earlier demo made is emptied, any other is left alone."""
    marker = folder / _MARKER
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        raise BadWorkspace(f"{folder}: holds other things; give `faceline demo --folder` another one")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.write_text("Made by `faceline demo`, and made anew each time: keep nothing in here.\n", encoding="utf-8")
    return folder


def _inside(package: str, file: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise BadWorkspace(f"the demo's photos come with the package {package}; `make install` has it")
    return Path(found.origin).parent / file


def _darker(photo: Image.Image) -> Image.Image:
    return photo.point(lambda value: value * 0.6)


def _paler(photo: Image.Image) -> Image.Image:
    return photo.point(lambda value: 60 + value * 0.7)


def _smaller(photo: Image.Image) -> Image.Image:
    return ImageOps.contain(photo, (300, 300))


def _side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    height = min(left.height, right.height)
    parts = [np.asarray(ImageOps.contain(photo, (4000, height))) for photo in (left, right)]
    return Image.fromarray(np.concatenate([part[:height] for part in parts], axis=1))


def _table(workspace: Workspace) -> Table:
    """A row a face, and one for each file without any, with the reason."""
    labels = workspace.scan("labels").select("file_hash", true_age="age")
    scores = workspace.scan("scores").select("file_hash", "face_index", "age", "age_low", "age_high", "female")
    files = workspace.scan("files").select("path", "file_hash", "status", "detail", "face_count")
    rows = files.join(scores, on="file_hash", how="left").join(labels, on="file_hash", how="left")
    table = Table(title="What was found")
    for column in ("photo", "true age", "estimated", "90 % interval", "gender", "what came of the file"):
        table.add_column(column, no_wrap=column == "photo")
    for row in rows.sort("path", "face_index").collect().iter_rows(named=True):
        table.add_row(row["path"], *_cells(row))
    return table


def _cells(row: dict) -> list[str]:
    true_age = "" if row["true_age"] is None else f"{row['true_age']:.0f}"
    if row["age"] is None:
        return [true_age, "", "", "", row["detail"] or ("no face" if row["status"] == "ok" else row["status"])]
    interval = f"{max(0, row['age_low']):.0f} to {row['age_high']:.0f}"
    gender = f"{'female' if row['female'] >= 0.5 else 'male'} {max(row['female'], 1 - row['female']):.0%}"
    return [true_age, f"{row['age']:.0f}", interval, gender, row["detail"] or ""]
