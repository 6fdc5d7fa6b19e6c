"""Runs a model file with ONNX Runtime: the only import of it.

A listed provider says nothing: `onnxruntime.get_available_providers()` names CUDA on machines without one, and a
session falls back to the CPU with a log line. So cuda is asked for with fallback forbidden, and what runs is read
from the session.

Several threads hand crops to one model. On a GPU they take turns: while it judges one's crops, the others decode. On a
CPU each call's crops are dealt out to its cores, each with a thread of its own: against two threads on each crop, that
is 24 % less processor time for `fast` and 8 % for VGG16, as none waits for the other."""

import hashlib
import importlib.util
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnxruntime
from pydantic import ValidationError

from models.batch_size import BatchSize
from models.contract import AGE_OUTPUTS, GENDER_OUTPUT, INPUT, METADATA_KEY, About, Answers, BadModel
from storage.choices import Device

_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
_PROVIDERS = {"cpu": [_CPU], "cuda": [_CUDA], "tensorrt": [_TENSORRT, _CUDA]}  # CUDA runs what TensorRT can't
_BATCH_ON_CPU = 16  # with more, a crop is no cheaper, and each is 10 MB of VGG16's answers
_BATCH_ON_GPU = 64
_MOST = 2048  # crops a call on a GPU: 100 MB of pixels, and some GB of VGG16's answers
_NO_ROOM = "Failed to allocate memory"
_FATAL = 4  # of ONNX Runtime's log levels
logger = logging.getLogger(__name__)


class OnnxModel:
    """A loaded model. Calling it is thread-safe."""

    def __init__(
        self, content: bytes, version: str, device: Device, *, batch: int | None = None, threads: int | None = None
    ) -> None:
        """`batch`: crops a call; None: 16 on each core of a CPU; on a GPU 64, and on CUDA more while that is faster.
        `threads` of the CPU; None: one a core. Raises BadModel."""
        self.hash = hashlib.sha256(content).hexdigest()
        self.version = version
        self._session = open_session(content, version, device, threads=1)
        self.provider = self._session.get_providers()[0]
        on_cpu = self.provider == _CPU
        first = batch or (_BATCH_ON_CPU if on_cpu else _BATCH_ON_GPU)
        self._batch = BatchSize(first, _MOST if batch is None and self.provider == _CUDA else first)
        self._hands = (threads or os.cpu_count() or 1) if on_cpu else 1
        self._pool = ThreadPoolExecutor(self._hands, "infer")
        self.about = _about(self._session, version)
        self._outputs = _checked_outputs(self._session, self.about, version)

    def __call__(self, crops: np.ndarray) -> Answers:
        shares = np.array_split(crops, max(1, min(self._hands, len(crops))))
        columns = [np.concatenate(column) for column in zip(*self._pool.map(self._judge, shares), strict=True)]
        if not all(np.isfinite(column).all() for column in columns):
            raise BadModel(f"model {self.version}: an answer is not a number; nothing of this batch is stored")
        if len(columns) == 4 and len(crops) and not (columns[3].min() >= 0 and columns[3].max() <= 1):
            raise BadModel(f"model {self.version}: a probability lies outside 0 to 1; nothing of this batch is stored")
        return Answers(*columns[:3], female=columns[3] if len(columns) == 4 else None)

    def _judge(self, crops: np.ndarray) -> list[np.ndarray]:
        """The answers for one core's share, or for all that a GPU gets."""
        parts = [[np.empty(0, np.float32) for _ in self._outputs]]
        start = 0
        while start < len(crops):
            answers = self._next_batch(crops[start:])
            start += len(answers[0])
            parts.append(answers)
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _next_batch(self, crops: np.ndarray) -> list[np.ndarray]:
        """The answers for as many of the first crops as fit."""
        while True:
            batch = crops[: self._batch.size]
            began = time.perf_counter()
            try:
                answers = self._run(batch)
            except _NoRoom:
                if len(batch) == 1:
                    raise
                self._batch.halve()
                logger.info("%d crops have no room in memory at a time; now %d", len(batch), self._batch.size)
                continue
            self._batch.took(len(batch), time.perf_counter() - began)
            return answers

    def _run(self, crops: np.ndarray) -> list[np.ndarray]:
        missing = self._batch.size - len(crops) if self.provider == _TENSORRT else 0
        if missing:  # TensorRT builds an engine for each shape, in minutes, so it only ever sees one
            crops = np.pad(crops, ((0, missing), (0, 0), (0, 0), (0, 0)))
        try:
            answers = self._session.run(list(self._outputs), {INPUT: crops})
        except Exception as error:  # onnxruntime's errors have no common base below Exception
            kind = _NoRoom if _NO_ROOM in str(error) else BadModel
            raise kind(f"model {self.version}: inference failed: {_first_line(error)}") from error
        columns = [np.asarray(answer, np.float32) for answer in answers]
        if any(column.shape != (len(crops),) for column in columns):
            raise BadModel(f"model {self.version}: {len(crops)} crops, answers of {[c.shape for c in columns]}")
        return [column[: len(crops) - missing] for column in columns]


class _NoRoom(BadModel):
    """The memory is too small for that batch."""


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
    providers, missing = _PROVIDERS[device], ""
    if device != "cpu":
        if providers[0] not in onnxruntime.get_available_providers():
            raise BadModel(f"--device {device}: this ONNX Runtime is built without it; see the README, On a GPU")
        missing = _load_libraries(device)
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # see above: no common base
        reason = next(iter(missing.splitlines()), _first_line(error))
        if device != "cpu":
            wanted = "CUDA 12" if device == "cuda" else "CUDA 12 and TensorRT 10"
            raise BadModel(f"--device {device}: no device or library of {wanted} that works here: {reason}") from error
        raise BadModel(f"model {version}: not a model that ONNX Runtime loads: {reason}") from error
    if session.get_providers()[0] != providers[0]:
        raise BadModel(f"--device {device}: ONNX Runtime chose {session.get_providers()[0]} instead")
    return session


def _load_libraries(device: Device) -> str:
    """Those of CUDA and TensorRT that came as Python packages, which the system's loader doesn't look through. Returns
    which are missing, a line each: it's printed, which isn't for a command's stdout."""
    said = StringIO()
    if hasattr(onnxruntime, "preload_dlls"):
        with redirect_stdout(said):
            onnxruntime.preload_dlls(directory="")
    if device == "tensorrt" and importlib.util.find_spec("tensorrt_libs"):
        importlib.import_module("tensorrt_libs")
    return said.getvalue()


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
