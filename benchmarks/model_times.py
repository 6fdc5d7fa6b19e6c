"""What models take and give, side by side: size, time a crop, and of the shipped ones their accuracy as it was measured
at export. Each round runs every model once, so that what else the machine does falls on all alike; the ratios are
medians over the rounds.

    python -m benchmarks.model_times [MODEL...]      shipped models by name, or .onnx files; the first is the measure"""

import argparse
import json
import statistics
import time

import numpy as np

from models.session import OnnxModel
from storage.registry import SHIPPED, model_content, shipped

_CROPS = 64  # what scoring gives to a call
_ROUNDS = 5


def ratios(contents: dict[str, bytes], *, rounds: int = _ROUNDS, crops: int = _CROPS) -> dict[str, dict[str, float]]:
    """For each model: its size in MB, milliseconds a crop (median), and how many times faster than the first model it
    is (the median of the rounds' ratios, the least and the most)."""
    models = {name: OnnxModel(content, name, "cpu", batch=crops) for name, content in contents.items()}
    pixels = np.random.default_rng(0).integers(0, 256, (crops, 128, 128, 3), np.uint8)
    for model in models.values():
        model(pixels)  # the first call allocates
    taken = [{name: _seconds(model, pixels) for name, model in models.items()} for _ in range(rounds)]
    first = next(iter(models))
    found = {}
    for name, content in contents.items():
        times_faster = [seconds[first] / seconds[name] for seconds in taken]
        found[name] = {
            "size_mb": len(content) / 1e6,
            "ms_a_crop": 1000 * statistics.median(seconds[name] for seconds in taken) / crops,
            "times_faster": statistics.median(times_faster),
            "least": min(times_faster),
            "most": max(times_faster),
        }
    return found


def accuracy(name: str) -> dict[str, float]:
    """A shipped model's figures on the test faces; none of a file."""
    if name not in SHIPPED:
        return {}
    overall = shipped(name).metrics()["test"]["overall"]
    return {figure: overall[figure] for figure in ("age_mae", "gender_accuracy")}


def _seconds(model: OnnxModel, pixels: np.ndarray) -> float:
    started = time.perf_counter()
    model(pixels)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="How long models take a crop, side by side.")
    parser.add_argument("models", nargs="*", default=["pretrained", "fast"], help="pretrained, fast, or .onnx files")
    names = parser.parse_args().models
    taken = ratios({name: model_content(None, name)[0] for name in names})
    print(json.dumps({name: took | accuracy(name) for name, took in taken.items()}, indent=1))


if __name__ == "__main__":
    main()
