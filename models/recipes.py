"""What is learnt, and how an answer is read out.

`classic` is the original's: age as one number with the mean squared error, gender as a sigmoid with binary cross
entropy. `distribution` learns age as a distribution over whole years: soft labels around the true age (deep label
distribution learning, Gao et al., 2017) plus the absolute error of its mean, which is read out as the age."""

import numpy as np
import tensorflow as tf

from storage.schemas import LONGEST_LIFE_YEARS
from storage.settings import Recipe

YEARS = np.arange(LONGEST_LIFE_YEARS + 1, dtype=np.float32)
_LABEL_SPREAD_YEARS = 2.0
_MEAN_WEIGHT = 0.1  # of a year of absolute error, against a nat of cross entropy
_SQUARED_WEIGHT = 0.01  # of a squared year: keeps age from drowning gender
_GENDER_WEIGHT = 2.0


def loss(recipe: Recipe, answers: dict[str, tf.Tensor], age: tf.Tensor, female: tf.Tensor) -> tf.Tensor:
    """The loss of each face, float32 [n]. `age` is in years, `female` 0 or 1; NaN, for unknown, costs nothing."""
    per_age = (
        _distribution_loss(answers["age"], age) if recipe == "distribution" else _classic_loss(answers["age"], age)
    )
    total = _where_known(per_age, age)
    if "gender" in answers:
        known = tf.where(tf.math.is_nan(female), 0.0, female)
        per_gender = tf.nn.sigmoid_cross_entropy_with_logits(known, answers["gender"][:, 0])
        total += _GENDER_WEIGHT * _where_known(per_gender, female)
    return total


def read_age(recipe: Recipe, answer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Age in years and its spread (standard deviation, years; 1 for `classic`, which knows none), float32 [n] each."""
    if recipe == "classic":
        return answer[:, 0], tf.ones_like(answer[:, 0])
    probability = tf.nn.softmax(answer)
    mean = tf.reduce_sum(probability * YEARS, axis=-1)
    variance = tf.reduce_sum(probability * tf.square(YEARS - mean[:, None]), axis=-1)
    return mean, tf.sqrt(variance)


def _distribution_loss(logits: tf.Tensor, age: tf.Tensor) -> tf.Tensor:
    known = tf.where(tf.math.is_nan(age), 0.0, age)
    wanted = tf.nn.softmax(-0.5 * tf.square((YEARS - known[:, None]) / _LABEL_SPREAD_YEARS))
    mean, _ = read_age("distribution", logits)
    entropy = tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
    return entropy + _MEAN_WEIGHT * tf.abs(mean - known)


def _classic_loss(years: tf.Tensor, age: tf.Tensor) -> tf.Tensor:
    return _SQUARED_WEIGHT * tf.square(years[:, 0] - tf.where(tf.math.is_nan(age), 0.0, age))


def _where_known(loss: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.math.is_nan(label), 0.0, loss)
