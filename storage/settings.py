"""Every knob: its default, its limits and its help text, once. The command line, Prefect's form and the docs are
made from these classes; each is frozen and refuses unknown keys, so a misspelt parameter fails before any work."""

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import CliPositionalArg

DetectorName = Literal["haar", "centerface", "yunet"]
FaceMode = Literal["detect", "whole"]
Recipe = Literal["distribution", "classic"]
Targets = Literal["age+gender", "age"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def fingerprint(self) -> str:
        """Sixteen hex digits of the SHA-256 of all values: equal settings give equal fingerprints."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class StageSettings(Frozen):
    workspace: str = Field(
        default="./workspace", description="folder or object-store URL of the tables, made when missing"
    )


class Finding(Frozen):
    """What decides which faces come out of a photo. Its hash is a row's fingerprint: a change here means that
    every photo is looked at again."""

    stage_version: int = 1  # raise it when the code of extraction changes what comes out
    faces: FaceMode
    detector: DetectorName
    detector_hash: str
    margin: float
    crop_side: int
    max_pixels: int
    max_bytes: int
    photo_timeout_s: float
    min_detector_score: float = 0.5
    min_face_side: int = 16  # pixels of the upright full-size photo
    detect_side: int  # the longer side of what the detector sees at most, pixels
    decode_side: int  # a JPEG is decoded at the smallest of 1, 1/2, 1/4, 1/8 that is at least this long, pixels


class PhotoSettings(StageSettings):
    folders: CliPositionalArg[list[str]] = Field(min_length=1, description="folders of photos, searched recursively")
    faces: FaceMode = Field(default="detect", description="find faces, or take each picture as one face")
    detector: DetectorName = Field(default="centerface", description="yunet needs its model file too")
    detector_model: str | None = Field(default=None, description="file of YuNet's model")
    fetch_detector: bool = Field(default=False, description="download YuNet from its publisher, checked by SHA-256")
    detect_side: int = Field(
        default=640,
        ge=64,
        description="the detector sees photos at most this long, in pixels; more finds smaller faces, slower",
    )
    workers: int | None = Field(default=None, ge=1, le=256, description="processes that read photos; unset: one a core")
    photo_timeout_s: float = Field(default=20, gt=0, description="seconds that one photo may take")
    max_pixels: int = Field(default=100_000_000, gt=0, description="photos with more pixels are too_large")
    max_bytes: int = Field(default=200_000_000, gt=0, description="files with more bytes are too_large")
    worker_memory_mb: int = Field(default=4096, ge=1024, description="memory that one worker may use")
    chunk_files: int = Field(default=512, ge=1, le=20_000, description="files that are committed together")


class ExtractSettings(PhotoSettings):
    """Find the faces in folders of photos and store them, with labels where the photos have some."""

    labels: str | None = Field(
        default=None,
        description="wiki (id_dob_year names), utkface (age_gender_race names), or a table",
    )


class LabelSettings(StageSettings):
    """Read labels for photos that were extracted already."""

    folders: CliPositionalArg[list[str]] = Field(min_length=1, description="folders of photos, as they were extracted")
    labels: str = Field(description="wiki, utkface, or a .csv or .parquet table")


class TrainSettings(StageSettings):
    """Fine-tune VGG16 on the labelled faces of a workspace."""

    targets: Targets = Field(default="age+gender", description="what to learn")
    recipe: Recipe = Field(default="distribution", description="classic is the original's: linear age, squared error")
    trunk: str = Field(
        default="auto", description="where VGG16 starts: imagenet, pretrained, auto or a .weights.h5 file"
    )
    device: Literal["auto", "cpu", "gpu"] = Field(default="auto", description="gpu fails where TensorFlow sees none")
    unfrozen_blocks: int = Field(default=1, ge=1, le=2, description="VGG16's last blocks to tune; the rest is cached")
    copies: int = Field(
        default=2, ge=1, le=8, description="cached copies of each face: one plain, the others augmented"
    )
    epochs: int = Field(default=12, ge=1, le=500, description="at most; early stopping ends sooner")
    patience: int = Field(default=3, ge=1, description="epochs without a better validation loss before it stops")
    batch: int = Field(default=64, ge=2, le=4096, description="faces a step")
    block_rate: float = Field(default=3e-5, gt=0, description="learning rate of the unfrozen blocks")
    head_rate: float = Field(default=1e-3, gt=0, description="learning rate of the heads")
    half: bool = Field(default=False, description="compute in bfloat16: about twice as fast where the processor has it")
    min_face_side: int = Field(default=32, ge=1, description="faces whose box is smaller, in pixels, aren't trained on")
    resume: str | None = Field(
        default=None, pattern=r"^train-[\w-]+$", description="go on with this stopped run; give the same settings"
    )
    seed: int = Field(default=0, ge=0, description="of the augmentation and the training")


class ExportSettings(StageSettings):
    """Turn a training run into one checked, self-contained ONNX file in the registry."""

    run: CliPositionalArg[str] = Field(description="a training run's name, or `latest`")
    data: str = Field(default="Photos of the workspace's owner.", description="for the card: what it was trained on")
    licence: str = Field(default="not stated", description="for the card: the terms of the model and of its photos")


class ScoreSettings(PhotoSettings):
    """Score every face in folders of photos; what is scored already is skipped."""

    model: str = Field(default="champion", description="a registry version, champion, pretrained, or an .onnx file")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="cuda fails where it doesn't really run")
    batch: int = Field(default=64, ge=1, le=4096, description="crops an inference call")
    keep_crops: bool = Field(default=True, description="store the crops; without them, review shows no pictures")


class PredictSettings(Frozen):
    """Print one JSON line a photo; nothing is stored."""

    photos: CliPositionalArg[list[str]] = Field(min_length=1, description="photo files")
    model: str = Field(default="pretrained", description="pretrained, an .onnx file, or a version of --workspace")
    workspace: str | None = Field(default=None, description="where versions and champion are looked up")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="cuda fails where it doesn't really run")
    faces: FaceMode = Field(default="detect", description="find faces, or take each picture as one face")


class EvaluateSettings(StageSettings):
    """Measure a model on labelled faces of the workspace, by age band and by group."""

    model: str = Field(default="champion", description="a registry version, champion, pretrained, or an .onnx file")
    split: str | None = Field(default="test", description="the labels' split column; unset: every labelled face")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="cuda fails where it doesn't really run")


class RetrainSettings(TrainSettings):
    """Train, export, and promote the new model if it is better on the same test rows."""


class PromoteSettings(StageSettings):
    """Make a version the champion, if it beats the present one on the same test rows."""

    version: CliPositionalArg[str] = Field(description="a registry version")
    force: str | None = Field(default=None, description="promote it anyway; the reason, kept in the registry's log")


class ReviewSettings(StageSettings):
    """Serve the review pages on this machine."""

    port: int = Field(default=8501, ge=1024, le=65535, description="on 127.0.0.1")


class DemoSettings(Frozen):
    """The whole way on a few sample photos, on the CPU."""

    folder: str = Field(default="./demo-workspace", description="made anew each time: photos, tables and models")
