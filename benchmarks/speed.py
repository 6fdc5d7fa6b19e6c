"""Faceline's bulk scoring against the original's way: one photo at a time, Haar, `model.predict` on one crop in Keras.

Both go over the same photos in turns, each turn in a fresh process and, for Faceline, into a fresh workspace, so that
start-up counts for both. Run with: python -m benchmarks.speed FOLDER [--photos N] [--turns N]"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="photos; unset: the demo's sample photos")
    parser.add_argument("--photos", type=int, default=200, help="how many of them, at most")
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faceline-bench-") as scratch:
        photos = _copy_some(arguments.folder, arguments.photos, Path(scratch) / "photos")
        count = len(list(photos.iterdir()))
        original, ours = [], []
        for _ in range(arguments.turns):
            original.append(_timed([sys.executable, "-m", "benchmarks.speed", "--one-by-one", str(photos)]))
            workspace = tempfile.mkdtemp(dir=scratch)
            command = [sys.executable, "-m", "flows.cli", "score", str(photos), "--model", "pretrained"]
            ours.append(_timed([*command, "--workspace", workspace]))
    print(f"{count} photos, {arguments.turns} turns, {os.cpu_count()} cores, start-up counted")
    print("| way | seconds, median | photos a second | min to max, seconds |\n|---|---|---|---|")
    for name, seconds in (("the original's", original), ("faceline score", ours)):
        median = statistics.median(seconds)
        print(f"| {name} | {median:.1f} | {count / median:.1f} | {min(seconds):.1f} to {max(seconds):.1f} |")
    print(f"ratio of medians: {statistics.median(original) / statistics.median(ours):.1f}")


def score_one_by_one(folder: Path) -> None:
    """The original's way, with the shipped model's VGG16 and untrained heads: the same time, other answers."""
    import cv2
    import numpy as np

    from models import vgg16
    from storage.registry import pretrained

    weights = vgg16.weights_from_onnx(pretrained().model_bytes())
    model = vgg16.build(weights, unfrozen_blocks=1, targets="age+gender", recipe="classic", half=False).whole()
    cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"))
    for photo in sorted(folder.iterdir()):
        pixels = cv2.imread(str(photo))
        if pixels is None:
            continue
        boxes = cascade.detectMultiScale(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), 1.1, 5)
        if len(boxes) == 1:
            x, y, width, height = boxes[0]
            crop = cv2.resize(pixels[y : y + height, x : x + width], (128, 128))
            model.predict(np.asarray(crop)[None, :, :, ::-1], verbose="0")


def _copy_some(folder: Path | None, count: int, target: Path) -> Path:
    if folder is None:
        from flows.demo import make_photos

        make_photos(target)
        return target
    target.mkdir()
    for photo in sorted(folder.iterdir())[:count]:
        shutil.copy(photo, target)
    return target


def _timed(command: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - started


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one-by-one"]:
        score_one_by_one(Path(sys.argv[2]))
    else:
        main()
