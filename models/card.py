"""A model's card, written from its figures, never by hand (Mitchell et al., Model Cards, 2019)."""

from storage.settings import TrainSettings

_FIGURES = {
    "faces": "faces",
    "age_mae": "age MAE, years",
    "age_rmse": "age RMSE, years",
    "age_bias": "age bias, years",
    "cs5": "within 5 years (CS@5)",
    "cs10": "within 10 years (CS@10)",
    "interval_coverage": "coverage of the 90 % interval",
    "interval_width": "mean width of the interval, years",
    "gender_accuracy": "gender accuracy",
    "gender_accuracy_from_16": "gender accuracy, from age 16",
}
_SHARES = {"cs5", "cs10", "interval_coverage", "gender_accuracy", "gender_accuracy_from_16"}


def model_card(run: str, settings: TrainSettings, about: dict, metrics: dict, parity: dict) -> str:
    """Markdown. `metrics` holds `val` and `test`, each as tasks/evaluate.py reports it."""
    side = "test" if metrics["test"]["overall"] else "val"
    parts = [
        f"# Age and gender model of run `{run}`",
        "VGG16 (ImageNet, no top), its last blocks tuned, on 128x128 face crops. It estimates an age with a 90 % "
        "interval" + (", and the probability that the face is female." if settings.targets == "age+gender" else "."),
        "## What it is for",
        "Sorting, describing and searching collections of photographs in bulk, with a person looking at what is "
        "uncertain. **Not for** decisions about a person (admission, pay, police, age checks), and not for identifying "
        "anyone. Age and gender are estimates from looks; how a person sees themselves can't be seen in a photo.",
        "## Recipe",
        f"`{settings.recipe}`, targets `{settings.targets}`, {settings.unfrozen_blocks} unfrozen blocks, "
        f"{settings.copies} cached copies a face, seed {settings.seed}, trained on {about['device']}. "
        f"Data hash `{about['data_hash']}`. ONNX and Keras differ by at most {parity['age']:.1e} years and "
        f"{parity['female']:.1e} in probability.",
        f"## Figures on faces it wasn't trained on ({side} split)",
        _overall(metrics[side]),
        "## By age",
        _rows(metrics[side]["bands"], "band"),
    ]
    if metrics[side]["groups"]:
        parts += ["## By group", _rows(metrics[side]["groups"], "group")]
    return "\n\n".join(parts) + "\n"


def shown(name: str, value: float) -> str:
    """A figure as a person reads it."""
    if name == "faces":
        return f"{value:,.0f}"
    return f"{value:.1%}" if name in _SHARES else f"{value:.2f}"


def _overall(report: dict) -> str:
    lines = ["| | | 95 % interval |", "|---|---|---|"]
    for name, title in _FIGURES.items():
        if name in report["overall"]:
            between = report["intervals"].get(name)
            interval = f"{shown(name, between[0])} to {shown(name, between[1])}" if between else ""
            lines.append(f"| {title} | {shown(name, report['overall'][name])} | {interval} |")
    return "\n".join(lines)


def _rows(rows: list[dict], column: str) -> str:
    names = [name for name in ("faces", "age_mae", "age_bias", "cs5", "interval_coverage", "gender_accuracy")]
    lines = [
        "| " + column + " | " + " | ".join(_FIGURES[name] for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for row in rows:
        cells = [shown(name, row[name]) if name in row else "" for name in names]
        lines.append(f"| {row[column]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
