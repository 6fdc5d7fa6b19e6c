"""The figures that a model is judged by: what each is called, its unit, which way is better, and what it means.

The card, the evaluation's page and its files all name a figure by its key here."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["faces", "years", "share", "number"]


@dataclass(frozen=True)
class Figure:
    """`better` is None where neither way is: a bias is best near 0, a share of doubt depends on who must look."""

    title: str
    unit: Unit
    better: Literal["lower", "higher"] | None
    meaning: str

    def written(self, value: float) -> str:
        """As a person reads it: years and numbers to two places and three, a share in per cent."""
        match self.unit:
            case "faces":
                return f"{value:,.0f}"
            case "years":
                return f"{value:.2f}"
            case "share":
                return f"{value:.1%}".replace("%", "\N{NO-BREAK SPACE}%")
            case "number":
                return f"{value:.3f}"

    def change(self, value: float) -> str:
        """A difference of two, with its sign; of shares in percentage points."""
        match self.unit:
            case "faces":
                return f"{value:+,.0f}"
            case "years":
                return f"{value:+.2f}"
            case "share":
                return f"{100 * value:+.1f} points"
            case "number":
                return f"{value:+.3f}"

    def change_between(self, low: float, high: float) -> str:
        """The ends of a difference's interval, with the unit once."""
        return f"{self.change(low).removesuffix(' points')} to {self.change(high)}"

    def without_unit(self) -> str:
        """Its title in the middle of a sentence."""
        return self.title.removesuffix(", years")


FIGURES: dict[str, Figure] = {
    "faces": Figure("faces", "faces", None, "those of the part, whatever is known of them"),
    "age_mae": Figure("age MAE, years", "years", "lower", "mean absolute error of the age"),
    "age_mae_classwise": Figure(
        "class-wise age MAE, years", "years", "lower", "mean of the MAEs of the age bands, each counting alike"
    ),
    "age_rmse": Figure("age RMSE, years", "years", "lower", "root of the mean squared error: large errors weigh more"),
    "age_bias": Figure("age bias, years", "years", None, "mean of estimate less truth; above 0: estimated too old"),
    "cs5": Figure("within 5 years (CS@5)", "share", "higher", "share of faces at most 5 years off"),
    "cs10": Figure("within 10 years (CS@10)", "share", "higher", "share of faces at most 10 years off"),
    "interval_coverage": Figure(
        "coverage of the 90 % interval", "share", None, "share of faces whose age lies in its interval; 90 % is right"
    ),
    "interval_width": Figure("mean width of the interval, years", "years", None, "from age_low to age_high"),
    "gender_accuracy": Figure(
        "gender accuracy", "share", "higher", "share of faces whose more probable gender is the labelled one"
    ),
    "gender_accuracy_from_16": Figure(
        "gender accuracy, from age 16", "share", "higher", "the same, of faces labelled 16 and older"
    ),
    "female_recall": Figure("recall of female", "share", "higher", "share of those labelled female that are found so"),
    "male_recall": Figure("recall of male", "share", "higher", "share of those labelled male that are found so"),
    "gender_auc": Figure(
        "gender ROC AUC",
        "number",
        "higher",
        "how often a female face gets a higher probability of female than a male one; 1 is perfect, 0.5 is chance",
    ),
    "gender_ece": Figure(
        "gender calibration error (ECE)",
        "number",
        "lower",
        "how far the probability of female is from the share of female faces, on average over 15 bins of equal width",
    ),
    "gender_ece_by_chance": Figure(
        "the same of a perfect model, by chance",
        "number",
        None,
        "what a perfectly calibrated model of these probabilities would measure on so few faces",
    ),
    "gender_brier": Figure(
        "gender Brier score", "number", "lower", "mean squared distance of the probability from the truth, 0 to 1"
    ),
    "uncertain_share": Figure(
        "share left uncertain", "share", None, "faces whose gender isn't named, as neither is probable enough"
    ),
    "sure_accuracy": Figure(
        "gender accuracy where named", "share", "higher", "of the faces that aren't left uncertain"
    ),
}

ABOUT_COLUMNS = {  # what must be known to read figures by a column of the labels, where it isn't plain
    "race": (
        "Race is what the labels call it. UTKFace's, in the set's own coding (0 White, 1 Black, 2 Asian, 3 Indian, 4 "
        "Others, such as Hispanic, Latino and Middle Eastern), is a guess from looks, by an algorithm and checked by a "
        "person; nobody in the photos was asked. Groups differ in ages too, and in how many of them are children: that "
        "alone moves their figures."
    ),
}
