"""Crops that look alike: their perceptual hashes (Zauner, 2010) differ in at most 3 of 64 bits, or they hang together
through others that do.

Every pair is found, yet few are compared: two hashes within 3 bits agree in at least three of six parts, so only
those are held against each other that do. Equal hashes are one from the start: 20,000 blank crops make no pair. Of
22,020 hashes of real faces 3,809 pairs are compared, in 50 ms; the hashes themselves take 1.6 ms a crop."""

import io
from collections.abc import Iterable, Iterator
from itertools import combinations

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BITS_APART = 3
_PARTS = np.array_split(np.arange(64, dtype=np.uint64), 2 * BITS_APART)


def near_duplicates(crops: Iterable[bytes]) -> list[str]:
    """For each crop (JPEG bytes) the name of its group: the smallest perceptual hash in it, in hex."""
    return alike(perceptual_hashes(crops))


def perceptual_hashes(crops: Iterable[bytes]) -> np.ndarray:
    """Of each crop (JPEG bytes), uint64 [n]."""
    bits = [imagehash.phash(Image.open(io.BytesIO(crop))).hash.ravel() for crop in crops]
    return np.packbits(np.array(bits, bool).reshape(-1, 64), axis=1).view(">u8").ravel().astype(np.uint64)


def alike(hashes: np.ndarray) -> list[str]:
    """For each perceptual hash (uint64 [n]) the name of its group: the smallest hash in it, in hex."""
    distinct, places = np.unique(hashes, return_inverse=True)
    first, second = np.hstack([np.empty((2, 0), int), *_close_pairs(distinct)])
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(distinct), len(distinct)))
    _, members = connected_components(links, directed=False)
    _, smallest = np.unique(members, return_index=True)  # `distinct` is in order: its first of a group is its smallest
    return [f"{name:016x}" for name in distinct[smallest[members[places]]].tolist()]


def bits_apart(hashes: np.ndarray, names: list[str]) -> np.ndarray:
    """In how many of 64 bits each hash differs from the one that its group is named for, int [n]."""
    return np.bitwise_count(hashes ^ np.array([int(name, 16) for name in names], np.uint64))


def _close_pairs(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """The pairs of different hashes within BITS_APART, int [2, n] at a time; a pair may come more than once."""
    for parts in combinations(_PARTS, BITS_APART):
        mask = np.bitwise_or.reduce(np.uint64(1) << np.concatenate(parts))
        order = np.argsort(hashes & mask)
        keys = hashes[order] & mask
        low = np.arange(len(keys))
        for step in range(1, len(keys)):
            low = low[low + step < len(keys)]
            low = low[keys[low] == keys[low + step]]
            if not len(low):
                break
            pairs = np.stack([order[low], order[low + step]])
            yield pairs[:, np.bitwise_count(hashes[pairs[0]] ^ hashes[pairs[1]]) <= BITS_APART]
