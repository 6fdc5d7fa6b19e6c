"""What the server has done before the first visitor comes."""

import subprocess
import sys

import pytest

_ASK = """
import gc, sys
from unittest.mock import patch
from review import start
sys.argv = ["start", "run", "app.py", "--", "no workspace"]
with patch("streamlit.web.cli.main"):  # it would serve for ever
    start.main()
gc.collect()
print("polars" in sys.modules, "pandas" in sys.modules, len(gc.get_objects()) < 10_000)
"""


@pytest.mark.slow
def test_libraries_are_there_before_the_first_visitor_and_out_of_the_garbage_collectors_way() -> None:
    asked = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True)
    assert asked.stdout.split() == ["True", "True", "True"], asked.stderr
