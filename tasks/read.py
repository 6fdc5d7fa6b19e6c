"""What a worker process does with one photo: read it, decode it, find its faces, cut their crops."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from storage.choices import Finding
from storage.tombstones import Tombstones
from storage.values import SMALLEST_JUDGED_SIDE, FileStatus
from tasks.bucket import Bucket, is_in_bucket
from tasks.crop import cut_square, encode_crop, middle_square, sharpness, square_around
from tasks.decode import BadPhoto, Content, Photo, decode, hash_file, read_file
from tasks.detect import Box, Detect, detector_file, file_hash, make_detector
from tasks.spread import Lost, Spread
from tasks.upright import TURNS, Sighting, find_faces, turned

if TYPE_CHECKING:
    from storage.settings import PhotoSettings  # a worker process has none, and its import takes longer than cv2's


PREFIX_DIGITS = 16  # of a hash in hex


@dataclass(frozen=True)
class Face:
    """One face: its box in pixels of the upright full-size photo, how many degrees clockwise that has to be turned
    for the face to stand upright, and its upright crop as JPEG bytes."""

    box: Box
    rotation: int
    sharpness: float
    crop: bytes


@dataclass(frozen=True)
class Looked:
    """What looking at one photo gave. `faces` is None where the photo's content is known already. `size` and `mtime_ns`
    are those of what was read, which may be newer than its listing; None where nothing was."""

    file_hash: str | None
    status: FileStatus
    detail: str | None
    faces: tuple[Face, ...] | None = ()
    size: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True)
class Ask:
    """One photo to look at: a file's path, or its content where it has no file (an upload). `again` looks even where
    the content's hash seems to be known; `only_hash` wants nothing but that hash, of a file of any size."""

    path: bytes = b""
    again: bool = False
    content: bytes | None = None
    only_hash: bool = False


def look(asks: Sequence[Ask], photos: "Spread[Ask, Looked]") -> list[Looked]:
    """What came of each photo, in order; for one whose process was lost, its status and the reason."""
    return [
        Looked(None, answer.status, answer.reason) if isinstance(answer, Lost) else answer
        for _, answer in photos.each(asks)
    ]


def finding_of(settings: "PhotoSettings", detector: Path, margin: float, crop_side: int) -> Finding:
    """The settings that decide which faces come out, with the detector's weights by their hash."""
    return Finding(
        faces=settings.faces,
        detector=settings.detector,
        detector_hash=file_hash(detector) if settings.faces == "detect" else "",
        margin=margin,
        crop_side=crop_side,
        detect_side=settings.detect_side,
        turns=TURNS if settings.turns and settings.detector != "haar" else (),  # it has no score to tell false faces by
        decode_side=2 * settings.detect_side,
        max_pixels=settings.max_pixels,
        max_bytes=settings.max_bytes,
        photo_timeout_s=settings.photo_timeout_s,
        worker_memory_mb=settings.worker_memory_mb,
    )


def photo_workers(
    settings: "PhotoSettings", finding: Finding, known: Path | None, tombstones: Tombstones | None = None
) -> Spread[Ask, Looked]:
    """The processes that read photos. Raises NoDetector here, before any of them starts."""
    detector = detector_file(settings.detector, settings.detector_model, fetch=settings.fetch_detector)
    make_detector(settings.detector, detector, finding.min_detector_score)
    return Spread(
        partial(PhotoReader, finding, detector, known, tombstones),
        workers=settings.workers,
        timeout_s=settings.photo_timeout_s,
        memory_mb=settings.worker_memory_mb,
    )


class PhotoReader:
    """Looks at photos, one after the other, in a worker process. `known` is a file of sorted hash prefixes: a photo
    whose content is among them isn't decoded again. One that was forgotten isn't decoded at all."""

    def __init__(
        self, finding: Finding, detector: Path, known: Path | None, tombstones: Tombstones | None = None
    ) -> None:
        cv2.setNumThreads(1)  # the workers share the cores already
        cv2.utils.logging.setLogLevel(
            cv2.utils.logging.LOG_LEVEL_SILENT
        )  # what is wrong with a file is said in its row
        self._finding = finding
        self._known = np.load(known, mmap_mode="r") if known else np.empty(0, np.uint64)
        self._tombstones = tombstones
        self._source = PhotoSource()
        self._detect: Detect | None = None
        if finding.faces == "detect":
            self._detect = make_detector(finding.detector, detector, finding.min_detector_score)

    def __call__(self, ask: Ask) -> Looked:
        if ask.content is not None:
            return self._look(ask.content, hashlib.sha256(ask.content).hexdigest(), again=ask.again)
        try:
            if ask.only_hash:
                return Looked(self._source.sha256_of(ask.path), FileStatus.OK, None, None)
            read = self._source.read(ask.path, self._finding.max_bytes)
        except BadPhoto as bad:
            return Looked(None, bad.status, bad.reason)
        looked = self._look(read.data, read.file_hash, again=ask.again)
        return replace(looked, size=len(read.data), mtime_ns=read.mtime_ns)

    def _look(self, content: bytes, content_hash: str, *, again: bool) -> Looked:
        forgotten = self._tombstones is not None and self._tombstones.cover(content_hash)
        if forgotten or (not again and is_known(self._known, content_hash)):
            return Looked(content_hash, FileStatus.OK, None, None)
        try:
            photo = self._decoded(content, self._finding.decode_side)
            sighting = sight(photo, self._finding, self._detect)
            fine = self._decoded(content, side) if (side := finer_side(photo, sighting)) else photo
            faces = cut_faces(fine, sighting.scaled(fine.scale / photo.scale), self._finding)
            return Looked(content_hash, FileStatus.OK, photo.remark, tuple(faces))
        except BadPhoto as bad:
            return Looked(content_hash, bad.status, bad.reason)

    def _decoded(self, content: bytes, side: int) -> Photo:
        with _terminal_spared():
            return decode(content, max_pixels=self._finding.max_pixels, decode_side=side)


@contextmanager
def _terminal_spared() -> Iterator[None]:
    """libtiff, libpng and libjpeg, inside OpenCV and Pillow, write to descriptor 2 what they think of a file, where no
    log level reaches them; its row says it better. Only while a photo is decoded, so that tracebacks of ours stay, and
    only in a worker process, which has one thread. It costs 10 µs."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@dataclass
class PhotoSource:
    """Reads a photo from disk, or over a connection that is made with the first photo of a bucket."""

    _connection: Bucket | None = None

    def read(self, path: bytes, max_bytes: int) -> Content:
        """As `read_file`, and raises Unreachable too."""
        return self._bucket().read(path, max_bytes) if is_in_bucket(path) else read_file(path, max_bytes)

    def sha256_of(self, path: bytes) -> str:
        """As `hash_file`, and raises Unreachable too."""
        return self._bucket().sha256_of(path) if is_in_bucket(path) else hash_file(path)

    def _bucket(self) -> Bucket:
        self._connection = self._connection or Bucket()
        return self._connection


def sight(photo: Photo, finding: Finding, detect: Detect | None) -> Sighting:
    """The faces of a photo, in its decoded pixels. Without a detector the whole picture is one face."""
    if detect is None:
        return Sighting(0, [middle_square(*photo.pixels.shape[:2])])
    return find_faces(photo.pixels, detect, finding.detect_side, finding.turns)


def finer_side(photo: Photo, sighting: Sighting) -> int | None:
    """How many pixels long the photo has to be decoded for its smallest face to be large enough to judge; None where
    it is, or where there are no more pixels."""
    smallest = min((max(box.width, box.height) for box in sighting.boxes), default=SMALLEST_JUDGED_SIDE)
    if photo.scale == 1 or smallest >= SMALLEST_JUDGED_SIDE:
        return None
    return ceil(max(photo.pixels.shape) * SMALLEST_JUDGED_SIDE / smallest)


def cut_faces(photo: Photo, sighting: Sighting, finding: Finding) -> list[Face]:
    """Crops, upright, of what was sighted, in the same order."""
    squares = sighting.boxes
    if finding.faces == "detect":
        squares = [square_around(box, finding.detector, finding.margin, sighting.turn) for box in squares]
    crops = [turned(cut_square(photo.pixels, square, finding.crop_side), sighting.turn) for square in squares]
    return [
        Face(box.scaled(1 / photo.scale), sighting.turn, sharpness(crop), encode_crop(crop))
        for box, crop in zip(sighting.boxes, crops, strict=True)
    ]


def is_known(prefixes: np.ndarray, file_hash: str) -> bool:
    prefix = np.uint64(prefix_of(file_hash))
    index = np.searchsorted(prefixes, prefix)
    return bool(index < len(prefixes) and prefixes[index] == prefix)


def prefix_of(file_hash: str) -> int:
    """The first 64 bits of a hash."""
    return int(file_hash[:PREFIX_DIGITS], 16)
