"""A training run keeps its best, goes on where it was stopped, and doesn't learn from what isn't known.
Slow: TensorFlow. The network is VGG16's tail, on features of a few made-up faces."""

import itertools
import resource
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from models.contract import CannotTrain
from storage.choices import Recipe, Targets
from storage.settings import TrainSettings

if TYPE_CHECKING:
    from models.fit import Targets as Truths
    from models.vgg16 import Network

pytestmark = pytest.mark.slow
FACES = 24
FEATURES = [
    np.random.default_rng(copy).normal(0, 1, (FACES, 8, 8, 512)).clip(0).astype(np.float16) for copy in range(2)
]
ALL_KINDS = list(itertools.product(("age+gender", "age"), ("distribution", "classic")))


def settings_of(**changed) -> TrainSettings:
    values = {"epochs": 3, "batch": 8, "patience": 9, "head_rate": 1e-3, "block_rate": 1e-5, "targets": "age"}
    return TrainSettings.model_validate(values | changed)


def network_of(settings: TrainSettings) -> "Network":
    from models import vgg16
    from models.fit import seed_everything

    seed_everything(settings.seed)
    return vgg16.build({}, unfrozen_blocks=1, targets=settings.targets, recipe=settings.recipe, half=False)


def truths(**unknown: list[int]) -> "Truths":
    from models.fit import Targets

    age, female = np.linspace(5, 80, FACES, dtype=np.float32), np.arange(FACES, dtype=np.float32) % 2
    age[unknown.get("age", [])] = np.nan
    female[unknown.get("female", [])] = np.nan
    return Targets(age, female)


def trained(
    folder: Path,
    settings: TrainSettings,
    targets: "Truths | None" = None,
    stop: Event | None = None,
    advance: Callable[[int, str], None] = lambda steps, note: None,
) -> tuple["Network", pl.DataFrame]:
    from models.fit import Split, Trainer

    network = network_of(settings)
    split = Split(np.arange(16), np.arange(16, FACES))
    trainer = Trainer(network, targets or truths(), split, FEATURES, settings)
    return network, trainer.run(folder / "checkpoint.npz", advance, stop or Event())


def learnt_by(network: "Network") -> list:
    return [*network.block_variables(), *network.head_variables()]


def validated(network: "Network", settings: TrainSettings) -> float:
    from models.fit import Split, Trainer

    trainer = Trainer(network, truths(), Split(np.arange(16), np.arange(16, FACES)), FEATURES, settings)
    return trainer.validate()["val_loss"]


@pytest.mark.parametrize(("targets", "recipe"), ALL_KINDS)
def test_every_kind_of_run_has_a_history_of_numbers(targets: Targets, recipe: Recipe, tmp_path: Path) -> None:
    _, history = trained(tmp_path, settings_of(targets=targets, recipe=recipe, epochs=2))
    assert history["epoch"].to_list() == [0, 1]
    metrics = {"loss", "age_mae"} | ({"gender_accuracy"} if targets == "age+gender" else set())
    assert set(history.columns) == {"epoch", "seconds"} | metrics | {f"val_{name}" for name in metrics}
    assert all(np.isfinite(history[column].to_numpy()).all() for column in history.columns)


def test_metrics_of_training_are_those_of_the_faces_it_learns_from(tmp_path: Path) -> None:
    """Learnt by heart: better than on validation faces, whose features say nothing."""
    _, history = trained(tmp_path, settings_of(targets="age+gender", epochs=40, patience=40, head_rate=3e-3))
    last = history.row(-1, named=True)
    assert last["age_mae"] < history["age_mae"][0] / 2
    assert last["age_mae"] < last["val_age_mae"] / 2
    assert last["gender_accuracy"] > 0.8 > last["val_gender_accuracy"]


def test_metrics_leave_out_what_is_not_known() -> None:
    from models.fit import _figures

    ages, logits = np.array([30.0, 42.0, 50.0]), np.array([1.0, -2.0, 3.0])
    figures = _figures([ages, logits], np.array([33.0, 40.0, np.nan]), np.array([1.0, np.nan, 0.0]))
    assert figures == {"age_mae": 2.5, "gender_accuracy": 0.5}
    assert _figures([ages], np.array([33.0, 40.0, np.nan]), np.full(3, np.nan)) == {"age_mae": 2.5}


def test_a_run_that_was_stopped_ends_like_one_that_was_not(tmp_path: Path) -> None:
    from models.fit import Trainer

    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    settings = settings_of(epochs=4)
    whole, whole_history = trained(tmp_path / "whole", settings)

    class Stopped(Exception):
        pass

    def stop_in_the_third_epoch(self: Trainer, epoch: int, advance: object) -> float:
        if epoch == 2:
            raise Stopped
        return run_epoch(self, epoch, advance)  # pyright: ignore[reportArgumentType]

    run_epoch = Trainer._epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_epoch", stop_in_the_third_epoch)
        with pytest.raises(Stopped):
            trained(tmp_path / "stopped", settings)
    resumed, history = trained(tmp_path / "stopped", settings)
    assert history["val_loss"].to_list() == pytest.approx(whole_history["val_loss"].to_list(), rel=1e-4)
    for one, other in zip(whole.tail.get_weights(), resumed.tail.get_weights(), strict=True):
        assert np.allclose(one, other, atol=1e-5)


def test_what_validates_best_between_the_start_and_the_best_epoch_is_kept(tmp_path: Path) -> None:
    """Rates so large that it gets worse after some epochs."""
    settings = settings_of(epochs=12, patience=1, head_rate=0.03, block_rate=1e-3)
    start = network_of(settings)
    network, history = trained(tmp_path, settings)
    kept = validated(network, settings)
    losses = {}
    for share in (0.25, 0.5, 0.75, 1.0):
        with np.load(tmp_path / "checkpoint.npz") as checkpoint:
            for index, (here, there) in enumerate(zip(learnt_by(network), learnt_by(start), strict=True)):
                here.assign(there.numpy() + share * (checkpoint[f"best-{index}"] - there.numpy()))
        losses[share] = validated(network, settings)
    best = min(history["val_loss"])
    assert best < history["val_loss"][-1]
    assert losses[1.0] == pytest.approx(best, rel=1e-4)
    assert kept == pytest.approx(min(losses.values()), rel=1e-4)


def test_an_epoch_that_finds_no_room_says_so_and_the_run_can_go_on(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(CannotTrain, match=r"this epoch could not be kept: .*--resume"):
            trained(tmp_path, settings_of())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert len(trained(tmp_path, settings_of())[1]) == 3


def test_it_stops_when_it_gets_no_better(tmp_path: Path) -> None:
    _, history = trained(tmp_path, settings_of(epochs=12, patience=1, head_rate=0.03, block_rate=1e-3))
    losses = history["val_loss"].to_list()
    assert len(losses) < 12
    assert len(losses) - 1 - losses.index(min(losses)) == 1


def test_a_run_that_is_asked_to_stop_ends_after_its_epoch_with_the_best_weights(tmp_path: Path) -> None:
    """Asked in the first epoch that makes it worse; each has two steps."""
    for name in ("by itself", "asked"):
        (tmp_path / name).mkdir()
    rates = {"epochs": 12, "head_rate": 0.03, "block_rate": 1e-3}
    by_itself, whole = trained(tmp_path / "by itself", settings_of(**rates, patience=1))
    stop, steps = Event(), itertools.count(1)

    def stop_in_the_last_epoch(_steps: int, note: str) -> None:
        if note and next(steps) == 2 * len(whole) - 1:
            stop.set()

    settings = settings_of(**rates)
    network, history = trained(tmp_path / "asked", settings, stop=stop, advance=stop_in_the_last_epoch)
    assert history["epoch"].to_list() == whole["epoch"].to_list()
    assert history["val_loss"][-1] > min(history["val_loss"])
    assert validated(network, settings) <= min(history["val_loss"]) * (1 + 1e-4)
    for one, other in zip(by_itself.tail.get_weights(), network.tail.get_weights(), strict=True):
        assert np.allclose(one, other, atol=1e-5)


def test_a_run_that_is_asked_to_stop_before_it_begins_has_one_epoch(tmp_path: Path) -> None:
    """With none there would be nothing to measure, or to draw."""
    stop = Event()
    stop.set()
    assert len(trained(tmp_path, settings_of(epochs=4), stop=stop)[1]) == 1
    assert len(trained(tmp_path, settings_of(epochs=4))[1]) == 4


def test_rare_faces_are_seen_more_often_and_none_is_forgotten() -> None:
    from models.fit import Targets, sampling_weights

    age = np.concatenate([np.full(90, 25.0), np.full(10, 85.0), np.full(20, np.nan)]).astype(np.float32)
    targets, everyone = Targets(age, np.ones(120, np.float32)), np.arange(120)
    assert np.allclose(sampling_weights(targets, everyone, 0), 1)
    weights = sampling_weights(targets, everyone, 0.5)
    assert weights.mean() == pytest.approx(1)
    assert weights[90] / weights[0] == pytest.approx(3)  # the square root of nine
    assert weights[100] / weights[0] == pytest.approx((90 / 20) ** 0.5)
    even = sampling_weights(targets, everyone, 1)
    assert even[:90].sum() == pytest.approx(even[90:100].sum()) == pytest.approx(even[100:].sum())


def test_faces_of_unknown_age_or_gender_teach_the_rest(tmp_path: Path) -> None:
    unknown = truths(age=[0, 3, 17], female=[1, 3, 18])
    _, history = trained(tmp_path, settings_of(targets="age+gender"), unknown)
    assert np.isfinite(history.select("loss", "val_loss", "val_age_mae", "val_gender_accuracy").to_numpy()).all()


def test_a_run_of_one_step_that_goes_astray_is_ended(tmp_path: Path) -> None:
    """Its training loss was still a number: only validation tells."""
    with pytest.raises(CannotTrain, match="the validation loss is no number after epoch 0"):
        trained(tmp_path, settings_of(recipe="classic", batch=16, epochs=1, head_rate=1e30, block_rate=1e30))
    assert not (tmp_path / "checkpoint.npz").exists()


def test_a_loss_that_is_no_number_ends_the_run_and_says_where(tmp_path: Path) -> None:
    with pytest.raises(CannotTrain, match=r"in epoch 0, step 1; lower --block-rate"):
        trained(tmp_path, settings_of(recipe="classic", epochs=9, head_rate=1e20, block_rate=1e20))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"text"], ids=["empty", "cut", "text"])
def test_a_damaged_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.npz").write_bytes(content)
    with pytest.raises(CannotTrain, match=r"checkpoint\.npz"):
        trained(tmp_path, settings_of())


def test_a_gpu_that_is_not_there_is_refused() -> None:
    import tensorflow as tf

    from models.fit import check_device

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(CannotTrain, match="no GPU"):
        check_device("gpu")
    assert check_device("auto") == "CPU"
