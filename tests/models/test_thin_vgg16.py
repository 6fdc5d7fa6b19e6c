"""Thin convolutions are the whole one at full rank, and lose little below it. Slow: TensorFlow."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.calibration import Calibration
from models.contract import CROP_SIDE, About, CannotTrain
from models.session import OnnxModel

if TYPE_CHECKING:
    from models.thin_vgg16 import Values

pytestmark = pytest.mark.slow
TAKEN, GIVEN = 6, 5  # channels
RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(0, 1, (3, 3, TAKEN, GIVEN))
BIAS = RANDOM.normal(0, 1, GIVEN)


def seen(*, error: float = 0.0) -> "Values":
    """What both networks have before the convolution; the thin one's is off by up to `error`."""
    import tensorflow as tf

    whole = RANDOM.random((4, 12, 12, TAKEN)).astype(np.float32)
    return [(tf.constant(whole * (1 + error), tf.float32), tf.constant(whole))]


def answers(values: np.ndarray, parts: list[list[np.ndarray]]) -> np.ndarray:
    """Of one convolution, or of several in a row, by TensorFlow's own."""
    import tensorflow as tf

    answer = tf.constant(values)
    for kernel, *bias in parts:
        answer = tf.nn.conv2d(answer, tf.constant(kernel, tf.float32), 1, "SAME")
        answer = tf.nn.bias_add(answer, tf.constant(bias[0], tf.float32)) if bias else answer
    return answer.numpy()


def error_of(rank: int, rank_across: int, values: "Values") -> float:
    """The share of the answers' variance that is lost."""
    from models import thin_vgg16

    (mine, whole), *_ = values
    parts = thin_vgg16.factors(KERNEL, BIAS, values, rank, rank_across)
    wanted = answers(whole.numpy(), [[KERNEL, BIAS]])
    return float(np.mean((answers(mine.numpy(), list(parts.values())) - wanted) ** 2) / wanted.var())


def test_at_full_rank_three_thin_convolutions_are_the_whole_one() -> None:
    assert error_of(GIVEN, 3 * GIVEN, seen()) < 1e-8


def test_a_channel_less_loses_something_and_two_lose_more() -> None:
    values = seen()
    errors = [error_of(GIVEN - less, 3 * (GIVEN - less), values) for less in range(3)]
    assert errors[0] < 1e-8 < errors[1] < errors[2] < 1


def test_what_earlier_layers_got_wrong_is_made_good() -> None:
    """The thin network's values are half as large again; the fit to the whole one's answers takes that back."""
    assert error_of(GIVEN, 3 * GIVEN, seen(error=0.5)) < 1e-4


def test_the_files_of_a_thin_network_answer_as_keras_and_as_calibrated() -> None:
    from models import export, thin_vgg16, vgg16

    build = partial(thin_vgg16.build, unfrozen_blocks=2, targets="age+gender", recipe="distribution")
    network = vgg16.rounded(build({}, half=False), build)
    about = About(
        targets="age+gender", recipe="distribution", detector="centerface", margin=0.03, data_hash="0" * 64,
        licence="a test's", metrics={},
    )  # fmt: skip
    calibration = Calibration(reaches=(1.7,) * 117)
    content = export.to_onnx(network, calibration, about)
    crops = RANDOM.integers(0, 256, (3, CROP_SIDE, CROP_SIDE, 3), dtype=np.uint8)
    export.check_parity(content, network, calibration, crops)
    assert len(OnnxModel(content, "thin", "cpu")(crops).age) == 3

    from models.quantise import quantised, raw_answers

    raw = raw_answers(quantised(export.raw_to_onnx(network), crops), crops)
    narrow = OnnxModel(quantised(content, crops), "thin, in 8 bits", "cpu")(crops)
    export.check_alike(narrow, calibration.answers(raw))


def test_blocks_without_heads_teach_nothing() -> None:
    from models import vgg16

    with pytest.raises(CannotTrain, match="--trunk"):
        vgg16.check_whole({}, "age", "distribution")
