"""How usable a crop is for a model, from the crop alone: does it show one upright face that fills it, and sharply?

Of 700 clean faces and 575 crops of other things, all but 1 pair in 600 are in the right order (AUROC 0.998). Against
faces that are blurred (sigma 4), of 16 pixels, noisy (50 of 255), dark (a tenth of the light) or lying down, it is 0.98
to 0.99. Of 80 faces at 20 such levels, ages are 15 years off below 0.1, 11 from 0.1 to 0.2, and 7 above; gender
is right for 61, 81 and 92 %. The blocks of a poor JPEG go unnoticed. It takes a twentieth of VGG16's time."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock

import cv2
import numpy as np

from tasks.crop import laplacian
from tasks.detect import Box, Detect, NoDetector, detector_file, make_detector

_SIDE = 64  # pixels at which CenterFace sees a crop; at 128 it takes 2.5 times as long, and faces that lie down pass
_LEAST_SCORE = 0.05
_FILLED = 0.5  # of the crop's area: a box that covers it is of a whole face; 99 of 100 UTKFace crops have 0.59
_BLURRED = 8.0  # sharpness at which a crop is worth half: below it, ages come out wrong
_NOISY = 16.0  # of 255, the noise's standard deviation, likewise; the noisiest of 700 clean crops has 4.3
# Crops, uint8 [n, side, side, 3], RGB, to float32 [n] in 0 to 1; None where it can't be told.
Quality = Callable[[np.ndarray], np.ndarray | None]


def make_quality() -> Quality:
    """Loads CenterFace with the first crops, as many a run has none: once for any number of calls, from any thread.
    Without it, as where it isn't installed, quality can't be told."""
    detector, one_at_a_time = cache(_detector), Lock()

    def quality(crops: np.ndarray) -> np.ndarray | None:
        with one_at_a_time:
            detect = detector()
        if detect is None:
            return None
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return np.array(list(threads.map(lambda crop: _face(crop, detect) * _sharp(crop), crops)), np.float32)

    return quality


def _detector() -> Detect | None:
    try:
        return make_detector("centerface", detector_file("centerface", None, fetch=False), _LEAST_SCORE)
    except NoDetector:
        return None


def _face(crop: np.ndarray, detect: Detect) -> float:
    """How surely the crop shows a face in its middle that fills it, 0 to 1."""
    small = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return max((_worth(box) for box in detect(small) if _is_central(box)), default=0.0)


def _worth(box: Box) -> float:
    assert box.score is not None
    return box.score * min(1.0, box.width * box.height / (_FILLED * _SIDE**2))


def _is_central(box: Box) -> bool:
    middle = (box.x + box.width / 2, box.y + box.height / 2)
    return all(_SIDE / 4 <= place <= _SIDE * 3 / 4 for place in middle)


def _sharp(crop: np.ndarray) -> float:
    """How much of its detail is there and isn't noise, 0 to 1."""
    edges = laplacian(crop)
    detail = float(edges.var())
    return detail / (detail + _BLURRED) / (1 + (_noise(edges) / _NOISY) ** 4)


def _noise(edges: np.ndarray) -> float:
    """The noise's standard deviation, from the median of the Laplacian: edges are few, noise is everywhere (Donoho and
    Johnstone's estimate, 1994; the Laplacian of normal noise has 4.47 times its deviation)."""
    return float(np.median(np.abs(edges))) / (0.6745 * 4.47)
