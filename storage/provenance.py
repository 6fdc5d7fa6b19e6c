"""What a run was made with, so that it can be made again: versions, and the hash of the lock file they come from."""

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"
_PACKAGES = ("faceline", "tensorflow", "keras", "numpy", "opencv-python-headless", "tf2onnx", "onnxruntime-gpu")


def made_with() -> dict[str, str | None]:
    """Python's and the packages' versions, and `lock_sha256`; None for what isn't installed, or has no lock file."""
    lock = hashlib.sha256(LOCK.read_bytes()).hexdigest() if LOCK.exists() else None
    return {"python": platform.python_version(), **{name: version_of(name) for name in _PACKAGES}, "lock_sha256": lock}


def version_of(package: str) -> str | None:
    """None for one that isn't installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
