"""What a worker process does with one photo: read it, decode it, find its faces, cut their crops."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from storage.schemas import FileStatus
from storage.settings import Finding, PhotoSettings
from tasks.crop import cut_square, encode_crop, middle_square, sharpness, square_around
from tasks.decode import BadPhoto, Photo, decode, read_file
from tasks.detect import Box, Detect, detector_file, file_hash, find_faces, make_detector
from tasks.spread import Lost, Spread


@dataclass(frozen=True)
class Face:
    """One face: its box in pixels of the upright full-size photo, and its crop as JPEG bytes."""

    box: Box
    sharpness: float
    crop: bytes


@dataclass(frozen=True)
class Looked:
    """What looking at one photo gave. `faces` is None where the photo's content is known already."""

    file_hash: str | None
    status: FileStatus
    detail: str | None
    faces: tuple[Face, ...] | None = ()


@dataclass(frozen=True)
class Ask:
    """One photo to look at: a file's path, or its content where it has no file (an upload). `again` looks even where
    the content's hash seems to be known."""

    path: bytes = b""
    again: bool = False
    content: bytes | None = None


def look(asks: Sequence[Ask], photos: "Spread[Ask, Looked]") -> list[Looked]:
    """What came of each photo, in order; for one whose process was lost, its status and the reason."""
    return [
        Looked(None, answer.status, answer.reason) if isinstance(answer, Lost) else answer
        for _, answer in photos.each(asks)
    ]


def finding_of(settings: PhotoSettings, detector: Path, margin: float, crop_side: int) -> Finding:
    """The settings that decide which faces come out, with the detector's weights by their hash."""
    return Finding(
        faces=settings.faces,
        detector=settings.detector,
        detector_hash=file_hash(detector) if settings.faces == "detect" else "",
        margin=margin,
        crop_side=crop_side,
        max_pixels=settings.max_pixels,
        max_bytes=settings.max_bytes,
        photo_timeout_s=settings.photo_timeout_s,
        detect_side=settings.detect_side,
        decode_side=2 * settings.detect_side,
    )


def photo_workers(settings: PhotoSettings, finding: Finding, known: Path | None) -> Spread[Ask, Looked]:
    """The processes that read photos. Raises NoDetector here, before any of them starts."""
    detector = detector_file(settings.detector, settings.detector_model, fetch=settings.fetch_detector)
    make_detector(settings.detector, detector, finding.min_detector_score)
    return Spread(
        partial(PhotoReader, finding, detector, known),
        workers=settings.workers,
        timeout_s=settings.photo_timeout_s,
        memory_mb=settings.worker_memory_mb,
    )


class PhotoReader:
    """Looks at photos, one after the other, in a worker process. `known` is a file of sorted hash prefixes: a photo
    whose content is among them isn't decoded again."""

    def __init__(self, finding: Finding, detector: Path, known: Path | None) -> None:
        cv2.setNumThreads(1)  # the workers share the cores already
        cv2.utils.logging.setLogLevel(
            cv2.utils.logging.LOG_LEVEL_SILENT
        )  # what is wrong with a file is said in its row
        self._finding = finding
        self._known = np.load(known, mmap_mode="r") if known else np.empty(0, np.uint64)
        self._detect: Detect | None = None
        if finding.faces == "detect":
            self._detect = make_detector(finding.detector, detector, finding.min_detector_score)

    def __call__(self, ask: Ask) -> Looked:
        content_hash = None
        try:
            if ask.content is None:
                content, content_hash = read_file(ask.path, self._finding.max_bytes)
            else:
                content, content_hash = ask.content, hashlib.sha256(ask.content).hexdigest()
            if not ask.again and is_known(self._known, content_hash):
                return Looked(content_hash, FileStatus.OK, None, None)
            photo = decode(content, max_pixels=self._finding.max_pixels, decode_side=self._finding.decode_side)
            return Looked(
                content_hash, FileStatus.OK, photo.remark, tuple(faces_in(photo, self._finding, self._detect))
            )
        except BadPhoto as bad:
            return Looked(content_hash, bad.status, bad.reason)


def faces_in(photo: Photo, finding: Finding, detect: Detect | None) -> list[Face]:
    """The faces of an upright photo, the largest first. Without a detector the whole picture is one face."""
    height, width = photo.pixels.shape[:2]
    if detect is None:
        squares = [middle_square(height, width)]
        boxes = squares
    else:
        boxes = find_faces(photo.pixels, detect, finding.detect_side)
        boxes = [box for box in boxes if min(box.width, box.height) / photo.scale >= finding.min_face_side]
        boxes = [box for box in boxes if 0 <= box.x + box.width / 2 < width and 0 <= box.y + box.height / 2 < height]
        squares = [square_around(box, finding.detector, finding.margin) for box in boxes]
    crops = [cut_square(photo.pixels, square, finding.crop_side) for square in squares]
    return [
        Face(box.scaled(1 / photo.scale), sharpness(crop), encode_crop(crop))
        for box, crop in zip(boxes, crops, strict=True)
    ]


def is_known(prefixes: np.ndarray, file_hash: str) -> bool:
    prefix = np.uint64(prefix_of(file_hash))
    index = np.searchsorted(prefixes, prefix)
    return bool(index < len(prefixes) and prefixes[index] == prefix)


def prefix_of(file_hash: str) -> int:
    """The first 64 bits of a hash."""
    return int(file_hash[:16], 16)
