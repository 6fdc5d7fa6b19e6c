"""A trained network to one self-contained ONNX file, refused when it doesn't answer as Keras does.

Weights are stored as float16 with a cast in the graph: half the size, at no cost in time, since ONNX Runtime folds
the casts when it loads. The network must be rounded to float16 already (`vgg16.rounded`)."""

from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import TensorProto, helper, numpy_helper

from models import recipes
from models.calibration import Calibration, interval
from models.contract import AGE_OUTPUTS, CROP_SIDE, GENDER_OUTPUT, INPUT, METADATA_KEY, About, Answers, BadModel
from models.session import OnnxModel
from models.vgg16 import SMALLEST_HALF, Network

AGE_TOLERANCE_YEARS = 1e-3
PROBABILITY_TOLERANCE = 1e-4
_OPSET = 18
_IR_VERSION = 10  # what ONNX Runtime 1.26 and older ones read


def serving(network: Network, calibration: Calibration) -> Any:
    """The function that is exported: uint8 crops to age, age_low, age_high and, with gender, female."""

    @tf.function(input_signature=[tf.TensorSpec((None, CROP_SIDE, CROP_SIDE, 3), tf.uint8, name=INPUT)])
    def serve(crops: tf.Tensor) -> tuple[tf.Tensor, ...]:
        answers = network.tail(network.frozen(crops, training=False), training=False)
        age, spread = recipes.read_age(network.recipe, answers["age"])
        low, high = interval(age, spread, calibration.width)
        if network.targets == "age":
            return age, low, high
        return age, low, high, tf.sigmoid(answers["gender"][:, 0] / calibration.temperature)

    return serve


def to_onnx(network: Network, calibration: Calibration, about: About) -> bytes:
    serve = serving(network, calibration)
    model, _ = tf2onnx.convert.from_function(serve, input_signature=serve.input_signature, opset=_OPSET)
    names = AGE_OUTPUTS + ((GENDER_OUTPUT,) if network.targets == "age+gender" else ())
    _rename_ends(model.graph, names)
    _name_weights(model.graph, network)
    _store_as_half(model.graph)
    model.ir_version = _IR_VERSION
    helper.set_model_props(model, {METADATA_KEY: about.model_dump_json()})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def check_parity(content: bytes, network: Network, calibration: Calibration, crops: np.ndarray) -> dict[str, float]:
    """The largest differences between the ONNX file and Keras on real crops (uint8 [n, 128, 128, 3]).
    Raises BadModel when one is beyond tolerance."""
    ours = OnnxModel(content, "under test", "cpu")(crops)
    theirs = Answers(
        *(np.asarray(part) for part in serving(network, calibration)(tf.constant(crops))), *_no_gender(network)
    )
    difference = {
        "age": max(float(np.abs(getattr(ours, name) - getattr(theirs, name)).max()) for name in AGE_OUTPUTS),
        "female": 0.0 if ours.female is None else float(np.abs(ours.female - theirs.female).max()),
    }
    if difference["age"] > AGE_TOLERANCE_YEARS or difference["female"] > PROBABILITY_TOLERANCE:
        raise BadModel(
            f"the ONNX file differs from Keras by {difference['age']:.2g} years and {difference['female']:.2g} in "
            f"probability, more than {AGE_TOLERANCE_YEARS} or {PROBABILITY_TOLERANCE}. Nothing was registered"
        )
    return difference


def _no_gender(network: Network) -> tuple[None, ...]:
    return (None,) if network.targets == "age" else ()


def _rename_ends(graph: onnx.GraphProto, outputs: tuple[str, ...]) -> None:
    for output, name in zip(graph.output, outputs, strict=True):
        graph.node.append(helper.make_node("Identity", [output.name], [name]))
        output.name = name
    _rename_uses(graph, {graph.input[0].name: INPUT})
    graph.input[0].name = INPUT


def _name_weights(graph: onnx.GraphProto, network: Network) -> None:
    """Gives VGG16's weights their layers' names, found by value: so a model can be fine-tuned from its file."""
    by_value = {numpy_helper.to_array(part).tobytes(): part for part in graph.initializer}
    new_names = {}
    for layer in [*network.frozen.layers, *network.tail.layers]:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, bias = layer.get_weights()
            for part, value in (("kernel", kernel.transpose(3, 2, 0, 1)), ("bias", bias)):
                stored = by_value[np.ascontiguousarray(value).tobytes()]
                new_names[stored.name] = f"{layer.name}.{part}"
                stored.name = f"{layer.name}.{part}"
    _rename_uses(graph, new_names)


def _rename_uses(graph: onnx.GraphProto, new_names: dict[str, str]) -> None:
    for node in graph.node:
        for index, used in enumerate(node.input):
            if used in new_names:
                node.input[index] = new_names[used]


def _store_as_half(graph: onnx.GraphProto) -> None:
    casts, wide_names = [], {}
    for part in graph.initializer:
        if part.data_type == TensorProto.FLOAT and len(part.raw_data) >= 4 * SMALLEST_HALF:
            half = numpy_helper.to_array(part).astype(np.float16)
            wide_names[part.name] = f"{part.name}.float32"
            casts.append(helper.make_node("Cast", [part.name], [wide_names[part.name]], to=TensorProto.FLOAT))
            part.CopyFrom(numpy_helper.from_array(half, part.name))
    _rename_uses(graph, wide_names)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
