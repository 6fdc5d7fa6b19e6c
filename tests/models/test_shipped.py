"""The shipped models' cards, and the README, have the figures that were measured."""

import re
from pathlib import Path

import pytest

from models.card import model_card
from models.figures import FIGURES
from storage.registry import SHIPPED, pretrained, shipped
from storage.settings import TrainSettings

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
# Run and data aren't kept beside a shipped model, so the card's text on them can't be made again.
NOT_KEPT = {
    "data": "", "licence": "", "faces": {"train": 0, "val": 0, "test": 0}, "data_hash": "", "device": ""
}  # fmt: skip


def measured_part(card: str) -> list[str]:
    """The lines of its figures: from that heading on."""
    start = card.index("## Figures on the ")
    return card[card.index("\n", start) :].splitlines()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_card_has_the_figures_that_were_measured(name: str) -> None:
    metrics = shipped(name).metrics()
    made = model_card(TrainSettings(), NOT_KEPT, metrics)
    lines = measured_part(made)
    assert len([line for line in lines if line.startswith("|")]) > 30
    assert measured_part(shipped(name).card()) == lines
    assert (
        f"## Figures on the {metrics['test']['overall']['faces']:,.0f} faces of the test split" in shipped(name).card()
    )
    parity = re.search(r"ONNX and Keras differ by .* in probability\.(.*;)?", made)
    assert parity is not None
    assert parity.group() in shipped(name).card()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_card_has_the_figures_by_race(name: str) -> None:
    test = shipped(name).metrics()["test"]
    races = {row["group"]: row["faces"] for row in test["groups"] if row["column"] == "race"}
    assert set(races) == {"White", "Black", "Asian", "Indian", "Others"}
    assert sum(races.values()) > 0.99 * test["overall"]["faces"]
    assert f"| White | {races['White']:,.0f} |" in shipped(name).card()


def test_the_readme_has_the_figures_of_the_shipped_model() -> None:
    test = pretrained().metrics()["test"]
    table = README[README.index("## How good it is") :].replace("\N{NO-BREAK SPACE}", " ")
    rows = {
        "age MAE": "age_mae",
        "within 5 years (CS@5)": "cs5",
        "gender, all ages": "gender_accuracy",
        "gender, from age 16": "gender_accuracy_from_16",
    }
    for title, name in rows.items():
        value, low, high = (plain(name, each) for each in (test["overall"][name], *test["intervals"][name]))
        unit = " years" if name == "age_mae" else " %"
        assert f"| {title} | {value}{unit} ({low} to {high}) |" in table
    overall = test["overall"]
    worst = 100 * min(band["interval_coverage"] for band in test["bands"])
    holds = f"{100 * overall['interval_coverage']:.1f} % of the ages, {worst:.1f} % and more in every age band"
    width = f"it is {overall['interval_width']:.0f} years wide on average"
    assert f"| the 90 % interval holds | {holds}; {width} |" in table
    named = f"for {100 * (1 - overall['uncertain_share']):.0f} % of the faces"
    assert f"{named}, and right for {100 * overall['sure_accuracy']:.1f} % of these" in table
    assert f"on {overall['faces']:,.0f} test crops of UTKFace" in table


def plain(name: str, value: float) -> str:
    return FIGURES[name].written(value).removesuffix("\N{NO-BREAK SPACE}%")
