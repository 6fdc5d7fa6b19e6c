"""VGG16 without its top (Simonyan and Zisserman, 2014), cut in two: the frozen blocks, run once a face with their
answers cached, and the tail that is trained, with two heads on it.

A 128x128 crop costs 10 GFLOP, nine tenths of it in blocks 1 to 4; so a cache makes a fine-tune minutes, not hours."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import onnx
from keras import layers
from onnx import numpy_helper

from models import recipes
from models.calibration import YEARS, RawAnswers
from models.contract import CROP_SIDE, BadModel, CannotTrain
from models.half import SMALLEST_HALF
from storage.choices import Recipe, Targets

_RGB_MEANS = (123.68, 116.779, 103.939)  # of ImageNet, which these weights were trained with
_HIDDEN = 192
_DROPOUT = 0.4
_LAST_BLOCK = 5
_BATCH = 64
_DEEPEST_GROUP = 8
_HEADS = (
    ("scale", "gamma", "beta"),
    ("hidden", "kernel", "bias"),
    ("age", "kernel", "bias"),
    ("gender", "kernel", "bias"),
)  # layers after VGG16, and their weights in Keras' order
_HEAD_NAMES = tuple(name for name, *_ in _HEADS)

LayerWeights = dict[str, list[np.ndarray]]  # by layer name: kernel [height, width, in, out], bias [out]


@dataclass(frozen=True)
class Network:
    """`frozen` turns uint8 crops [n, 128, 128, 3], RGB, into features; `tail` turns features into raw answers: age
    (logits over years, or years) and a gender logit."""

    frozen: keras.Model
    tail: keras.Model
    targets: Targets
    recipe: Recipe

    def block_variables(self) -> list[keras.Variable]:
        """What is tuned of VGG16."""
        return [v for layer in self.tail.layers if layer.name.startswith("block") for v in layer.trainable_variables]

    def head_variables(self) -> list[keras.Variable]:
        tuned = {id(variable) for variable in self.block_variables()}
        return [v for v in self.tail.trainable_variables if id(v) not in tuned]

    def raw_answers(self, crops_of: Callable[[np.ndarray], np.ndarray], indices: np.ndarray) -> RawAnswers:
        """The whole network on crops, given as uint8 [n, 128, 128, 3] for indices."""
        parts = []
        for start in range(0, len(indices), _BATCH):
            crops = crops_of(indices[start : start + _BATCH])
            answers = self.tail.predict_on_batch(self.frozen.predict_on_batch(crops))
            age, spread = recipes.read_age(self.recipe, answers["age"])
            gender = [answers["gender"][:, 0]] if "gender" in answers else []
            parts.append([np.asarray(age), np.asarray(spread), *gender])
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return RawAnswers(columns[0], columns[1], columns[2] if len(columns) == 3 else None)

    def whole(self) -> keras.Model:
        return keras.Model(self.frozen.input, self.tail(self.frozen.output))

    def taught(self) -> keras.Model:
        """Crops to what another network may learn: age and gender in one row, as `recipes.taught_loss` takes them."""
        answers = self.tail(self.frozen.output)
        parts = [answers[name] for name in ("age", "gender") if name in answers]
        return keras.Model(self.frozen.input, layers.Concatenate(dtype="float32")(parts) if parts[1:] else parts[0])

    def save(self, file: Path) -> None:
        """Writes all weights as a .weights.h5 file."""
        self.whole().save_weights(file)

    def load(self, file: Path) -> None:
        """Raises BadModel for a file that isn't of this architecture, or has links in it."""
        _refuse_links(file)
        try:
            _load_all(self.whole(), file)
        except (OSError, ValueError, KeyError, UserWarning) as error:
            raise BadModel(f"{file}: not the weights of this network: {error}") from error


def build(weights: LayerWeights, *, unfrozen_blocks: int, targets: Targets, recipe: Recipe, half: bool) -> Network:
    """Builds the network with VGG16's weights in it, and the heads' where there are some that fit; other heads are
    fresh. `half` computes in bfloat16."""
    with precision(half=half):
        trunk = keras.applications.VGG16(include_top=False, weights=None, input_shape=(CROP_SIDE, CROP_SIDE, 3))  # pyright: ignore[reportArgumentType]
        frozen, tail = cut(trunk.layers[1:], unfrozen_blocks, targets, recipe)
    start(frozen, tail, weights)
    return Network(frozen, tail, targets, recipe)


def cut(
    trunk: list[keras.Layer], unfrozen_blocks: int, targets: Targets, recipe: Recipe
) -> tuple[keras.Model, keras.Model]:
    """The frozen part of a trunk, and its tail with fresh heads."""
    first = f"block{_LAST_BLOCK + 1 - unfrozen_blocks}"
    place = next(index for index, layer in enumerate(trunk) if layer.name.startswith(first))
    frozen = _frozen(trunk[:place])
    return frozen, _tail(trunk[place:], frozen.output_shape[1:], targets, recipe)


def start(frozen: keras.Model, tail: keras.Model, weights: LayerWeights) -> None:
    """Puts weights into the layers of their names. Heads of another recipe have other shapes, and stay fresh."""
    for layer in [*frozen.layers, *tail.layers]:
        given = weights.get(layer.name, [])
        fits = [values.shape for values in given] == [tuple(variable.shape) for variable in layer.weights]
        if given and (fits or layer.name not in _HEAD_NAMES):
            layer.set_weights(given)


def rounded(network: Network, build_like: Callable[..., Network]) -> Network:
    """The network in float32, with its large weights rounded to what float16 holds: what is exported, so that what
    is measured is what is shipped."""
    exact = build_like(layer_weights(network), half=False)
    exact.tail.set_weights(network.tail.get_weights())
    for model in (exact.frozen, exact.tail):
        for variable in model.variables:
            if np.prod(variable.shape) >= SMALLEST_HALF:
                variable.assign(np.asarray(variable).astype(np.float16).astype(np.float32))
    return exact


def layer_weights(network: Network) -> LayerWeights:
    """VGG16's weights in a network."""
    layers_of_it = [*network.frozen.layers, *network.tail.layers]
    return {
        layer.name: layer.get_weights() for layer in layers_of_it if layer.name.startswith("block") and layer.weights
    }


def check_whole(weights: LayerWeights, targets: Targets, recipe: Recipe) -> None:
    """Raises CannotTrain when the weights lack heads of these targets and this recipe."""
    ages = len(YEARS) if recipe == "distribution" else 1
    kinds = {name: weights[name][1].shape for name in ("age", "gender") if name in weights}
    if kinds.get("age") != (ages,) or (targets == "age+gender" and "gender" not in kinds):
        raise CannotTrain(
            f"--network fast learns from a whole model of the same recipe and targets, {recipe} and {targets}: --trunk "
            "must name one"
        )


def imagenet_weights() -> LayerWeights:
    """By Keras' own loader, which downloads them once. Raises BadModel where it can't."""
    try:
        return _weights_of(keras.applications.VGG16(include_top=False, weights="imagenet"))
    except Exception as error:  # urllib, socket and OSErrors, which Keras wraps in a bare Exception
        raise BadModel(
            f"VGG16's ImageNet weights can't be downloaded ({error}); use --trunk FILE.weights.h5 or --trunk pretrained"
        ) from error


def weights_from_file(path: Path) -> LayerWeights:
    """A `.weights.h5` file of Keras' VGG16 without top. Raises BadModel for any other, links inside it included:
    they can read files elsewhere on the machine (CVE-2025-9905 and its like)."""
    if not path.name.endswith(".weights.h5"):
        raise BadModel(f"{path}: not a .weights.h5 file; whole Keras models can carry code and aren't loaded")
    _refuse_links(path)
    try:
        trunk = _plain_vgg16()
        _load_all(trunk, path)
    except (OSError, ValueError, KeyError, TypeError, UserWarning) as error:
        raise BadModel(f"{path}: not the weights of VGG16 without top: {error}") from error
    return _weights_of(trunk)


def weights_from_onnx(content: bytes) -> LayerWeights:
    """VGG16's blocks, and the heads, out of a model that `faceline export` made, so that a model can be tuned further
    and no download is needed. Raises BadModel."""
    try:
        stored = {part.name: numpy_helper.to_array(part) for part in onnx.load_from_string(content).graph.initializer}
    except Exception as error:  # protobuf's decoding errors
        raise BadModel(f"not an ONNX model: {error}") from error
    convolutions = [layer.name for layer in _plain_vgg16().layers if "conv" in layer.name]
    if missing := [name for name in convolutions if f"{name}.kernel" not in stored]:
        raise BadModel(
            f"the model has no weights of VGG16 in it: {missing[0]} is missing. A fast one, and one in 8 bits, isn't "
            "trained further: make it anew from a whole one"
        )
    layers_of_it = [(name, "kernel", "bias") for name in convolutions] + list(_HEADS)
    return {
        name: [_as_keras(stored[f"{name}.{part}"]) for part in parts]
        for name, *parts in layers_of_it
        if all(f"{name}.{part}" in stored for part in parts)
    }


def _as_keras(values: np.ndarray) -> np.ndarray:
    """ONNX keeps a convolution's kernel as [out, in, height, width], and normalisation's weights as [1, n]."""
    values = values.astype(np.float32)
    if values.ndim == 4:
        return values.transpose(2, 3, 1, 0)
    return values[0] if values.ndim == 2 and values.shape[0] == 1 else values


def _plain_vgg16() -> keras.Model:
    return keras.applications.VGG16(include_top=False, weights=None)  # pyright: ignore[reportArgumentType]


def centred(crops: Any) -> Any:
    """RGB crops as VGG16 takes them: float32, BGR, less the means of ImageNet."""
    values = layers.Rescaling(1.0, offset=[-m for m in _RGB_MEANS], dtype="float32")(crops)  # pyright: ignore[reportArgumentType]
    return values[..., ::-1]


def _frozen(blocks: list[keras.Layer]) -> keras.Model:
    crops = keras.Input((CROP_SIDE, CROP_SIDE, 3), dtype="uint8", name="crops")
    values = centred(crops)
    for layer in blocks:
        layer.trainable = False
        values = layer(values)
    return keras.Model(crops, values)


def _tail(blocks: list[keras.Layer], shape: tuple[int, ...], targets: Targets, recipe: Recipe) -> keras.Model:
    features = keras.Input(shape, name="features")
    values = features
    for layer in blocks:
        values = layer(values)
    # VGG16's answers are large and uneven; without this the heads take an epoch to find their scale.
    values = layers.LayerNormalization(dtype="float32", name="scale")(layers.Flatten()(values))
    values = layers.Dropout(_DROPOUT)(values)
    values = layers.Dropout(_DROPOUT)(layers.Dense(_HIDDEN, activation="relu", name="hidden")(values))
    answers = {"age": layers.Dense(len(YEARS) if recipe == "distribution" else 1, dtype="float32", name="age")(values)}
    if targets == "age+gender":
        answers["gender"] = layers.Dense(1, dtype="float32", name="gender")(values)
    return keras.Model(features, answers)


def _weights_of(trunk: keras.Model) -> LayerWeights:
    return {layer.name: layer.get_weights() for layer in trunk.layers if layer.get_weights()}


def _load_all(model: keras.Model, file: Path) -> None:
    """Keras leaves a layer that the file lacks at its random start, with a warning; here that is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.load_weights(file)


def _refuse_links(path: Path) -> None:
    """What an HDF5 file can take from elsewhere on the machine: links, and arrays whose numbers lie in other files."""
    try:
        with h5py.File(path, "r") as file:
            if any(map(_leads_elsewhere, _members(file, depth=0))):
                raise BadModel(f"{path}: has links or outside data in it; only plain weights are loaded")
    except (OSError, RuntimeError) as error:
        raise BadModel(f"{path}: can't be read as weights: {error}") from error


def _members(group: h5py.Group, depth: int) -> Iterator[object]:
    """Everything below a group: objects, and in place of links, the links."""
    for name in group:
        link = group.get(name, getlink=True)
        member = group[name] if isinstance(link, h5py.HardLink) else link
        yield member
        if isinstance(member, h5py.Group) and depth < _DEEPEST_GROUP:  # a group may lie in itself
            yield from _members(member, depth + 1)


def _leads_elsewhere(member: object) -> bool:
    if isinstance(member, h5py.Dataset):
        return bool(member.external) or member.is_virtual
    return not isinstance(member, h5py.Group)


@contextmanager
def precision(*, half: bool) -> Iterator[None]:
    """Keras' own applications take their precision from a global setting only."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if half else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
