"""What of a training can't work, or hardly will, seen from its labels alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from storage.choices import Targets
from tasks.data_report.holdings import UNKNOWN_AGE, Holdings
from tasks.dataset import Dataset, NothingToLearn, check_learnable

_FEW_TO_TRAIN_ON = 200  # with fewer, a model seldom beats the one that ships
_FEW_TO_CALIBRATE_ON = 100  # the interval of a year of age wants the errors of 80 faces near it
_FEW_TO_MEASURE = 200
_FEW_OF_AN_AGE = 20
_RARE_GENDER = 0.25  # share of the faces with a known gender
_ONE_PERSON = 0.1  # share of the faces
_ONE_BAND = 0.5


@dataclass(frozen=True)
class Caution:
    """`stops` means that `faceline train` refuses."""

    stops: bool
    text: str


def cautions(dataset: Dataset, held: Holdings, targets: Targets, parted: int) -> list[Caution]:
    """The worst first. `dataset` has sides, and `parted` groups of near-duplicates on two of them."""
    found = []
    try:
        check_learnable(dataset, targets)
    except NothingToLearn as error:
        found.append(Caution(True, str(error)))
    if dataset.rows.is_empty():
        return found
    doubts = [*doubts_of_training(dataset, targets), *_of_numbers(held), *_of_ages(held)]
    doubts += [*_of_genders(held, targets), *_of_people(held)]
    if parted:
        doubts.append(f"{parted:,} shots stand on two sides of the split: figures of a model will be too good.")
    return found + [Caution(False, text) for text in doubts]


def doubts_of_training(dataset: Dataset, targets: Targets) -> Iterator[str]:
    """What a training itself says of the faces that it learns from and is calibrated on."""
    train, val = dataset.side("train"), dataset.side("val")
    if len(train) < _FEW_TO_TRAIN_ON:
        yield f"Only {len(train)} faces to train on: expect a model worse than the one that ships."
    aged = np.count_nonzero(~np.isnan(dataset.ages()[val]))
    if aged < _FEW_TO_CALIBRATE_ON:
        yield f"Only {aged} faces to validate on have an age: the 90 % interval will be rough, under 9 a whole life."
    if targets == "age":
        return
    female = dataset.female()[val]
    known = female[~np.isnan(female)]
    if len(known) < _FEW_TO_CALIBRATE_ON:
        yield f"Only {len(known)} faces to validate on have a gender: the probability of female will be rough."
    if len(set(known)) == 1:
        only = "female" if known[0] else "male"
        yield f"All faces to validate on are {only}: of the others nothing tells how sure the model may be."


def _of_numbers(held: Holdings) -> Iterator[str]:
    *_, test = (side.faces for side in held.sides)
    if test < _FEW_TO_MEASURE:
        yield f"Only {test} faces to test on: the figures of a model will be rough."
    if (left_out := sum(held.left_out.values())) > held.usable:
        yield f"More photos are left out ({left_out:,}) than used ({held.usable:,})."


def _of_ages(held: Holdings) -> Iterator[str]:
    known = [band for band in held.bands if band.name != UNKNOWN_AGE]
    total = sum(band.faces for band in known)
    rare = [f"{band.name} ({band.faces})" for band in known if band.faces < _FEW_OF_AN_AGE]
    if total and rare:
        yield f"Fewer than {_FEW_OF_AN_AGE} faces at ages {', '.join(rare)}: don't trust a model there, or its figures."
    largest = max(known, key=lambda band: band.faces)
    if largest.faces > _ONE_BAND * total:
        share = 100 * largest.faces / total
        yield f"{share:.0f} % of the ages are {largest.name}: estimates of other ages will be drawn there."
    if total < held.usable:
        yield f"{held.usable - total:,} faces have no age: age is learnt from the others."


def _of_genders(held: Holdings, targets: Targets) -> Iterator[str]:
    if targets == "age":
        return
    female, male = (sum(getattr(side, gender) for side in held.sides) for gender in ("female", "male"))
    rarer, count = min(("female", female), ("male", male), key=lambda gender: gender[1])
    if 0 < count < _RARE_GENDER * (female + male):
        yield f"Only {100 * count / (female + male):.0f} % of the faces are {rarer}: expect more mistakes there."
    if female + male < held.usable:
        yield f"{held.usable - female - male:,} faces have no gender: gender is learnt from the others."


def _of_people(held: Holdings) -> Iterator[str]:
    people = held.people
    if people.faces_without_id and held.usable:
        yield (
            f"{people.faces_without_id:,} faces have no subject id: other shots of one person may be both trained and "
            "tested on, unless they look nearly equal. Figures of a model would be too good then."
        )
    if people.most_faces > max(1, _ONE_PERSON * held.usable):
        yield f"One person is on {people.most_faces:,} of {held.usable:,} faces: a model learns that face by heart."
