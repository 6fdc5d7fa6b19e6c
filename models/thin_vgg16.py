"""VGG16 cut down: every convolution but the first as three thin ones, on crops of 96 pixels, for a sixth of its time.

The answers of a convolution lie near a space of few dimensions (Zhang et al., 2015), so 3x3 weights can be written as
3x1 down to that space, 1x3 across it, and 1x1 up again. The spaces come in closed form from what VGG16 answers to real
crops, layer after layer, each fitted to the answers of the whole network, so that errors don't add up. A few epochs
of learning from the whole model's answers (`models.fit`) bring back what is lost."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from models.contract import CROP_SIDE
from models.vgg16 import LayerWeights, Network, centred, cut, precision, start
from storage.choices import Recipe, Targets

SIDE = 96  # pixels
CROPS = 192  # from which the spaces are found: 7,000 positions in the deepest block
_WIDTHS = {"block1": (64, 64), "block2": (128, 128), "block3": (256,) * 3, "block4": (512,) * 3, "block5": (512,) * 3}
_RANKS = {  # channels between the thin ones; what block 5 loses is learnt back, what block 1 loses isn't
    "block1_conv2": 24,
    "block2_conv1": 48,
    "block2_conv2": 56,
    "block3_conv1": 96,
    "block3_conv2": 96,
    "block3_conv3": 104,
    "block4_conv1": 128,
    "block4_conv2": 128,
    "block4_conv3": 128,
    "block5_conv1": 160,
    "block5_conv2": 136,
    "block5_conv3": 112,
}
_RIDGE = 1e-3  # of the answers' mean variance: keeps a fit on few positions from following chance
_BATCH = 32
_GRID, _GRID_OF_WHOLE = SIDE // 32, CROP_SIDE // 32  # squares a side that block 5 gives to the heads

Values = list[tuple[tf.Tensor, tf.Tensor]]  # of the same crops: in the thin network, and in the whole one


def build(weights: LayerWeights, *, unfrozen_blocks: int, targets: Targets, recipe: Recipe, half: bool) -> Network:
    """Builds the network with weights as `thinned` gives them, or fresh ones. `half` computes in bfloat16."""
    with precision(half=half):
        frozen, tail = cut(_trunk(), unfrozen_blocks, targets, recipe)
    start(frozen, tail, weights)
    return Network(frozen, tail, targets, recipe)


def thinned(weights: LayerWeights, crops: np.ndarray) -> LayerWeights:
    """The thin network's weights, from VGG16's with its heads', and crops, uint8 [n, 128, 128, 3]."""
    pixels = layers.Resizing(SIDE, SIDE)(centred(tf.constant(crops)))
    values: Values = [(part, part) for part in _batches(pixels)]
    thin: LayerWeights = {}
    for block in _WIDTHS:
        for name in _names(block):
            kernel, bias = weights[name]
            if name in _RANKS:
                parts = factors(kernel, bias, values, _RANKS[name], _RANKS[name])
            else:
                parts = {"": [kernel, bias]}
            thin |= {name + part: values for part, values in parts.items()}
            values = [(_rectified(mine, parts.values()), _rectified(whole, [[kernel, bias]])) for mine, whole in values]
        values = [
            (tf.nn.max_pool2d(mine, 2, 2, "VALID"), tf.nn.max_pool2d(whole, 2, 2, "VALID")) for mine, whole in values
        ]
    return thin | _heads(weights)


def factors(
    kernel: np.ndarray, bias: np.ndarray, values: Values, rank: int, rank_across: int
) -> dict[str, list[np.ndarray]]:
    """A 3x3 convolution as three, which on the thin network's values answer nearly what it does on the whole one's;
    at full rank (its channels, and three times as many across) and on equal values, the same."""
    kernel, up, bias = _narrowed(kernel, bias, values, rank)
    down, across = _apart(kernel, values, rank_across)
    return {"_down": [down], "_across": [across], "_up": [up, bias]}


def _narrowed(
    kernel: np.ndarray, bias: np.ndarray, values: Values, rank: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """3x3 to `rank` channels and 1x1 up again: a reduced-rank regression of the whole network's answers on those that
    the same kernel gives in the thin one."""
    width = kernel.shape[-1]
    moments = _moments(tf.concat([_convolved(mine, kernel), _convolved(whole, kernel)], -1) for mine, whole in values)
    covariance = moments.about_zero - np.outer(moments.mean, moments.mean)
    mine, crossed = covariance[:width, :width], covariance[width:, :width]
    ridge = _RIDGE * np.trace(mine) / width * np.eye(width)
    fit = np.linalg.solve(mine + ridge, (crossed + ridge).T).T
    space = _principal(fit @ mine @ fit.T, rank)
    into = space.T @ fit
    bias = bias + moments.mean[width:] - space @ (into @ moments.mean[:width])
    return kernel @ into.T, space.T[None, None], bias


def _apart(kernel: np.ndarray, values: Values, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """A 3x3 kernel as 3x1 and 1x3 with `rank` channels between: of what its three columns answer, the axes along
    which it is largest."""
    taken, given = kernel.shape[2:]
    columns = kernel.transpose(0, 2, 1, 3).reshape(3, 1, taken, 3 * given)
    space = _principal(_moments(_convolved(mine, columns) for mine, _ in values).about_zero, rank)
    return columns @ space, space.T.reshape(1, rank, 3, given).transpose(0, 2, 1, 3)


@dataclass(frozen=True)
class _Moments:
    """Of values over all positions: means [n], and means of products [n, n]."""

    mean: np.ndarray
    about_zero: np.ndarray


def _moments(answers: Iterable[tf.Tensor]) -> _Moments:
    count, total, products = 0, 0.0, 0.0
    for answer in answers:
        rows = tf.reshape(answer, (-1, answer.shape[-1]))
        count += len(rows)
        total = total + tf.reduce_sum(rows, 0).numpy().astype(np.float64)
        products = products + tf.matmul(rows, rows, transpose_a=True).numpy().astype(np.float64)
    return _Moments(np.asarray(total) / count, np.asarray(products) / count)


def _principal(covariance: np.ndarray, rank: int) -> np.ndarray:
    """The axes of most variance, as columns."""
    return np.linalg.eigh(covariance)[1][:, ::-1][:, :rank]


def _convolved(values: tf.Tensor, kernel: np.ndarray) -> tf.Tensor:
    return tf.nn.conv2d(values, tf.constant(kernel, tf.float32), 1, "SAME")


def _rectified(values: tf.Tensor, parts: Iterable[list[np.ndarray]]) -> tf.Tensor:
    """What a layer answers, given as the weights of one convolution or of several in a row."""
    for kernel, *bias in parts:
        values = _convolved(values, kernel)
        values = values + tf.constant(bias[0], tf.float32) if bias else values
    return tf.nn.relu(values)


def _batches(values: tf.Tensor) -> list[tf.Tensor]:
    return [values[start : start + _BATCH] for start in range(0, len(values), _BATCH)]


def _heads(weights: LayerWeights) -> LayerWeights:
    """The whole model's heads, its hidden layer on a grid of fewer squares, as if these were enlarged for it."""
    gain, shift = weights["scale"]
    kernel, bias = weights["hidden"]
    whole = (gain[:, None] * kernel).reshape(_GRID_OF_WHOLE, _GRID_OF_WHOLE, -1, len(bias))
    enlarged = tf.image.resize(np.eye(_GRID, dtype=np.float32)[..., None], (_GRID_OF_WHOLE, _GRID)).numpy()[..., 0]
    small = np.einsum("ia,jb,ijch->abch", enlarged, enlarged, whole).reshape(-1, len(bias))
    scale = [np.ones(len(small)), np.zeros(len(small))]
    kept = {name: weights[name] for name in ("age", "gender") if name in weights}
    return kept | {"scale": scale, "hidden": [small, bias + shift @ kernel]}


def _trunk() -> list[keras.Layer]:
    trunk: list[keras.Layer] = [layers.Resizing(SIDE, SIDE, dtype="float32", name="resizing")]
    for block, widths in _WIDTHS.items():
        for name, width in zip(_names(block), widths, strict=True):
            trunk += _thin(name, width) if name in _RANKS else [_convolution(name, width, (3, 3), activation="relu")]
        trunk.append(layers.MaxPooling2D(name=f"{block}_pool"))
    return trunk


def _thin(name: str, width: int) -> list[keras.Layer]:
    rank = _RANKS[name]
    return [
        _convolution(f"{name}_down", rank, (3, 1), use_bias=False),
        _convolution(f"{name}_across", rank, (1, 3), use_bias=False),
        _convolution(f"{name}_up", width, (1, 1), activation="relu"),
    ]


def _convolution(name: str, width: int, window: tuple[int, int], **others: Any) -> keras.Layer:
    return layers.Conv2D(width, window, padding="same", name=name, **others)


def _names(block: str) -> list[str]:
    return [f"{block}_conv{number + 1}" for number in range(len(_WIDTHS[block]))]
