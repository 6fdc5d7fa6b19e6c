"""Rows of the tables as a run would leave them, each with the few columns that a test is about."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from storage.values import FileStatus, LabelStatus
from storage.workspace import now, rows_of
from tasks.crop import encode_crop

FINGERPRINT = "f" * 16


def content_hash(name: str) -> str:
    """Stands for the SHA-256 of a photo called so."""
    return hashlib.sha256(name.encode()).hexdigest()


def crop_of(seed: int) -> bytes:
    """A stored crop of random blocks: different for each seed, as two people's faces are."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return encode_crop(np.kron(blocks, np.ones((16, 16, 1), np.uint8)))


def file_row(name: str, **changed: Any) -> dict:
    return {
        "source": "/photos",
        "path": name,
        "size": 1000,
        "mtime_ns": 1,
        "file_hash": content_hash(name),
        "status": FileStatus.OK,
        "detail": None,
        "face_count": 1,
        "fingerprint": FINGERPRINT,
        "run_id": "run",
        "seen_at": now(),
    } | changed


def face_row(name: str, index: int = 0, *, crop: bytes | None = None, **changed: Any) -> dict:
    crop = crop or crop_of(int(content_hash(name)[:6], 16) + index)
    return {
        "file_hash": content_hash(name),
        "face_index": index,
        "x": 1.0,
        "y": 2.0,
        "width": 50.0,
        "height": 60.0,
        "rotation": 0,
        "detector": "centerface",
        "detector_score": 0.9,
        "sharpness": 500.0,
        "crop": crop,
        "crop_hash": hashlib.sha256(crop).hexdigest(),
        "fingerprint": FINGERPRINT,
        "run_id": "run",
        "extracted_at": now(),
    } | changed


def label_row(name: str, groups: Sequence[tuple[str, str]] = (), **changed: Any) -> dict:
    return {
        "file_hash": content_hash(name),
        "label_source": "wiki",
        "subject_id": name,
        "age": 30.0,
        "gender": "female",
        "groups": [{"key": column, "value": value} for column, value in groups],
        "status": LabelStatus.OK,
        "detail": None,
        "labelled_at": now(),
    } | changed


def score_row(name: str, index: int = 0, **changed: Any) -> dict:
    return {
        "file_hash": content_hash(name),
        "face_index": index,
        "fingerprint": FINGERPRINT,
        "model_hash": "m" * 64,
        "model_version": "pretrained",
        "age": 30.0,
        "age_low": 25.0,
        "age_high": 35.0,
        "female": 0.9,
        "quality": 0.8,
        "provider": "CPUExecutionProvider",
        "run_id": "run",
        "scored_at": now(),
    } | changed


def files(*rows: dict) -> pa.Table:
    return rows_of("files", list(rows))


def faces(*rows: dict) -> pa.Table:
    return rows_of("faces", list(rows))


def labels(*rows: dict) -> pa.Table:
    return rows_of("labels", list(rows))


def scores(*rows: dict) -> pa.Table:
    return rows_of("scores", list(rows))
