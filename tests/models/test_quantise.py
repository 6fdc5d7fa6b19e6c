"""A model in 8 bits keeps its contract and nearly its answers, and no processor can answer otherwise."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.contract import AGE_OUTPUTS, CROP_SIDE, GENDER_OUTPUT, INPUT, METADATA_KEY, About
from models.half import store_as_half
from models.quantise import quantised
from models.session import OnnxModel
from tests.tiny_model import tiny_model

RANDOM = np.random.default_rng(0)
CROPS = RANDOM.integers(0, 256, (10, CROP_SIDE, CROP_SIDE, 3), dtype=np.uint8) // np.arange(1, 11)[:, None, None, None]
CROPS = CROPS.astype(np.uint8)
CHANNELS = (3, 8, 16, 16)
MOST = 64  # of a weight: twice 255 times that fits into 16 bits


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three convolutions, whose mean answer is all four outputs."""
    tiny = onnx.load(tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.onnx"))
    nodes = [
        helper.make_node("Cast", [INPUT], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["x0"], perm=[0, 3, 1, 2]),
    ]
    weights = []
    for layer, (taken, given) in enumerate(itertools.pairwise(CHANNELS)):
        kernel = RANDOM.normal(0.3, 1, (given, taken, 3, 3)) / (9 * taken)
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"kernel{layer}"))
        nodes.append(helper.make_node("Conv", [f"x{layer}", f"kernel{layer}"], [f"y{layer}"], name=f"conv{layer}"))
        nodes.append(helper.make_node("Relu", [f"y{layer}"], [f"x{layer + 1}"], name=f"relu{layer}"))
    nodes.append(helper.make_node("ReduceMean", [f"x{len(weights)}"], ["mean"], axes=[1, 2, 3], keepdims=0))
    nodes += [helper.make_node("Identity", ["mean"], [name]) for name in AGE_OUTPUTS]
    nodes.append(helper.make_node("Sigmoid", ["mean"], [GENDER_OUTPUT]))
    graph = helper.make_graph(nodes, "three", tiny.graph.input, tiny.graph.output, weights)
    store_as_half(graph)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=10)
    helper.set_model_props(model, {entry.key: entry.value for entry in tiny.metadata_props})
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def narrow(wide: bytes) -> bytes:
    return quantised(wide, CROPS)


def test_it_answers_nearly_as_before(wide: bytes, narrow: bytes) -> None:
    before, after = (OnnxModel(content, "test", "cpu")(CROPS) for content in (wide, narrow))
    assert np.ptp(before.age) > 2
    assert np.abs(after.age - before.age).max() < 0.02 * np.ptp(before.age)
    assert not np.array_equal(after.age, before.age)


def test_no_two_products_can_saturate(narrow: bytes) -> None:
    stored = {part.name: numpy_helper.to_array(part) for part in onnx.load_from_string(narrow).graph.initializer}
    weights = [values for values in stored.values() if values.dtype == np.int8 and values.ndim == 4]
    assert len(weights) == len(CHANNELS) - 1
    assert max(np.abs(values.astype(int)).max() for values in weights) == MOST


def test_it_says_what_it_is_as_before(wide: bytes, narrow: bytes) -> None:
    about = {entry.key: entry.value for entry in onnx.load_from_string(narrow).metadata_props}
    assert list(about) == [METADATA_KEY]
    assert About.model_validate_json(about[METADATA_KEY]) == OnnxModel(wide, "test", "cpu").about
