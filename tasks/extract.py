"""Photos to faces: what a worker process does with one photo, and what a chunk of photos becomes in the tables."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pyarrow as pa

from storage.schemas import FileStatus
from storage.settings import Finding, PhotoSettings
from storage.workspace import Workspace, now, rows_of
from tasks.crop import cut_square, encode_crop, middle_square, sharpness, square_around
from tasks.decode import BadPhoto, Photo, decode, read_file
from tasks.detect import Box, Detect, detector_file, file_hash, find_faces, make_detector
from tasks.folder import Found
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


def look_at(chunk: Sequence[Found], photos: Spread[Ask, Looked], contents: "Contents") -> list[tuple[Found, Looked]]:
    """Every file of the chunk with what came of it, in order. `faces` is None only for contents in the tables."""
    looked = {found: Looked(None, found.refusal, found.reason) for found in chunk if found.refusal is not None}
    openable = [found for found in chunk if found.refusal is None]
    looked |= _ask(openable, photos, again=False)
    hashes = [seen.file_hash for seen in looked.values() if seen.faces is None and seen.file_hash]
    known = contents.recall(hashes)
    looked |= {
        found: known[seen.file_hash] for found, seen in looked.items() if seen.faces is None and seen.file_hash in known
    }
    unsure = [found for found, seen in looked.items() if seen.faces is None and seen.file_hash not in known]
    looked |= _ask(unsure, photos, again=True)
    return [(found, looked[found]) for found in chunk]


def _ask(files: Sequence[Found], photos: Spread[Ask, Looked], *, again: bool) -> dict[Found, Looked]:
    answers = photos.each([Ask(found.full_path(), again) for found in files])
    return {
        found: Looked(None, answer.status, answer.reason) if isinstance(answer, Lost) else answer
        for found, (_, answer) in zip(files, answers, strict=True)
    }


class Contents:
    """Which contents were extracted before with the same settings: what makes a renamed or doubled photo cost a
    read, not a decode. Kept as 8 bytes a content, so 10 million take 80 MB; a match is confirmed in the tables."""

    def __init__(self, workspace: Workspace, fingerprint: str) -> None:
        self._workspace = workspace
        self._fingerprint = fingerprint
        # A killed run may have left faces without their `files` row: those count as well, or they would be doubled.
        tables = [self._extracted("files"), self._extracted("faces")]
        hashes = pl.concat(tables).unique().collect()["file_hash"]
        self.prefixes = np.unique(np.array([_prefix(file_hash) for file_hash in hashes], np.uint64))

    def _extracted(self, table: str) -> pl.LazyFrame:
        ours = pl.col("fingerprint") == self._fingerprint
        return self._workspace.scan(table).filter(ours, pl.col("file_hash").is_not_null()).select("file_hash")

    def is_new(self, file_hash: str) -> bool:
        return not is_known(self.prefixes, file_hash) or not self.recall([file_hash])

    def remember(self, hashes: Sequence[str]) -> None:
        new = np.array([_prefix(file_hash) for file_hash in hashes], np.uint64)
        self.prefixes = np.union1d(self.prefixes, new)

    def recall(self, hashes: Sequence[str]) -> dict[str, Looked]:
        """What came of those contents, for the ones that really are in the tables."""
        if not hashes:
            return {}
        ours = (pl.col("fingerprint") == self._fingerprint) & pl.col("file_hash").is_in(list(hashes))
        files = self._workspace.scan("files").filter(ours).unique("file_hash", keep="any")
        rows = files.select("file_hash", "status", "detail", "face_count").collect()
        known = {row["file_hash"]: (FileStatus(row["status"]), row["detail"]) for row in rows.iter_rows(named=True)}
        left = self._workspace.scan("faces").filter(ours).select("file_hash").unique().collect()["file_hash"]
        known = {file_hash: (FileStatus.OK, None) for file_hash in left} | known
        return {file_hash: Looked(file_hash, status, detail, None) for file_hash, (status, detail) in known.items()}

    def face_counts(self, hashes: Sequence[str]) -> dict[str, int]:
        if not hashes:
            return {}
        ours = (pl.col("fingerprint") == self._fingerprint) & pl.col("file_hash").is_in(list(hashes))
        counts = self._workspace.scan("faces").filter(ours).group_by("file_hash").len().collect()
        return dict(counts.iter_rows())


@dataclass(frozen=True)
class Extraction:
    """One run's extraction: where its rows go, what it looks for, and what it needn't look at again."""

    workspace: Workspace
    finding: Finding
    contents: Contents
    run_id: str

    def new_faces(self, looked: Sequence[tuple[Found, Looked]]) -> pa.Table:
        """Rows of the `faces` table for the contents that were decoded, each once."""
        fresh = {seen.file_hash: seen for _, seen in looked if seen.faces and seen.file_hash}
        return rows_of("faces", _face_rows(fresh, self.finding, self.run_id))

    def file_rows(self, looked: Sequence[tuple[Found, Looked]]) -> pa.Table:
        """Rows of the `files` table, one for each file of the chunk."""
        known = [seen.file_hash for _, seen in looked if seen.faces is None and seen.file_hash]
        counts = self.contents.face_counts(known)
        counts |= {seen.file_hash: len(seen.faces) for _, seen in looked if seen.faces is not None and seen.file_hash}
        fingerprint = self.finding.fingerprint()
        return rows_of("files", [_file_row(found, seen, counts, fingerprint, self.run_id) for found, seen in looked])


def is_known(prefixes: np.ndarray, file_hash: str) -> bool:
    prefix = np.uint64(_prefix(file_hash))
    index = np.searchsorted(prefixes, prefix)
    return bool(index < len(prefixes) and prefixes[index] == prefix)


def _prefix(file_hash: str) -> int:
    return int(file_hash[:16], 16)


def _face_rows(fresh: dict[str, Looked], finding: Finding, run_id: str) -> list[dict]:
    return [
        {
            "file_hash": content_hash,
            "face_index": index,
            "x": face.box.x,
            "y": face.box.y,
            "width": face.box.width,
            "height": face.box.height,
            "rotation": 0,
            "detector": finding.detector if finding.faces == "detect" else "whole",
            "detector_score": face.box.score,
            "sharpness": face.sharpness,
            "crop": face.crop,
            "crop_hash": hashlib.sha256(face.crop).hexdigest(),
            "fingerprint": finding.fingerprint(),
            "run_id": run_id,
            "extracted_at": now(),
        }
        for content_hash, seen in fresh.items()
        for index, face in enumerate(seen.faces or ())
    ]


def _file_row(found: Found, seen: Looked, counts: dict[str, int], fingerprint: str, run_id: str) -> dict:
    return {
        "source": found.source,
        "path": found.path,
        "size": found.size,
        "mtime_ns": found.mtime_ns,
        "file_hash": seen.file_hash,
        "status": seen.status,
        "detail": seen.detail,
        "face_count": counts.get(seen.file_hash or "", 0),
        "fingerprint": fingerprint,
        "run_id": run_id,
        "seen_at": now(),
    }
