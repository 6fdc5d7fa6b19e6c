"""Wrong labels stand out, whatever the model's bias, and no label speaks for itself."""

from dataclasses import replace

import numpy as np
import pytest

from models.contract import Answers
from tasks.data_report.suspects import FEWEST_PEOPLE, Expected, doubted_genders, expected, times_typical
from tasks.dataset import Truth

FACES = 400
ALONE = np.arange(FACES)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def labelled(random: np.random.Generator) -> Truth:
    female = (np.arange(FACES) % 2).astype(np.float32)
    return Truth(random.uniform(1, 90, FACES).astype(np.float32), female)


def answers_to(truth: Truth, random: np.random.Generator, bias: float = 0.0) -> Answers:
    """Of a model that is five years off, more so with age, and knows genders well."""
    age = truth.age + bias + random.laplace(0, 1 + truth.age / 10)
    width = 4 + truth.age / 2
    odds = np.where(truth.female == 1, 3, -3) + random.normal(0, 1, len(age))
    columns = (age, age - width / 2, age + width / 2, 1 / (1 + np.exp(-odds)))
    return Answers(*(column.astype(np.float32) for column in columns))


def spoilt(truth: Truth, wrong: np.ndarray) -> Truth:
    """With the ages of those faces mirrored in 45 years, and their genders swapped."""
    age, female = truth.age.copy(), truth.female.copy()
    age[wrong] = np.where(age[wrong] > 45, 2, 88)
    female[wrong] = 1 - female[wrong]
    return Truth(age, female)


WRONG = np.arange(0, FACES, 20)  # 5 %


@pytest.mark.parametrize("bias", [0.0, 12.0], ids=["unbiased", "twelve years too old"])
@pytest.mark.slow
def test_wrong_ages_rank_above_true_ones(random: np.random.Generator, bias: float) -> None:
    truth = labelled(random)
    seen = spoilt(truth, WRONG)
    times = times_typical(seen, expected(seen, answers_to(truth, random, bias), ALONE))
    first = np.argsort(-times)[: len(WRONG)]
    assert np.isin(first, WRONG).mean() >= 0.9


def test_a_bias_of_the_model_is_no_error_of_the_labels(random: np.random.Generator) -> None:
    truth = labelled(random)
    found = expected(truth, answers_to(truth, random, bias=12.0), ALONE)
    assert abs(float(np.median(found.age - truth.age))) < 1.5


@pytest.mark.slow
def test_wrong_genders_are_doubted_and_true_ones_are_not(random: np.random.Generator) -> None:
    truth = labelled(random)
    seen = spoilt(truth, WRONG)
    doubted = np.flatnonzero(doubted_genders(seen, expected(seen, answers_to(truth, random), ALONE)))
    assert np.isin(WRONG, doubted).mean() >= 0.6
    assert np.isin(doubted, WRONG).mean() >= 0.9


@pytest.mark.slow
def test_no_label_speaks_for_itself_or_for_others_of_its_group(random: np.random.Generator) -> None:
    truth, groups = labelled(random), ALONE // 2
    answers = answers_to(truth, random)
    before = expected(truth, answers, groups)
    age = truth.age.copy()
    age[0] = 90 - age[0]
    after = expected(replace(truth, age=age), answers, groups)
    assert after.age[:2].tolist() == before.age[:2].tolist()
    assert after.age.tolist() != before.age.tolist()  # others it does speak for


def test_with_few_people_the_models_answers_are_what_is_expected(random: np.random.Generator) -> None:
    truth = labelled(random)
    answers = answers_to(truth, random, bias=12.0)
    found = expected(truth, answers, ALONE % (FEWEST_PEOPLE - 1))
    assert found.age.tolist() == answers.age.tolist()
    assert answers.female is not None
    assert found.female.tolist() == answers.female.tolist()


def test_what_is_not_labelled_is_not_judged(random: np.random.Generator) -> None:
    truth = labelled(random)
    answers = answers_to(truth, random)
    truth.age[:10], truth.female[10:20] = np.nan, np.nan
    found = expected(truth, answers, ALONE)
    assert np.flatnonzero(np.isnan(times_typical(truth, found))).tolist() == list(range(10))
    assert np.flatnonzero(np.isnan(found.female)).tolist() == list(range(10, 20))
    assert not doubted_genders(truth, found)[10:20].any()


def test_a_model_of_ages_alone_doubts_no_gender(random: np.random.Generator) -> None:
    truth = labelled(random)
    found = expected(truth, replace(answers_to(truth, random), female=None), ALONE)
    assert not doubted_genders(truth, found).any()
    assert np.isfinite(found.age).all()


def test_one_man_among_women_does_not_bring_them_all_into_doubt() -> None:
    truth = Truth(np.full(FACES, np.nan), np.ones(FACES))
    truth.female[0] = 0
    female = np.full(FACES, 0.97)
    female[1] = 0.02
    nothing = np.full(FACES, np.nan)
    doubted = doubted_genders(truth, Expected(nothing, nothing, female))
    assert np.flatnonzero(doubted).tolist() == [0, 1]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_labels_that_are_all_alike_are_no_trouble(random: np.random.Generator, value: float) -> None:
    truth = labelled(random)
    answers = answers_to(truth, random)
    alike = Truth(np.full(FACES, 30 + value, np.float32), np.full(FACES, value, np.float32))
    found = expected(alike, answers, ALONE)
    assert np.isfinite(found.age).all()
    assert np.isfinite(found.error).all()
    assert np.isfinite(found.female).all()


def test_no_faces_are_no_trouble() -> None:
    nothing = np.empty(0, np.float32)
    found = expected(Truth(nothing, nothing), Answers(nothing, nothing, nothing, nothing), np.empty(0, int))
    assert times_typical(Truth(nothing, nothing), found).shape == (0,)
