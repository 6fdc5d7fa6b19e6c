"""What is learnt, and how it's read out. Slow: TensorFlow."""

import numpy as np
import pytest
from scipy.stats import norm

pytestmark = pytest.mark.slow
YEARS = np.arange(117)


def logits_of(mean: float, spread: float) -> np.ndarray:
    return np.log(np.maximum(norm.pdf(YEARS, mean, spread), 1e-30)).astype(np.float32)


@pytest.mark.parametrize("age", [3.0, 26.4, 58.5, 90.9])
def test_the_age_of_an_even_distribution_is_its_middle(age: float) -> None:
    from models import recipes

    years, spread = recipes.read_age("distribution", logits_of(age, 1.5)[None])
    assert years.numpy() == pytest.approx(age, abs=0.2)
    assert spread.numpy() == pytest.approx(1.5, abs=0.2)


def test_the_age_of_an_uneven_distribution_is_its_median() -> None:
    from models import recipes

    probability = np.full(117, 1e-9)
    probability[[20, 21, 60]] = 0.4, 0.2, 0.4
    years, _ = recipes.read_age("distribution", np.log(probability)[None].astype(np.float32))
    assert years.numpy() == pytest.approx(21.0, abs=1e-3)  # its mean is 36


@pytest.mark.parametrize("age", [0, 116])
def test_an_age_stays_within_a_life(age: int) -> None:
    from models import recipes

    certain = np.full((1, 117), -50, np.float32)
    certain[0, age] = 50
    years, spread = recipes.read_age("distribution", certain)
    assert years.numpy() == pytest.approx(age, abs=0.5)
    assert spread.numpy() == pytest.approx(0, abs=1e-3)


def test_the_teachers_own_answers_are_the_best_ones_where_no_label_is_known() -> None:
    import tensorflow as tf

    from models import recipes

    lesson = np.append(logits_of(40, 5), 0.7).astype(np.float32)[None]
    unknown = tf.constant([np.nan])

    def loss_of(mean: float, gender: float) -> float:
        answers = {"age": tf.constant(logits_of(mean, 5)[None]), "gender": tf.constant([[gender]])}
        return float(recipes.taught_loss("distribution", answers, unknown, unknown, tf.constant(lesson))[0])

    assert loss_of(40, 0.7) < min(loss_of(41, 0.7), loss_of(39, 0.7), loss_of(40, 1.0), loss_of(40, 0.4))


def test_an_unknown_label_costs_nothing() -> None:
    import tensorflow as tf

    from models import recipes

    answers = {"age": tf.zeros((2, 117)), "gender": tf.zeros((2, 1))}
    loss = recipes.loss("distribution", answers, tf.constant([np.nan, 30.0]), tf.constant([np.nan, 1.0])).numpy()
    assert loss[0] == 0
    assert loss[1] > 0
