"""Runs a model file with ONNX Runtime: the only import of it.

A listed provider says nothing: `onnxruntime.get_available_providers()` names CUDA on machines without one, and a
session falls back to the CPU with a log line. So cuda is asked for with fallback forbidden, and what runs is read
from the session."""

import hashlib
import logging
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
from pydantic import ValidationError

from models.contract import AGE_OUTPUTS, GENDER_OUTPUT, INPUT, METADATA_KEY, About, Answers, BadModel

Device = Literal["auto", "cpu", "cuda"]
_FATAL = 4  # of ONNX Runtime's log levels
logger = logging.getLogger(__name__)


class OnnxModel:
    """A loaded model. Calling it is thread-safe."""

    def __init__(
        self, content: bytes, version: str, device: Device, *, batch: int = 64, threads: int | None = None
    ) -> None:
        """`threads` of the CPU; None: one a core. Raises BadModel."""
        self.hash = hashlib.sha256(content).hexdigest()
        self.version = version
        self._batch = batch
        self._session = open_session(content, version, device, threads)
        self.provider = self._session.get_providers()[0]
        self.about = _about(self._session, version)
        self._outputs = _checked_outputs(self._session, self.about, version)

    def __call__(self, crops: np.ndarray) -> Answers:
        parts = [self._run(crops[start : start + self._batch]) for start in range(0, len(crops), self._batch)]
        if not parts:
            parts = [[np.empty(0, np.float32) for _ in self._outputs]]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        if not all(np.isfinite(column).all() for column in columns):
            raise BadModel(f"model {self.version}: an answer is not a number; nothing of this batch is stored")
        if len(columns) == 4 and len(crops) and not (columns[3].min() >= 0 and columns[3].max() <= 1):
            raise BadModel(f"model {self.version}: a probability lies outside 0 to 1; nothing of this batch is stored")
        return Answers(*columns[:3], female=columns[3] if len(columns) == 4 else None)

    def _run(self, crops: np.ndarray) -> list[np.ndarray]:
        try:
            answers = self._session.run(list(self._outputs), {INPUT: crops})
        except Exception as error:  # onnxruntime's errors have no common base below Exception
            raise BadModel(f"model {self.version}: inference failed: {_first_line(error)}") from error
        columns = [np.asarray(answer, np.float32) for answer in answers]
        if any(column.shape != (len(crops),) for column in columns):
            raise BadModel(f"model {self.version}: {len(crops)} crops, answers of {[c.shape for c in columns]}")
        return columns


def nvidia_device_present() -> bool:
    """Whether the kernel has an NVIDIA device; that its libraries work, only a session shows."""
    return Path("/dev/nvidiactl").exists()


def open_session(content: bytes, version: str, device: Device, threads: int | None) -> onnxruntime.InferenceSession:
    """A session on that device and no other. Raises BadModel."""
    if device == "auto":
        return _open_best(content, version, threads)
    onnxruntime.set_default_logger_severity(_FATAL)  # what fails is raised below, with what to do
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads or 0
    providers = ["CPUExecutionProvider"]
    if device == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise BadModel("--device cuda: this ONNX Runtime is built without CUDA; see the README on the GPU set-up")
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls(directory="")  # CUDA's libraries from the nvidia-* packages
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        providers = ["CUDAExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # see above: no common base
        reason = _first_line(error)
        if device == "cuda":
            raise BadModel(f"--device cuda: no device or library of CUDA 12 that works here: {reason}") from error
        raise BadModel(f"model {version}: not a model that ONNX Runtime loads: {reason}") from error
    if session.get_providers()[0] != providers[0]:
        raise BadModel(f"--device {device}: ONNX Runtime chose {session.get_providers()[0]} instead")
    return session


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _open_best(content: bytes, version: str, threads: int | None) -> onnxruntime.InferenceSession:
    if nvidia_device_present():
        try:
            return open_session(content, version, "cuda", threads)
        except BadModel as error:
            logger.warning("there is an NVIDIA device, but the CPU is used: %s", error)
    return open_session(content, version, "cpu", threads)


def _about(session: onnxruntime.InferenceSession, version: str) -> About:
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise BadModel(f"model {version}: not made by `faceline export` (it has no `{METADATA_KEY}` metadata)")
    try:
        return About.model_validate_json(metadata[METADATA_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc'])) or METADATA_KEY}: {first['msg']}"
        raise BadModel(f"model {version}: its metadata isn't of this version of Faceline: {problem}") from error


def _checked_outputs(session: onnxruntime.InferenceSession, about: About, version: str) -> tuple[str, ...]:
    wanted = AGE_OUTPUTS + ((GENDER_OUTPUT,) if about.targets == "age+gender" else ())
    inputs = {part.name: (part.type, part.shape[1:]) for part in session.get_inputs()}
    outputs = {part.name for part in session.get_outputs()}
    side = about.crop_side
    if inputs != {INPUT: ("tensor(uint8)", [side, side, 3])} or not outputs >= set(wanted):
        raise BadModel(f"model {version}: takes {inputs} and gives {sorted(outputs)}, not what models/contract.py says")
    return wanted
