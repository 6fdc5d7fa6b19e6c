"""What several tests need: free photos of two people, the shared data where it is, a small model, a workspace."""

import importlib.util
import os
from pathlib import Path

import pytest

from tests.bucket import bucket, endpoint  # noqa: F401  fixtures
from tests.database import postgres, reviews_url  # noqa: F401  fixtures
from tests.tiny_model import tiny_model

SHARED = Path(__file__).parent.parent.parent / "shared"


def _inside(package: str, file: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None, package
    assert found.origin is not None, package
    return Path(found.origin).parent / file


@pytest.fixture(scope="session")
def hopper() -> Path:
    """Grace Hopper, 1984 (US Navy, public domain): one face, a JPEG of 512 x 600."""
    return _inside("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")


@pytest.fixture(scope="session")
def collins() -> Path:
    """Eileen Collins, 1999 (NASA, public domain): one face, a PNG of 512 x 512."""
    return _inside("skimage", "data/astronaut.png")


@pytest.fixture(scope="session")
def coffee() -> Path:
    """A cup of coffee: no face."""
    return _inside("skimage", "data/coffee.png")


@pytest.fixture(scope="session")
def faceless() -> list[Path]:
    """Free photos of things and animals without a face of a person."""
    names = ("brick", "chelsea", "clock_motion", "coins", "grass", "gravel", "horse", "ihc", "motorcycle_left")
    return [_inside("skimage", f"data/{name}.png") for name in names]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data that isn't in the repository: the test is skipped without it, but never in CI."""
    if not SHARED.is_dir():
        assert "CI" not in os.environ, "CI must have ../shared"
        pytest.skip("needs ../shared")
    return SHARED


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model file of a trivial network, so that all but the answers' worth can be tested in no time."""
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
