"""A trained network to one self-contained ONNX file, refused when it doesn't answer as Keras does.

The network must be rounded to float16 already (`vgg16.rounded`): its weights are stored as that (models/half.py)."""

import gc
from functools import partial
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import helper, numpy_helper

from models import recipes
from models.calibration import SPREAD_FLOOR_YEARS, YEARS, Calibration
from models.contract import AGE_OUTPUTS, CROP_SIDE, GENDER_OUTPUT, INPUT, METADATA_KEY, About, Answers, BadModel
from models.half import rename_uses, store_as_half
from models.session import OnnxModel
from models.vgg16 import Network

RAW_OUTPUTS = ("age", "spread")
AGE_TOLERANCE_YEARS = 1e-2  # a median moves far where its distribution is flat
PROBABILITY_TOLERANCE = 1e-4
_OPSET = 18
_IR_VERSION = 10  # what ONNX Runtime 1.26 and older ones read


_SIGNATURE = [tf.TensorSpec((None, CROP_SIDE, CROP_SIDE, 3), tf.uint8, name=INPUT)]


def serving(network: Network, calibration: Calibration) -> Any:
    """The function that is exported: uint8 crops to age, age_low, age_high and, with gender, female."""

    @tf.function(input_signature=_SIGNATURE)
    def serve(crops: tf.Tensor) -> tuple[tf.Tensor, ...]:
        age, spread, *gender = _read(network, crops)
        low, high = _interval(age, spread, calibration)
        return age, low, high, *(tf.sigmoid(logit / calibration.temperature) for logit in gender)

    return serve


def _read(network: Network, crops: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Age, its spread and, with gender, its logit."""
    answers = network.tail(network.frozen(crops, training=False), training=False)
    gender = (answers["gender"][:, 0],) if network.targets == "age+gender" else ()
    return *recipes.read_age(network.recipe, answers["age"]), *gender


def _interval(age: tf.Tensor, spread: tf.Tensor, calibration: Calibration) -> tuple[tf.Tensor, tf.Tensor]:
    """`models.calibration.interval` as a graph."""
    reach = tf.constant(calibration.reaches, tf.float32) * (spread[:, None] + SPREAD_FLOOR_YEARS)
    over = reach - tf.abs(YEARS - age[:, None])
    low = tf.where(over >= 0, YEARS - _share(over, tf.pad(over[:, :-1], ((0, 0), (1, 0)))), YEARS[-1])
    high = tf.where(over >= 0, YEARS + _share(over, tf.pad(over[:, 1:], ((0, 0), (0, 1)))), YEARS[0])
    return tf.minimum(tf.reduce_min(low, axis=1), age), tf.maximum(tf.reduce_max(high, axis=1), age)


def _share(over: tf.Tensor, beside: tf.Tensor) -> tf.Tensor:
    crossed = tf.logical_and(over >= 0, beside < 0)
    return tf.where(crossed, over / tf.where(crossed, over - beside, 1.0), 0.0)


def to_onnx(network: Network, calibration: Calibration, about: About) -> bytes:
    return _converted(network, serving(network, calibration), AGE_OUTPUTS, {METADATA_KEY: about.model_dump_json()})


def raw_to_onnx(network: Network) -> bytes:
    """What comes before calibration: `age`, `spread` and, with gender, `female` as a logit, by which what is done to
    the file can be calibrated for."""
    serve = tf.function(partial(_read, network), input_signature=_SIGNATURE)
    return _converted(network, serve, RAW_OUTPUTS, {})


def _converted(network: Network, serve: Any, age_outputs: tuple[str, ...], about: dict[str, str]) -> bytes:
    model, _ = tf2onnx.convert.from_function(serve, input_signature=_SIGNATURE, opset=_OPSET)
    gc.collect()  # each of tf2onnx's passes leaves a copy of the weights in a cycle: 4 GB, until Python looks
    _rename_ends(model.graph, age_outputs + ((GENDER_OUTPUT,) if network.targets == "age+gender" else ()))
    _name_weights(model.graph, network)
    store_as_half(model.graph)
    model.ir_version = _IR_VERSION
    helper.set_model_props(model, about)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def check_parity(content: bytes, network: Network, calibration: Calibration, crops: np.ndarray) -> dict[str, float]:
    """The largest differences between the ONNX file and Keras on real crops (uint8 [n, 128, 128, 3]).
    Raises BadModel when one is beyond tolerance."""
    ours = OnnxModel(content, "under test", "cpu")(crops)
    theirs = Answers(
        *(np.asarray(part) for part in serving(network, calibration)(tf.constant(crops))), *_no_gender(network)
    )
    return check_alike(ours, theirs)


def check_alike(ours: Answers, theirs: Answers) -> dict[str, float]:
    """The largest differences. Raises BadModel when one is beyond tolerance."""
    difference = {
        "age": max(float(np.abs(getattr(ours, name) - getattr(theirs, name)).max()) for name in AGE_OUTPUTS),
        "female": 0.0
        if ours.female is None or theirs.female is None
        else float(np.abs(ours.female - theirs.female).max()),
    }
    if difference["age"] > AGE_TOLERANCE_YEARS or difference["female"] > PROBABILITY_TOLERANCE:
        raise BadModel(
            f"the ONNX file differs from what it's made from by {difference['age']:.2g} years and "
            f"{difference['female']:.2g} in probability, more than {AGE_TOLERANCE_YEARS} or {PROBABILITY_TOLERANCE}. "
            "Nothing was registered"
        )
    return difference


def _no_gender(network: Network) -> tuple[None, ...]:
    return (None,) if network.targets == "age" else ()


def _rename_ends(graph: onnx.GraphProto, outputs: tuple[str, ...]) -> None:
    for output, name in zip(graph.output, outputs, strict=True):
        graph.node.append(helper.make_node("Identity", [output.name], [name]))
        output.name = name
    rename_uses(graph, {graph.input[0].name: INPUT})
    graph.input[0].name = INPUT


def _name_weights(graph: onnx.GraphProto, network: Network) -> None:
    """Gives the weights their layers' names, found by value: so a model can be fine-tuned from its file."""
    by_value = {numpy_helper.to_array(part).tobytes(): part for part in graph.initializer}
    new_names = {}
    for layer in [*network.frozen.layers, *network.tail.layers]:
        for variable in layer.trainable_variables + layer.non_trainable_variables:
            value = np.asarray(variable)
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
            stored = by_value.get(np.ascontiguousarray(value).tobytes())
            if stored is not None:  # the state of dropout's random numbers isn't in the graph
                new_names[stored.name] = f"{layer.name}.{variable.name}"
                stored.name = f"{layer.name}.{variable.name}"
    rename_uses(graph, new_names)
