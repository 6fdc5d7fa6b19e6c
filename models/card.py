"""A model's card, written from its figures, never by hand (Mitchell et al., Model Cards, 2019)."""

from models.figures import ABOUT_COLUMNS, FIGURES
from storage.settings import TrainSettings

_SHOWN_BY_PART = ("faces", "age_mae", "age_bias", "cs5", "interval_coverage", "gender_accuracy")
_SHOWN_BY_GROUP = (*_SHOWN_BY_PART, "gender_accuracy_from_16")
_DEGRADED = {  # how tasks/evaluation/degrade.py's levels read
    "none": "as they are",
    "downscaled": "faces of {:g} pixels",
    "blurred": "blurred, sigma {:g} pixels",
    "jpeg": "JPEG of quality {:g}",
    "rotated": "turned by {:g} degrees",
    "darker": "{:.0%} of the light",
    "grey": "without colour",
}
_USE = (
    "Sorting, describing and searching collections of photographs in bulk, with a person looking at what is "
    "uncertain. **Not for** decisions about a person (admission, pay, police, checks of age), and not for identifying "
    "anyone. Age and gender are estimates from looks: how people see themselves isn't in a photo."
)


def model_card(settings: TrainSettings, about: dict, metrics: dict) -> str:
    """Markdown. `about` has data, licence, faces by side, data_hash, device and `with`, and may have label_sources by
    side; `metrics` holds `val` and `test`, each as tasks/evaluation/evaluate.py reports it, `parity`, the largest
    differences between ONNX and Keras, and may hold `int8`, what 8 bits changed, `robustness` and `smallest_face`, as
    tasks/evaluation/degrade.py has them."""
    side = "test" if metrics["test"]["overall"] else "val"
    figures, faces = metrics[side], about["faces"]
    parts = [
        "# Model card",
        _what(settings),
        "## What it is for",
        _USE,
        "## Data",
        _data(about),
        "## Recipe",
        _recipe(settings, about, metrics),
        f"## Figures on the {faces[side]:,} faces of the {side} split",
        _overall(figures),
        "### By age",
        _by_part(figures["bands"], "band", _SHOWN_BY_PART),
    ]
    for column in dict.fromkeys(row["column"] for row in figures["groups"]):
        rows = [row for row in figures["groups"] if row["column"] == column]
        parts += [f"### By {column}, as the labels have it", _by_part(rows, "group", _SHOWN_BY_GROUP)]
        if column in ABOUT_COLUMNS:
            parts.append(ABOUT_COLUMNS[column])
    if metrics.get("robustness"):
        parts += ["## On worse pictures", _smallest(metrics.get("smallest_face")), _robustness(metrics["robustness"])]
    return "\n\n".join(parts) + "\n"


def _what(settings: TrainSettings) -> str:
    gender = ", and the probability that the face is female" if settings.targets == "age+gender" else ""
    network = "with its last blocks tuned"
    if settings.network == "fast":
        network = (
            "cut down to a sixth of its time: each convolution but the first as three thin ones, on 96x96 pixels, "
            "fitted to the answers of a whole model, and taught by that model's answers"
        )
    return (
        f"VGG16 (ImageNet, no top) {network}. It takes 128x128 face crops, and estimates an age with a 90 % "
        f"interval{gender}."
    )


def _data(about: dict) -> str:
    faces = about["faces"]
    return (
        f"{about['data']} {faces['train']:,} faces to train on, {faces['val']:,} to tune and calibrate on, "
        f"{faces['test']:,} to test on; nobody, as far as the labels tell, is in two of these. What is rare in the "
        f"data is what the model is worst at: see the figures by age.{_sources(about.get('label_sources'))}\n\n"
        f"Licence: {about['licence']}"
    )


def _sources(by_side: dict[str, dict[str, int]] | None) -> str:
    if by_side is None:
        return ""
    names = sorted({name for counts in by_side.values() for name in counts})
    rows = [[_escaped(name), *(f"{counts.get(name, 0):,}" for counts in by_side.values())] for name in names]
    reviews = " (`review`: a person said so of the face, against its label or without one)" if "review" in names else ""
    return f"\n\nWhere the faces' labels are from{reviews}:\n\n{_table(['', *by_side], rows)}"


def _recipe(settings: TrainSettings, about: dict, metrics: dict) -> str:
    parity = metrics["parity"]
    versions = ", ".join(f"{name} {value}" for name, value in about.get("with", {}).items() if value)
    teacher = f", taught by the model `{settings.starts_from}`" if settings.network == "fast" else ""
    return (
        f"`{settings.recipe}`, targets `{settings.targets}`{teacher}: the last {settings.unfrozen_blocks} of VGG16's "
        f"blocks tuned at a rate of {settings.block_rate:g}, the heads at {settings.head_rate:g}, for at most "
        f"{settings.epochs} epochs in batches of {settings.batch}, on {settings.copies} cached copies a face (one "
        f"plain, the others augmented), rare ages and genders seen more often by the power {settings.balance:g}, seed "
        f"{settings.seed}, on {about['device']}. Weights are stored as float16. ONNX and Keras differ by at most "
        f"{parity['age']:.1e} years and {parity['female']:.1e} in probability.{_int8(metrics.get('int8'))}\n\n"
        f"Data hash: `{about['data_hash']}`\n\nMade with: {versions or 'not noted'}"
    )


def _int8(cost: dict | None) -> str:
    if cost is None:
        return ""
    changes = [f"age MAE by {cost['age_mae']:+.2f} years"] if "age_mae" in cost else []
    changes += [f"gender by {100 * cost['gender_accuracy']:+.1f} points"] if "gender_accuracy" in cost else []
    return (
        " Then its convolutions went to 8 bits (weights to 7), and it was calibrated anew. On val, "
        f"that changed {' and '.join(changes)}; all figures here are of the file in 8 bits."
    )


def _overall(report: dict) -> str:
    lines = ["| | | 95 % interval |", "|---|---|---|"]
    for name, figure in FIGURES.items():
        if name in report["overall"]:
            between = report["intervals"].get(name)
            interval = " to ".join(figure.written(end) for end in between) if between else ""
            lines.append(f"| {figure.title} | {figure.written(report['overall'][name])} | {interval} |")
    return "\n".join(lines)


def _by_part(rows: list[dict], column: str, names: tuple[str, ...]) -> str:
    titles = [FIGURES[name].title for name in names]
    cells = [[_escaped(row[column]), *(_cell(row, name) for name in names)] for row in rows]
    return _table(["", *titles], cells)


def _cell(row: dict, name: str) -> str:
    return FIGURES[name].written(row[name]) if row.get(name) is not None else ""


def _within(row: dict, name: str) -> str:
    """A figure with its 95 % interval, where it has one."""
    if row.get(f"{name}_low") is None:
        return _cell(row, name)
    low, high = (FIGURES[name].written(row[f"{name}_{end}"]) for end in ("low", "high"))
    return f"{_cell(row, name)} ({low} to {high})"


def _smallest(smallest: dict | None) -> str:
    if smallest is None:
        return "At none of the sizes tried is it nearly as good as on the faces as they are: give it large ones."
    return (
        f"It is good for faces of **{smallest['side']} pixels and more**: down to there its age MAE grows by less than "
        "a tenth and its gender accuracy falls by less than two points. The same faces at each level:"
    )


def _robustness(rows: list[dict]) -> str:
    names = ("age_mae", "gender_accuracy", "interval_coverage")
    cells = [
        [_DEGRADED[row["degradation"]].format(row["level"]), *(_within(row, name) for name in names)] for row in rows
    ]
    drawn = ", 95 % interval in brackets" if "age_mae_low" in rows[0] else ""  # tables of older versions have none
    return _table([f"{rows[0]['faces']:,} faces{drawn}", *(FIGURES[name].title for name in names)], cells)


def _table(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """A group's name comes from the user's table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
