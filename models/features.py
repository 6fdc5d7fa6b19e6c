"""What a network that isn't trained answers for every face, on disk: float16 in one memory-mapped file a copy.

Of VGG16's frozen blocks, a face costs 64 kB a copy with one block unfrozen, 128 kB with two. The files are keyed by
all that went into them, so a second run over the same faces reads them, and they are personal data: they lie in the
workspace's cache folder."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np

from models.contract import CannotTrain

logger = logging.getLogger(__name__)
CropsOf = Callable[[int, np.ndarray], np.ndarray]  # copy, indices of faces -> uint8 [n, side, side, 3]
Advance = Callable[[int], None]
_BATCH = 64


def cache_key(model: keras.Model, crop_hashes: Sequence[str], seed: int, augmentation: str) -> str:
    digest = hashlib.sha256()
    for values in model.get_weights():
        digest.update(values.tobytes())
    about = (model.output_shape, model.compute_dtype, model.layers[-1].compute_dtype)
    digest.update(repr((about, seed, augmentation)).encode())
    for crop_hash in crop_hashes:
        digest.update(crop_hash.encode())
    return digest.hexdigest()[:24]


@dataclass(frozen=True)
class Copies:
    """Faces to compute features of: how many faces, in how many copies, and where their crops come from."""

    faces: int
    copies: int
    crops_of: CropsOf


def cached_features(model: keras.Model, wanted: Copies, folder: Path, key: str, advance: Advance) -> list[np.ndarray]:
    """One array a copy, float16 [faces, ...]; computed where its file isn't there yet."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = [folder / f"{key}-{copy}.npy" for copy in range(wanted.copies)]
    for copy, file in enumerate(files):
        if file.exists():
            advance(wanted.faces)
        else:
            _compute(model, partial(wanted.crops_of, copy), wanted.faces, file, advance)
    return [np.load(file, mmap_mode="r") for file in files]


def _compute(
    model: keras.Model, crops_of: Callable[[np.ndarray], np.ndarray], faces: int, file: Path, advance: Advance
) -> None:
    unfinished = file.with_suffix(".unfinished")
    shape = (faces, *model.output_shape[1:])
    features = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float16, shape=shape)
    for start in range(0, faces, _BATCH):
        indices = np.arange(start, min(start + _BATCH, faces))
        features[indices] = model.predict_on_batch(crops_of(indices))
        if not np.isfinite(features[indices]).all():
            raise CannotTrain("VGG16's answers don't fit float16: the weights given by --trunk are damaged")
        advance(len(indices))
    features.flush()
    os.replace(unfinished, file)
