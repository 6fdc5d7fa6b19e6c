"""A model file with a trivial graph, for tests of what is around a model."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from models.contract import AGE_OUTPUTS, CROP_SIDE, GENDER_OUTPUT, INPUT, METADATA_KEY, UTKFACE_MARGIN, About


def tiny_model(path: Path, *, levels_a_year: float = 4) -> Path:
    """Writes a valid Faceline model of about 1 kB to `path` (which must end in .onnx), and returns `path`.

    It is a real ONNX file that a real ONNX Runtime session runs, so loading, batching, scoring and storing are tested
    as they are, without TensorFlow and without 500 MB of weights. Only its judgement is worthless, but known: with m
    the mean of a crop's values (0 to 255), age is m / `levels_a_year`, the interval is age -/+ 5, and female is
    m / 255."""
    nodes = [
        helper.make_node("Cast", [INPUT], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Div", ["mean", "levels"], ["age"]),
        helper.make_node("Sub", ["age", "five"], ["age_low"]),
        helper.make_node("Add", ["age", "five"], ["age_high"]),
        helper.make_node("Div", ["mean", "most"], [GENDER_OUTPUT]),
    ]
    constants = {"levels": float(levels_a_year), "five": 5.0, "most": 255.0}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", CROP_SIDE, CROP_SIDE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in (*AGE_OUTPUTS, GENDER_OUTPUT)],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()],
    )
    # Opset 13 has ReduceMean's axes as an attribute; ir_version 10 is read by every ONNX Runtime in use.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: _about().model_dump_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _about() -> About:
    return About(
        targets="age+gender",
        recipe="distribution",
        detector="centerface",
        margin=UTKFACE_MARGIN,
        data_hash="0" * 64,
        licence="none: a test's",
        metrics={},
    )
