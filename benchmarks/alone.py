"""What a photo costs when each part of the work has the machine for itself: run by benchmarks.speed.

In, on stdin: a JSON list of photo files. Out, on stdout: {"decode": s, "detect": s, "infer": s} a photo. Decoding and
detecting (with the cutting of crops) run on one core, so their seconds are spread over all cores; inference, of as many
faces as were found, has all of them already."""

import json
import os
import sys
import time

import cv2

from flows.extraction import new_extraction
from models.session import OnnxModel
from storage.registry import model_content
from storage.settings import ScoreSettings
from storage.workspace import open_workspace
from tasks.crop import decode_crops
from tasks.decode import decode, read_file
from tasks.detect import detector_file, make_detector
from tasks.read import cut_faces, sight


def seconds_a_photo(files: list[str], workspace: str, name: str) -> dict[str, float]:
    cv2.setNumThreads(1)
    settings = ScoreSettings(folders=["."], workspace=workspace)
    model = OnnxModel(*model_content(None, name), "cpu")
    finding = new_extraction(settings, open_workspace(workspace), model.about.margin, model.about.crop_side).finding
    file = detector_file(finding.detector, None, fetch=False)
    detect = make_detector(finding.detector, file, finding.min_detector_score)
    spent = {"decode": 0.0, "detect": 0.0}
    crops: list[bytes] = []
    for photo_file in files:
        start = time.process_time()
        content = read_file(photo_file.encode(), finding.max_bytes).data
        photo = decode(content, max_pixels=finding.max_pixels, decode_side=finding.decode_side)
        decoded = time.process_time()
        crops += [face.crop for face in cut_faces(photo, sight(photo, finding, detect), finding)]
        spent["decode"] += decoded - start
        spent["detect"] += time.process_time() - decoded
    pixels = decode_crops(crops)
    model(pixels[:64])  # the first call allocates
    start = time.monotonic()
    model(pixels)
    infer = time.monotonic() - start
    cores = len(os.sched_getaffinity(0))
    parts = {part: seconds / cores for part, seconds in spent.items()} | {"infer": infer}
    return {part: seconds / len(files) for part, seconds in parts.items()}


if __name__ == "__main__":
    json.dump(seconds_a_photo(json.load(sys.stdin), *sys.argv[1:3]), sys.stdout)
