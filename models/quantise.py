"""A model file with its convolutions in 8 bits: a third of the time on processors with instructions for that.

Weights keep 7 bits, each channel with a scale of its own: in 8, two products with an activation can saturate their 16
bits on processors without AVX-512 VNNI, which would then give other answers. Activations keep 8, within the range that
all but a ten-thousandth of their values on real crops have. The heads stay float: they cost little. With the first
convolution in float too, a model was slower by a sixth and no better."""

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from models.calibration import RawAnswers
from models.contract import INPUT
from models.half import store_as_float, store_as_half
from models.session import open_session
from storage.scratch import scratch_folder

CROPS = 64  # on which the ranges of activations are measured
_AT_ONCE = 8  # crops whose activations are in memory together, 20 MB each
_PERCENTILE = 99.99
_BATCH = 64


def quantised(content: bytes, crops: np.ndarray) -> bytes:
    """An exported model in 8 bits, with the same contract. `crops`, uint8 [n, 128, 128, 3], are like those that it was
    trained on."""
    step = min(_AT_ONCE, len(crops))
    crops = crops[: len(crops) // step * step]
    model = onnx.load_from_string(content)
    about, ir_version = {entry.key: entry.value for entry in model.metadata_props}, model.ir_version
    store_as_float(model.graph)
    with scratch_folder() as folder:
        wide, narrow = folder / "wide.onnx", folder / "narrow.onnx"
        onnx.save(model, wide)
        with redirect_stdout(sys.stderr):  # it prints
            quantize_static(
                wide,
                narrow,
                _Crops(crops),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Relu", "MaxPool"],
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={
                    "CalibPercentile": _PERCENTILE,
                    "CalibTensorRangeSymmetric": False,
                    "CalibStridedMinMax": step,
                },
            )
        model = onnx.load(narrow)
    store_as_half(model.graph)
    model.ir_version = ir_version
    onnx.helper.set_model_props(model, about)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def raw_answers(content: bytes, crops: np.ndarray) -> RawAnswers:
    """What a file of `export.raw_to_onnx` answers, quantised or not. `crops` is uint8 [n, 128, 128, 3]."""
    session = open_session(content, "before calibration", "cpu", None)
    parts = [session.run(None, {INPUT: crops[start : start + _BATCH]}) for start in range(0, len(crops), _BATCH)]
    age, spread, *gender = (np.concatenate(column) for column in zip(*parts, strict=True))
    return RawAnswers(age, spread, gender[0] if gender else None)


class _Crops(CalibrationDataReader):
    """Hands over the crops of a range, all of it at once: what ONNX Runtime asks for with a stride."""

    def __init__(self, crops: np.ndarray) -> None:
        self._crops = crops
        self._left: Iterator[dict[str, np.ndarray]] = iter(())

    def __len__(self) -> int:
        return len(self._crops)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = iter([{INPUT: self._crops[start_index:end_index]}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)
