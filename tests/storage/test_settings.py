"""Settings can't be misspelt or changed, and their fingerprint tells two apart."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from storage import settings as knobs
from storage.choices import Finding, Frozen
from storage.settings import ExtractSettings, ScoreSettings, TrainSettings
from storage.values import FileStatus

REPOSITORY = Path(__file__).parent.parent.parent
FINDING: dict[str, Any] = {
    "stage_version": 1,
    "faces": "detect",
    "detector": "centerface",
    "detector_hash": "0" * 64,
    "margin": 0.03,
    "crop_side": 128,
    "min_detector_score": 0.5,
    "turns": (90, 180, 270),
    "detect_side": 640,
    "decode_side": 1280,
    "max_pixels": 100,
    "max_bytes": 1000,
    "photo_timeout_s": 20.0,
    "worker_memory_mb": 2048,
}
OTHER = {"faces": "whole", "detector": "haar", "detector_hash": "1" * 64, "turns": ()}
LIMITS = {"max_pixels", "max_bytes", "photo_timeout_s", "worker_memory_mb"}
STAGES = [
    value
    for value in vars(knobs).values()
    if isinstance(value, type) and issubclass(value, Frozen) and value is not Frozen
]


def test_the_example_has_every_field() -> None:
    assert set(FINDING) == set(Finding.model_fields)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Finding(**FINDING).margin = 0.5  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("stage", STAGES)
def test_every_kind_of_settings_is_frozen_and_refuses_what_it_does_not_know(stage: type[BaseModel]) -> None:
    assert (stage.model_config.get("frozen"), stage.model_config.get("extra")) == (True, "forbid")


def test_a_misspelt_key_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="detektor"):
        ExtractSettings.model_validate({"folders": ["."], "detektor": "haar"})


@pytest.mark.parametrize(
    ("stage", "values"),
    [
        (ExtractSettings, {"folders": []}),
        (ExtractSettings, {"folders": ["."], "detector": "mtcnn"}),
        (ExtractSettings, {"folders": ["."], "workers": 0}),
        (ExtractSettings, {"folders": ["."], "photo_timeout_s": 0}),
        (ScoreSettings, {"folders": ["."], "device": "tpu"}),
        (ScoreSettings, {"folders": ["."], "batch": 0}),
        (TrainSettings, {"epochs": 0}),
        (TrainSettings, {"head_rate": 0}),
        (TrainSettings, {"recipe": "guess"}),
    ],
)
def test_a_value_out_of_range_is_refused(stage: type[BaseModel], values: dict) -> None:
    with pytest.raises(ValidationError):
        stage.model_validate(values)


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage is not Finding])  # which no person gives
def test_every_knob_has_a_help_text(stage: type[BaseModel]) -> None:
    assert [name for name, about in stage.model_fields.items() if not about.description] == []


def test_equal_settings_have_equal_fingerprints() -> None:
    assert Finding(**FINDING).fingerprint() == Finding(**dict(reversed(FINDING.items()))).fingerprint()


@pytest.mark.parametrize("name", FINDING)
def test_every_field_of_a_finding_changes_its_fingerprint_and_a_limit_that_of_what_failed_by_it(name: str) -> None:
    before = Finding(**FINDING)
    after = Finding(**FINDING | {name: OTHER[name] if name in OTHER else FINDING[name] + 1})
    same = {status: before.fingerprint_of(status) == after.fingerprint_of(status) for status in FileStatus}
    by_a_limit = {FileStatus.TOO_LARGE, FileStatus.TIMED_OUT, FileStatus.CRASHED_DECODER}
    assert same == {status: name in LIMITS and status not in by_a_limit for status in FileStatus}
    assert (before.fingerprint() == after.fingerprint()) == (name in LIMITS)
    assert {before.fingerprint_of(status) for status in FileStatus} == set(before.fingerprints())


def test_a_fingerprint_is_the_same_in_another_process() -> None:
    code = f"from storage.choices import Finding; print(Finding(**{FINDING!r}).fingerprint())"
    printed = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == Finding(**FINDING).fingerprint()
