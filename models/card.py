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


def model_card(settings: TrainSettings, about: dict, metrics: dict, parity: dict) -> str:
    """Markdown. `about` has data, licence, faces by side, data_hash and device; `metrics` holds `val` and `test`, each
    as tasks/evaluate.py reports it; `parity` the largest differences between ONNX and Keras."""
    side = "test" if metrics["test"]["overall"] else "val"
    gender = ", and the probability that the face is female" if settings.targets == "age+gender" else ""
    faces = about["faces"]
    parts = [
        "# Model card",
        f"VGG16 (ImageNet, no top) with its last blocks tuned, on 128x128 face crops. It estimates an age with a 90 % "
        f"interval{gender}.",
        "## What it is for",
        "Sorting, describing and searching collections of photographs in bulk, with a person looking at what is "
        "uncertain. **Not for** decisions about a person (admission, pay, police, checks of age), and not for "
        "identifying anyone. Age and gender are estimates from looks: how people see themselves isn't in a photo.",
        "## Data",
        f"{about['data']} {faces['train']:,} faces to train on, {faces['val']:,} to tune and calibrate on, "
        f"{faces['test']:,} to test on; nobody, as far as the labels tell, is in two of these. What is rare in the "
        f"data is what the model is worst at: see the figures by age.\n\nLicence: {about['licence']}",
        "## Recipe",
        f"`{settings.recipe}`, targets `{settings.targets}`: the last {settings.unfrozen_blocks} of VGG16's blocks "
        f"tuned at a rate of {settings.block_rate:g}, the heads at {settings.head_rate:g}, for at most "
        f"{settings.epochs} epochs in batches of {settings.batch}, on {settings.copies} cached copies a face (one "
        f"plain, the others augmented), seed {settings.seed}, on {about['device']}. Weights are stored as float16. "
        f"ONNX and Keras differ by at most {parity['age']:.1e} years and {parity['female']:.1e} in probability.",
        f"Data hash: `{about['data_hash']}`",
        f"## Figures on the {faces[side]:,} faces of the {side} split",
        _overall(metrics[side]),
        "### By age",
        _rows(metrics[side]["bands"], "band"),
    ]
    if metrics[side]["groups"]:
        parts += ["### By group, as the labels name them", _rows(metrics[side]["groups"], "group")]
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
