"""DeepFace's age and gender of each photo: run by benchmarks.speed in the package's own environment, without ours.

In, on stdin: a JSON list of photo files. Out, on stdout: in how many it found a face. Weights aren't fetched, so its
networks keep the random ones that they're built with: the same time, other answers."""

import json
import os
import sys

os.environ["DEEPFACE_BACKEND_ENGINE"] = "tensorflow"

from deepface import DeepFace  # pyright: ignore[reportMissingImports]
from deepface.commons import weight_utils  # pyright: ignore[reportMissingImports]


def analysed(files: list[str]) -> int:
    weight_utils.download_weights_if_necessary = lambda file_name, **_: file_name
    weight_utils.load_model_weights = lambda model, **_: model
    found = 0
    for file in files:
        try:
            DeepFace.analyze(file, actions=("age", "gender"), silent=True)
            found += 1
        except ValueError:  # no face
            continue
    return found


if __name__ == "__main__":
    json.dump(analysed(json.load(sys.stdin)), sys.stdout)
