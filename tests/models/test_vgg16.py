"""VGG16 in two parts is VGG16, and only plain weights get into it. Slow: TensorFlow takes seconds to import."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from models.contract import CROP_SIDE, BadModel
from storage.choices import Recipe, Targets

if TYPE_CHECKING:
    from models.vgg16 import Network

pytestmark = pytest.mark.slow
CROPS = np.random.default_rng(0).integers(0, 256, (3, CROP_SIDE, CROP_SIDE, 3), dtype=np.uint8)
ALL_KINDS = list(itertools.product(("age+gender", "age"), ("distribution", "classic")))


@pytest.fixture(scope="module")
def imagenet_file(shared: Path) -> Path:
    return shared / "weights/vgg16_imagenet_notop.weights.h5"


def built(targets: Targets = "age+gender", recipe: Recipe = "distribution", *, blocks: int = 1) -> "Network":
    from models import vgg16

    return vgg16.build({}, unfrozen_blocks=blocks, targets=targets, recipe=recipe, half=False)


def external_link(file: h5py.File, secret: Path) -> None:
    file["layers/weights"] = h5py.ExternalLink(str(secret), "/secret")


def soft_link(file: h5py.File, secret: Path) -> None:
    file["real"] = np.zeros(3)
    file["layers/weights"] = h5py.SoftLink("/real")


def deep_link(file: h5py.File, secret: Path) -> None:
    file.create_group("a/b/c/d")["weights"] = h5py.ExternalLink(str(secret), "/secret")


def external_storage(file: h5py.File, secret: Path) -> None:
    file.create_dataset("layers/weights", (8,), "u1", external=[(str(secret), 0, 8)])


def virtual_dataset(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "secret", (3,))
    file.create_virtual_dataset("layers/weights", layout)


def group_in_itself(file: h5py.File, secret: Path) -> None:
    group = file.create_group("layers")
    group["again"] = group


@pytest.mark.parametrize(
    "trick", [external_link, soft_link, deep_link, external_storage, virtual_dataset, group_in_itself]
)
def test_weights_that_lead_elsewhere_are_refused(trick: Callable[[h5py.File, Path], None], tmp_path: Path) -> None:
    from models import vgg16

    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["secret"] = np.ones(3, "f4")
    with h5py.File(tmp_path / "trick.weights.h5", "w") as file:
        trick(file, tmp_path / "secret.h5")
    with pytest.raises(BadModel, match=r"trick\.weights\.h5"):
        vgg16.weights_from_file(tmp_path / "trick.weights.h5")
    with pytest.raises(BadModel, match=r"trick\.weights\.h5"):
        built("age", "classic").load(tmp_path / "trick.weights.h5")


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.onnx", "weights.h5.txt"])
def test_a_whole_keras_model_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    from models import vgg16

    (tmp_path / name).touch()
    with pytest.raises(BadModel, match="carry code"):
        vgg16.weights_from_file(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"this is text", b"\x89HDF\r\n\x1a\n" + bytes(100)], ids=["empty", "text", "cut"]
)
def test_a_file_that_is_no_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    from models import vgg16

    (tmp_path / "bad.weights.h5").write_bytes(content)
    with pytest.raises(BadModel, match="bad"):
        vgg16.weights_from_file(tmp_path / "bad.weights.h5")


def test_weights_that_are_not_there_are_refused(tmp_path: Path) -> None:
    from models import vgg16

    with pytest.raises(BadModel, match="nothing"):
        vgg16.weights_from_file(tmp_path / "nothing.weights.h5")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    from models import vgg16

    built("age", "classic").save(tmp_path / "ours.weights.h5")
    with pytest.raises(BadModel, match="VGG16 without top"):
        vgg16.weights_from_file(tmp_path / "ours.weights.h5")
    with pytest.raises(BadModel, match="this network"):
        built("age+gender", "distribution").load(tmp_path / "ours.weights.h5")


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path) -> None:
    """Keras would leave it at its random start, and say so in a warning only."""
    file = tmp_path / "ours.weights.h5"
    network = built("age", "classic")
    network.save(file)
    with h5py.File(file, "r+") as stored:
        layers: list[str] = []
        stored.visit(lambda name: layers.append(name) if name.endswith("vars") and stored[name].keys() else None)
        del stored[layers[0].removesuffix("/vars")]
    with pytest.raises(BadModel, match="this network"):
        network.load(file)


def test_saved_weights_are_loaded_back(tmp_path: Path) -> None:
    first, second = built("age", "classic"), built("age", "classic")
    first.save(tmp_path / "ours.weights.h5")
    second.load(tmp_path / "ours.weights.h5")
    pairs = list(zip(first.whole().get_weights(), second.whole().get_weights(), strict=True))
    assert len(pairs) > 26
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_both_parts_together_are_vgg16(imagenet_file: Path) -> None:
    import keras

    from models import vgg16

    network = vgg16.build(
        vgg16.weights_from_file(imagenet_file), unfrozen_blocks=1, targets="age", recipe="classic", half=False
    )
    theirs = keras.applications.VGG16(include_top=False, weights=str(imagenet_file))  # pyright: ignore[reportArgumentType]
    prepared = keras.applications.vgg16.preprocess_input(CROPS.astype(np.float32))
    upto_block4 = keras.Model(theirs.input, theirs.get_layer("block4_pool").output)
    ours, wanted = network.frozen.predict_on_batch(CROPS), upto_block4.predict_on_batch(prepared)
    assert np.abs(ours - wanted).max() < 1e-3 * np.abs(wanted).max()
    assert [layer.name for layer in network.tail.layers if layer.name.startswith("block")] == [
        "block5_conv1", "block5_conv2", "block5_conv3", "block5_pool"
    ]  # fmt: skip


@pytest.mark.parametrize(("targets", "recipe"), ALL_KINDS)
def test_every_kind_of_network_answers_what_it_is_for(targets: Targets, recipe: Recipe) -> None:
    raw = built(targets, recipe).raw_answers(lambda indices: CROPS[indices], np.arange(3))
    assert (raw.age.shape, raw.spread.shape) == ((3,), (3,))
    assert (raw.gender is None) == (targets == "age")
    assert np.isfinite(raw.age).all()


def test_only_the_unfrozen_blocks_and_the_heads_are_tuned() -> None:
    one, two = built(blocks=1), built(blocks=2)
    assert one.frozen.trainable_variables == []
    assert len(one.block_variables()) == 6
    assert len(two.block_variables()) == 12
    tuned = {id(variable) for variable in [*one.block_variables(), *one.head_variables()]}
    assert tuned == {id(variable) for variable in one.tail.trainable_variables}


def test_a_rounded_network_holds_only_what_float16_holds() -> None:
    from functools import partial

    from models import vgg16

    network = built("age", "classic")
    build = partial(vgg16.build, unfrozen_blocks=1, targets="age", recipe="classic")
    large = [values for values in vgg16.rounded(network, build).whole().get_weights() if values.size >= 1024]
    assert len(large) >= 14
    assert all(np.array_equal(values, values.astype(np.float16).astype(np.float32)) for values in large)
