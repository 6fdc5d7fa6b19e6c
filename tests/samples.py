"""Freely usable photos that come inside Python packages."""

import importlib.util
from pathlib import Path


def _inside(package: str, file: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None, package
    assert found.origin is not None, package
    return Path(found.origin).parent / file


HOPPER = _inside("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
"""Grace Hopper, 1984 (US Navy, public domain): one face, a JPEG of 512 x 600."""
COLLINS = _inside("skimage", "data/astronaut.png")
"""Eileen Collins, 1999 (NASA, public domain): one face, a PNG of 512 x 512."""
COFFEE = _inside("skimage", "data/coffee.png")
"""A cup of coffee: no face."""
FACELESS = [
    _inside("skimage", f"data/{name}.png")
    for name in ("brick", "chelsea", "clock_motion", "coins", "grass", "gravel", "horse", "ihc", "motorcycle_left")
]
"""Things and animals without a face of a person."""
