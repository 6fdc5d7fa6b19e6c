"""What several tests need: free photos of two people, the shared data where it is, a small model, a workspace."""

import os
from pathlib import Path

import pytest

from tests import samples
from tests.bucket import bucket, endpoint  # noqa: F401  fixtures
from tests.database import postgres, reviews_url  # noqa: F401  fixtures
from tests.order import longest_first
from tests.tiny_model import tiny_model

SHARED = Path(__file__).parent.parent.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items)


@pytest.fixture(scope="session")
def hopper() -> Path:
    return samples.HOPPER


@pytest.fixture(scope="session")
def collins() -> Path:
    return samples.COLLINS


@pytest.fixture(scope="session")
def coffee() -> Path:
    return samples.COFFEE


@pytest.fixture(scope="session")
def faceless() -> list[Path]:
    return samples.FACELESS


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
