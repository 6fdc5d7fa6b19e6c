"""What is chosen from, and which of it decides about faces. Apart from storage/settings.py, as each process that reads
photos imports it: pydantic-settings would take it 0.4 s of a core."""

import hashlib
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from storage.values import FileStatus

DetectorName = Literal["haar", "centerface", "yunet"]
Device = Literal["auto", "cpu", "cuda", "tensorrt"]
FaceMode = Literal["detect", "whole"]
Recipe = Literal["distribution", "classic"]
Targets = Literal["age+gender", "age"]
Stage = TypeVar("Stage", bound="Frozen")
_LIMITS = {"max_pixels", "max_bytes", "photo_timeout_s", "worker_memory_mb"}
_BY_A_LIMIT = {FileStatus.TOO_LARGE, FileStatus.TIMED_OUT, FileStatus.CRASHED_DECODER}


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def part(self, stage: type[Stage], **own: object) -> Stage:
        """Those of a stage among these settings, for a flow of several stages; `own` are added, or win."""
        return stage.model_validate(self.model_dump(include=set(stage.model_fields)) | own)

    def fingerprint(self) -> str:
        """Sixteen hex digits of the SHA-256 of all values: equal settings give equal fingerprints."""
        return _hash_of(self.model_dump_json())


class Finding(Frozen):
    """What decides which faces come out of a photo. Its hash is a row's fingerprint: a change here means that
    every photo is looked at again, or, where it is of a limit, each that failed by one."""

    stage_version: int = 2  # raise it when the code of extraction changes what comes out
    faces: FaceMode
    detector: DetectorName
    detector_hash: str
    margin: float
    crop_side: int
    min_detector_score: float = 0.5
    turns: tuple[int, ...]  # degrees clockwise by which a photo without an upright face is turned, to look again
    detect_side: int  # the longer side of what the detector sees at most, pixels
    decode_side: int  # a JPEG is decoded at the smallest of 1, 1/2, 1/4, 1/8 that is at least this long, pixels
    max_pixels: int
    max_bytes: int
    photo_timeout_s: float
    worker_memory_mb: int

    def fingerprint(self) -> str:
        """Of a photo that was read: of all but the limits, which it kept."""
        return _hash_of(self.model_dump_json(exclude=_LIMITS))

    def fingerprint_of(self, status: FileStatus) -> str:
        """Of a file with that status."""
        return super().fingerprint() if status in _BY_A_LIMIT else self.fingerprint()

    def fingerprints(self) -> tuple[str, ...]:
        """Of all rows that needn't be made again with these settings."""
        return self.fingerprint(), super().fingerprint()


def _hash_of(values: str) -> str:
    return hashlib.sha256(values.encode()).hexdigest()[:16]
