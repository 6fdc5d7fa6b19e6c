"""The training run: the tail on cached features, epoch by epoch, the best kept.

Two learning rates, one for VGG16's unfrozen blocks and one for the new heads: one rate for both ruins the blocks.
What is validated and kept is the running mean of the weights, which is steadier than their last step; in the end
also the mean of that and the start.
A step of 64 faces takes about 0.7 s on two cores with one block unfrozen."""

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from zipfile import BadZipFile

import keras
import numpy as np
import polars as pl
import tensorflow as tf

from models import recipes
from models.contract import CannotTrain
from models.vgg16 import Network
from storage.settings import TrainSettings

logger = logging.getLogger(__name__)
Advance = Callable[[int, str], None]  # so many steps are done, and a note
_MEAN_DECAY = 0.998
_WEIGHT_DECAY = 1e-4
_WARMUP_STEPS = 200
_SHOWN_STEPS = 50  # the loss that is shown is their mean
_SHARES = (0.25, 0.5, 0.75, 1.0)  # of the way from the weights at the start to the best ones
_LOWER_RATES = "lower --block-rate and --head-rate"


@dataclass(frozen=True)
class Targets:
    """What is to be answered: float32 [n] each; age in years, female 0 or 1, NaN where unknown. `lessons` are a
    teacher's raw answers, float16 [n, ...] for each copy of the faces; none, where labels alone teach."""

    age: np.ndarray
    female: np.ndarray
    lessons: Sequence[np.ndarray] = ()


@dataclass(frozen=True)
class Split:
    """Indices of the faces to train on and to validate on."""

    train: np.ndarray
    validation: np.ndarray


def sampling_weights(targets: Targets, train: np.ndarray, balance: float) -> np.ndarray:
    """How often each face is seen in an epoch, float64 [n] with mean 1. Faces of a rare decade of age and gender are
    seen more often, by the power `balance` of how rare they are: 0 takes the faces as they come, 1 shows each decade
    and gender equally often. Faces without an age are a decade of their own."""
    decade = np.nan_to_num(targets.age[train] // 10, nan=-1)
    female = np.nan_to_num(targets.female[train], nan=-1)
    _, kind, counts = np.unique(np.stack([decade, female]), axis=1, return_inverse=True, return_counts=True)
    weights = counts[kind.ravel()] ** -float(balance)
    return weights / weights.mean()


def check_device(device: str) -> str:
    """The device that training will run on, such as `GPU:0` or `CPU`. Raises CannotTrain for a gpu that isn't there."""
    gpus = tf.config.list_physical_devices("GPU")
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return "CPU"
    if not gpus and device == "gpu":
        raise CannotTrain(
            "--device gpu: TensorFlow sees no GPU; `nvidia-smi` shows whether the driver does, and the README's GPU "
            "section how to install TensorFlow's CUDA packages"
        )
    return "GPU:0" if gpus else "CPU"


def seed_everything(seed: int) -> None:
    keras.utils.set_random_seed(seed)


class Trainer:
    """Trains a network's tail. Build it, call `run`; afterwards the tail holds the best weights."""

    def __init__(
        self, network: Network, targets: Targets, split: Split, features: list[np.ndarray], settings: TrainSettings
    ):
        self._network, self._targets, self._split, self._features = network, targets, split, features
        self._settings = settings
        self._steps_an_epoch = -(-len(split.train) // settings.batch)
        self._weights = sampling_weights(targets, split.train, settings.balance)
        self._groups = [
            (variables, self._optimizer(rate))
            for variables, rate in (
                (network.block_variables(), settings.block_rate),
                (network.head_variables(), settings.head_rate),
            )
        ]
        for variables, optimizer in self._groups:
            optimizer.build(variables)
        self._variables = [variable for variables, _ in self._groups for variable in variables]
        self._means = [tf.Variable(variable.value) for variable in self._variables]
        self._step = tf.function(self._train_step, reduce_retracing=True)
        self._answer = tf.function(lambda batch: network.tail(batch, training=False), reduce_retracing=True)

    def run(self, checkpoint: Path, advance: Advance, stop: Event) -> pl.DataFrame:
        """Trains until the validation loss stops falling, or `stop` is set, which ends the run after its epoch, the
        first at the earliest; resumes from `checkpoint` where that file is there. Returns the history, a row an epoch.
        Raises CannotTrain when the loss is no longer a number."""
        start = self._values()
        history, best = self._resume(checkpoint)
        advance(len(history) * self._steps_an_epoch, "")
        for epoch in range(len(history), self._settings.epochs):
            if history and (stop.is_set() or _stalled(history, self._settings.patience)):
                break
            started = time.monotonic()
            learnt = self._epoch(epoch, advance)
            trained = self._swap_in(self._means)
            row = {"epoch": epoch, **learnt, **self.validate(), "seconds": time.monotonic() - started}
            if not np.isfinite(row["val_loss"]):
                raise CannotTrain(f"the validation loss is no number after epoch {epoch}; {_LOWER_RATES}")
            if not history or row["val_loss"] < min(earlier["val_loss"] for earlier in history):
                best = self._values()
            self._swap_in(trained)
            history.append(row)
            self._save(checkpoint, history, best)
            logger.info("epoch %d of %d: %s", epoch + 1, self._settings.epochs, _in_words(row))
        self._settle_between(start, best)
        return pl.DataFrame(history)

    def validate(self) -> dict[str, float]:
        """Loss, age MAE (years) and gender accuracy on the validation faces, plain copies only."""
        answers = self.answers(self._split.validation)
        age, female = self._targets.age[self._split.validation], self._targets.female[self._split.validation]
        losses = recipes.loss(self._settings.recipe, answers, tf.constant(age), tf.constant(female))
        figures = _figures([part.numpy() for part in self._read(answers)], age, female)
        return {"val_loss": float(np.mean(losses))} | {f"val_{name}": value for name, value in figures.items()}

    def answers(self, indices: np.ndarray) -> dict[str, tf.Tensor]:
        """The tail's raw answers for those faces, plain copies."""
        batch = self._settings.batch
        parts = [
            self._answer(tf.constant(self._features[0][indices[start : start + batch]], tf.float32))
            for start in range(0, len(indices), batch)
        ]
        return {name: tf.concat([part[name] for part in parts], axis=0) for name in parts[0]}

    def _read(self, answers: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        """Ages in years, float32 [n], and where gender is learnt its logits, positive for female."""
        years, _ = recipes.read_age(self._settings.recipe, answers["age"])
        return [years] + ([answers["gender"][:, 0]] if "gender" in answers else [])

    def _optimizer(self, rate: float) -> keras.optimizers.Optimizer:
        steps = self._steps_an_epoch * self._settings.epochs
        warmup = min(_WARMUP_STEPS, steps // 10)
        schedule = keras.optimizers.schedules.CosineDecay(
            rate / 20, max(1, steps - warmup), alpha=0.02, warmup_target=rate, warmup_steps=warmup
        )
        return keras.optimizers.AdamW(schedule, weight_decay=_WEIGHT_DECAY)  # pyright: ignore[reportArgumentType]

    def _epoch(self, epoch: int, advance: Advance) -> dict[str, float]:
        """Loss, age MAE (years) and gender accuracy on the copies it learnt from, each as it was before its step."""
        # Seeded by the epoch, so that a resumed run sees what an uninterrupted one would have seen.
        random = np.random.default_rng((self._settings.seed, epoch))
        order = self._drawn(random)
        copies = random.integers(0, len(self._features), len(order))
        losses, read = [], []
        for start in range(0, len(order), self._settings.batch):
            chosen = slice(start, start + self._settings.batch)
            age, female = self._targets.age[order[chosen]], self._targets.female[order[chosen]]
            batch = [
                tf.constant(_drawn_from(arrays, copies[chosen], order[chosen]), tf.float32)
                for arrays in (self._features, self._targets.lessons)
                if arrays
            ]
            loss, answers = self._step(tf.constant(age), tf.constant(female), *batch)
            losses.append(float(loss))
            read.append([part.numpy() for part in answers])
            if not np.isfinite(losses[-1]):
                step = start // self._settings.batch
                raise CannotTrain(f"the loss is no number in epoch {epoch}, step {step}; {_LOWER_RATES}")
            advance(1, f"loss {np.mean(losses[-_SHOWN_STEPS:]):.3f}")
        whole = [np.concatenate(parts) for parts in zip(*read, strict=True)]
        figures = _figures(whole, self._targets.age[order], self._targets.female[order])
        return {"loss": float(np.mean(losses))} | figures

    def _drawn(self, random: np.random.Generator) -> np.ndarray:
        """The epoch's faces, shuffled: as many as there are, each as often as its weight says, rounded at random."""
        counts = np.floor(self._weights + random.random(len(self._weights))).astype(int)
        drawn = random.permutation(np.repeat(self._split.train, counts))
        return np.resize(drawn, len(self._split.train))

    def _train_step(
        self, age: tf.Tensor, female: tf.Tensor, features: tf.Tensor, lesson: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            answers = self._network.tail(features, training=True)
            if lesson is None:
                losses = recipes.loss(self._settings.recipe, answers, age, female)
            else:
                losses = recipes.taught_loss(self._settings.recipe, answers, age, female, lesson)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, [variable.value for variable in self._variables])
        for variables, optimizer in self._groups:
            optimizer.apply(gradients[: len(variables)], variables)
            gradients = gradients[len(variables) :]
        # Early on the mean must forget the random start, so its decay grows with the steps.
        steps = tf.cast(self._groups[0][1].iterations, tf.float32)
        decay = tf.minimum(_MEAN_DECAY, (1 + steps) / (10 + steps))
        for mean, variable in zip(self._means, self._variables, strict=True):
            mean.assign(decay * mean + (1 - decay) * variable.value)
        return loss, self._read(answers)

    def _settle_between(self, start: list[np.ndarray], best: list[np.ndarray]) -> None:
        """Leaves the weights in the network that validate best on the line from the start to the best epoch. Such a
        mean keeps more of what the start knew of faces unlike these (Wortsman et al., Robust fine-tuning, 2022)."""

        def go(share: float) -> None:
            self._swap_in([there + share * (here - there) for there, here in zip(start, best, strict=True)])

        losses = {}
        for share in _SHARES:
            go(share)
            losses[share] = self.validate()["val_loss"]
        share, loss = min(losses.items(), key=lambda tried: tried[1])
        go(share)
        logger.info("kept: %.0f %% of the way from the start, val_loss %.4g", 100 * share, loss)

    def _values(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self._variables]

    def _swap_in(self, values: list) -> list[np.ndarray]:
        """Puts values into the network, and returns those that were there."""
        before = self._values()
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)
        return before

    def _state(self) -> list:
        optimizers = [variable for _, optimizer in self._groups for variable in optimizer.variables]
        dropout = self._network.tail.non_trainable_variables  # the state of its random numbers
        return [*self._variables, *self._means, *optimizers, *dropout]

    def _save(self, checkpoint: Path, history: list[dict], best: list[np.ndarray]) -> None:
        """Whole or not at all: a kill while it's written leaves the one before. Raises CannotTrain on a full disk."""
        arrays = {f"state-{index}": np.asarray(value) for index, value in enumerate(self._state())}
        arrays |= {f"best-{index}": value for index, value in enumerate(best)}
        arrays["history"] = np.array(json.dumps(history))
        unfinished = checkpoint.with_suffix(".unfinished.npz")
        try:
            np.savez(unfinished, allow_pickle=False, **arrays)
            os.replace(unfinished, checkpoint)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise CannotTrain(
                f"{checkpoint}: this epoch could not be kept: {error}; make room, and --resume this run"
            ) from error

    def _resume(self, checkpoint: Path) -> tuple[list[dict], list[np.ndarray]]:
        if not checkpoint.exists():
            return [], self._values()
        try:
            with np.load(checkpoint, allow_pickle=False) as stored:
                for index, variable in enumerate(self._state()):
                    variable.assign(stored[f"state-{index}"])
                history = json.loads(str(stored["history"]))
                return history, [stored[f"best-{index}"] for index in range(len(self._variables))]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise CannotTrain(f"{checkpoint}: can't be gone on from, remove it to begin again: {error}") from error


def _figures(read: Sequence[np.ndarray], age: np.ndarray, female: np.ndarray) -> dict[str, float]:
    """Age MAE (years) and gender accuracy, where the truth is known, of ages and of gender's logits if learnt."""
    errors = np.abs(read[0] - age)[~np.isnan(age)]
    figures = {"age_mae": float(errors.mean()) if errors.size else np.nan}
    if len(read) > 1 and not np.isnan(female).all():
        right = (read[1] > 0) == (female > 0.5)
        figures["gender_accuracy"] = float(right[~np.isnan(female)].mean())
    return figures


def _drawn_from(arrays: Sequence[np.ndarray], copies: np.ndarray, faces: np.ndarray) -> np.ndarray:
    return np.stack([arrays[copy][face] for copy, face in zip(copies, faces, strict=True)])


def _stalled(history: list[dict], patience: int) -> bool:
    losses = [row["val_loss"] for row in history]
    return len(losses) - int(np.argmin(losses)) > patience if losses else False


def _in_words(row: dict) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
