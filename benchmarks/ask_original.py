"""The original's way of scoring: one photo at a time, Haar, and Keras' `predict` on one crop. Run by benchmarks.speed.

In, on stdin: a JSON list of photo files. Out, on stdout: how many had one face and were scored. The network is
VGG16 with the original's two heads; the heads are untrained, which takes the same time and gives other answers."""

import json
import sys
from pathlib import Path

import cv2

from models import vgg16
from storage.registry import pretrained


def score_one_by_one(files: list[str]) -> int:
    weights = vgg16.weights_from_onnx(pretrained().model_bytes())
    model = vgg16.build(weights, unfrozen_blocks=1, targets="age+gender", recipe="classic", half=False).whole()
    cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"))
    scored = 0
    for file in files:
        pixels = cv2.imread(file)
        if pixels is None:
            continue
        boxes = cascade.detectMultiScale(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), 1.1, 5)
        if len(boxes) == 1:
            x, y, width, height = boxes[0]
            crop = cv2.resize(pixels[y : y + height, x : x + width], (128, 128))
            model.predict(crop[None, :, :, ::-1], verbose="0")
            scored += 1
    return scored


if __name__ == "__main__":
    json.dump(score_one_by_one(json.load(sys.stdin)), sys.stdout)
