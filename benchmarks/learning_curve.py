"""What tuning brings to people with their own photos: 100, 1,000 and 6,000 of them, from the shipped model, from
ImageNet, and from there with the original's losses.

    python -m benchmarks.learning_curve PHOTOS labels.csv vgg16.weights.h5 [--faces 100 1000 6000] [--half]

PHOTOS holds one face a picture; the labels have file, age, gender and split. As a stand-in for an archive's poor scans,
unlike what the shipped model learnt from, each picture is made grey, shrunk to 32 pixels and saved as a JPEG of quality
30. Of `train`, so many are taken, of `val` and `test` the same few for all: a model that saw a picture whole has never
seen it so, but did see its person's age; read the gains of small sets with that in mind. Blocks 1 to 4 stay frozen."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from PIL import Image
from rich.console import Console
from rich.table import Table

from flows.evaluate import evaluate_model
from flows.extraction import extract_here
from flows.train import train_model
from storage.settings import EvaluateSettings, ExtractSettings, TrainSettings
from tasks.crop import encode_crop
from tasks.evaluation.degrade import downscaled, grey

_SIZES = (100, 1000, 6000)
_JUDGED = {"val": 400, "test": 800}
_SIDE, _QUALITY = 32, 30
_SHOWN = {"age_mae": "age MAE, years", "cs5": "CS@5", "gender_accuracy": "gender"}


@dataclass(frozen=True)
class Source:
    photos: Path
    labels: pl.DataFrame  # path, age, gender, split
    imagenet: Path
    half: bool  # compute in bfloat16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("imagenet", type=Path)
    parser.add_argument("--faces", type=int, nargs="+", default=_SIZES)
    parser.add_argument("--half", action="store_true", help="compute in bfloat16, on processors that have it")
    asked = parser.parse_args()
    table = pl.read_csv(asked.labels).select(pl.col("file").alias("path"), "age", "gender", "split")
    shuffled = table.sample(fraction=1, shuffle=True, seed=0)
    source = Source(asked.photos, shuffled, asked.imagenet, asked.half)
    shown = Table("faces", "start", *_SHOWN.values())
    for size in asked.faces:
        with TemporaryDirectory(prefix="faceline-") as folder:
            for start, figures in _figures_of(size, source, Path(folder)).items():
                row = [f"{size:,}", start, *(f"{figures[name]:.3f}" for name in _SHOWN)]
                print(" | ".join(row), flush=True)  # those of the largest set come late
                shown.add_row(*row)
    Console(width=100).print(shown)


def _figures_of(size: int, source: Source, folder: Path) -> dict[str, dict[str, float]]:
    """On the same test faces: the shipped model as it is, tuned further, and starts from ImageNet."""
    workspace = _workspace_of(size, source, folder)
    untrained = evaluate_model(EvaluateSettings(workspace=workspace, model="pretrained"))
    found = {"the shipped model, as it is": untrained["overall"]}
    tuned = TrainSettings(workspace=workspace, half=source.half, epochs=6)
    imagenet = tuned.model_copy(update={"trunk": str(source.imagenet)})
    ways = {
        "tuned from the shipped model": tuned,
        "from ImageNet": imagenet,
        "from ImageNet, `classic`": imagenet.model_copy(update={"recipe": "classic"}),
    }
    for name, settings in ways.items():
        metrics = train_model(settings)
        found[name] = {key: metrics[f"test_{key}"] for key in _SHOWN}
    return found


def _workspace_of(size: int, source: Source, folder: Path) -> str:
    sides = {"train": size} | _JUDGED
    chosen = pl.concat([source.labels.filter(pl.col("split") == side).head(count) for side, count in sides.items()])
    scans = folder / "scans"
    scans.mkdir()
    for name in chosen["path"]:
        (scans / name).write_bytes(_poor_scan(source.photos / name))
    chosen.write_csv(folder / "labels.csv")
    workspace = str(folder / "workspace")
    labels = str(folder / "labels.csv")
    extract_here(ExtractSettings(folders=[str(scans)], labels=labels, faces="whole", workspace=workspace))
    return workspace


def _poor_scan(photo: Path) -> bytes:
    pixels = np.asarray(Image.open(photo).convert("RGB"))
    return encode_crop(grey(downscaled(pixels[None], _SIDE), 0)[0], _QUALITY)


if __name__ == "__main__":
    main()
