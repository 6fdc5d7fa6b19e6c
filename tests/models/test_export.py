"""An exported file answers as Keras does, carries what must be known, and gives its weights back. Slow: TensorFlow."""

import itertools
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import onnx
import pytest
from PIL import Image

from models.calibration import Calibration
from models.contract import About, BadModel
from models.session import OnnxModel
from storage.choices import Recipe, Targets

if TYPE_CHECKING:
    from models.vgg16 import Network

pytestmark = pytest.mark.slow
CALIBRATION = Calibration(reaches=(1.7,) * 117, temperature=1.4)
ALL_KINDS = list(itertools.product(("age+gender", "age"), ("distribution", "classic")))


@pytest.fixture(scope="module", params=ALL_KINDS, ids=" ".join)
def exported(request: pytest.FixtureRequest, shared: Path) -> tuple["Network", bytes, About]:
    """A network with ImageNet's weights, and its file: one of each kind."""
    from models import export, vgg16

    targets, recipe = cast(tuple[Targets, Recipe], request.param)
    build = partial(vgg16.build, unfrozen_blocks=1, targets=targets, recipe=recipe)
    trunk = vgg16.weights_from_file(shared / "weights/vgg16_imagenet_notop.weights.h5")
    network = build(trunk, half=False)
    random = np.random.default_rng(0)
    for layer in network.tail.layers:
        if layer.name in ("scale", "hidden", "age", "gender"):  # as if they had been trained: no two alike
            layer.set_weights([values + random.normal(0, 0.02, values.shape) for values in layer.get_weights()])
    network = vgg16.rounded(network, build)
    about = About(
        targets=targets,
        recipe=recipe,
        detector="centerface",
        margin=0.03,
        data_hash="0" * 64,
        licence="a test's",
        metrics={},
    )
    return network, export.to_onnx(network, CALIBRATION, about), about


@pytest.fixture(scope="module")
def crops(shared: Path) -> np.ndarray:
    """Real faces, as they are cropped."""
    files = sorted((shared / "data/utkface/images").glob("*.jpg"))[::2500]
    return np.stack([np.asarray(Image.open(file).convert("RGB").resize((128, 128))) for file in files])


def test_the_file_answers_as_keras_does(exported: tuple, crops: np.ndarray) -> None:
    from models import export

    network, content, _ = exported
    difference = export.check_parity(content, network, CALIBRATION, crops)
    assert difference["age"] <= export.AGE_TOLERANCE_YEARS
    assert difference["female"] <= export.PROBABILITY_TOLERANCE


def test_the_file_answers_what_the_calibration_says(exported: tuple, crops: np.ndarray) -> None:
    network, content, _ = exported
    wanted = CALIBRATION.answers(network.raw_answers(lambda indices: crops[indices], np.arange(len(crops))))
    answers = OnnxModel(content, "exported", "cpu")(crops)
    assert np.allclose(answers.age_low, wanted.age_low, atol=1e-2)
    assert np.allclose(answers.age_high, wanted.age_high, atol=1e-2)
    assert (answers.female is None) == (network.targets == "age")
    assert answers.female is None or np.allclose(answers.female, wanted.female, atol=1e-3)


def test_the_file_says_what_it_is(exported: tuple) -> None:
    _, content, about = exported
    assert OnnxModel(content, "exported", "cpu").about == about


def test_the_file_holds_its_large_weights_as_float16(exported: tuple) -> None:
    _, content, _ = exported
    assert len(content) < 36e6
    large = [part for part in onnx.load_from_string(content).graph.initializer if np.prod(part.dims) > 2000]
    assert {part.data_type for part in large} == {onnx.TensorProto.FLOAT16}


def test_vgg16_comes_back_out_of_the_file(exported: tuple) -> None:
    from models import vgg16

    network, content, _ = exported
    wanted, found = vgg16.layer_weights(network), vgg16.weights_from_onnx(content)
    assert len(wanted) == 13
    assert all(
        np.array_equal(one, other) for name in wanted for one, other in zip(wanted[name], found[name], strict=True)
    )


def test_a_network_that_starts_from_the_file_answers_as_the_file_does(exported: tuple, crops: np.ndarray) -> None:
    from models import vgg16

    network, content, _ = exported
    again = vgg16.build(
        vgg16.weights_from_onnx(content),
        unfrozen_blocks=2,
        targets=network.targets,
        recipe=network.recipe,
        half=False,
    )
    wanted, found = (part.raw_answers(lambda indices: crops[indices], np.arange(2)) for part in (network, again))
    assert np.allclose(wanted.age, found.age, atol=1e-2)


def test_heads_of_another_recipe_start_fresh(exported: tuple) -> None:
    from models import vgg16

    network, content, _ = exported
    recipe = "classic" if network.recipe == "distribution" else "distribution"
    other = vgg16.build(vgg16.weights_from_onnx(content), unfrozen_blocks=1, targets="age", recipe=recipe, half=False)
    hidden, age = (model.tail.get_layer("hidden").get_weights()[0] for model in (network, other))
    assert np.array_equal(hidden, age)
    shapes = [model.tail.get_layer("age").get_weights()[0].shape for model in (network, other)]
    assert shapes[0] != shapes[1]


def test_a_file_that_answers_otherwise_is_refused(exported: tuple, crops: np.ndarray) -> None:
    from models import export

    network, content, _ = exported
    with pytest.raises(BadModel, match="differs from what it's made from"):
        export.check_parity(content, network, Calibration(reaches=(2.9,) * 117, temperature=1.4), crops)


def test_a_model_without_vgg16_has_no_weights_to_give(model_file: Path) -> None:
    from models import vgg16

    with pytest.raises(BadModel, match="no weights of VGG16"):
        vgg16.weights_from_onnx(model_file.read_bytes())


@pytest.mark.parametrize("content", [b"this is text", b"\x00" * 100])
def test_what_is_no_onnx_has_no_weights_to_give(content: bytes) -> None:
    from models import vgg16

    with pytest.raises(BadModel, match=r"ONNX|VGG16"):
        vgg16.weights_from_onnx(content)
