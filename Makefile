# Everything sets itself up in .venv on first use; CI calls the same targets.
#   make run                              the default workload, profiled on this machine's CPU
#   make run ARGS="profiler=level1 workload=mlp"
#   make run TORCH="torch==2.13.0 --index-url URL"   another build of torch
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
ARGS ?=
BIN := $(VENV)/bin

.PHONY: run test lint faults wheels-test bench docs docs-site clean

run: $(VENV)/.run
	$(BIN)/python -m harness $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Every fault through the real command, 10,000 bad inputs, a soak: more than an hour on two cores.
# Writes docs/faults.md. make faults SEED=7 makes the same inputs again.
SEED ?= $(shell date +%s)
faults: $(VENV)/.dev
	$(BIN)/python -m tests.faults --write docs/faults.md
	@echo "bad inputs: seed $(SEED)"
	HARNESS_FUZZ=1200 $(BIN)/python -m pytest --hypothesis-seed=$(SEED) -n 2 \
	    tests/unit/test_fuzz.py tests/unit/configuration/test_hostile.py
	$(BIN)/python -m tests.faults.soak

# The tables of engines against their released packages, which pip fetches into build/wheels: 1.5 GB.
# make wheels-test WHEELS="verl sglang" takes those alone.
WHEELS ?=
wheels-test: $(VENV)/.dev
	HARNESS_WHEELS="$(WHEELS)" $(BIN)/python -m pytest -n 0 tests/wheels $(ARGS)

# torch_npu is installed for the tests; without CANN, torch cannot load it.
bench: export TORCH_DEVICE_BACKEND_AUTOLOAD = 0
bench: $(VENV)/.dev
	for file in benchmarks/*.py; do $(BIN)/python "$$file" || exit 1; done

docs: $(VENV)/.dev
	$(BIN)/python docs/write_settings.py
	$(BIN)/python docs/write_causes.py
	$(BIN)/python docs/write_modules.py
	$(BIN)/python docs/write_engines.py

# The pages as a site, in build/site; a broken link fails.
docs-site: export NO_MKDOCS_2_WARNING = 1
docs-site: docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache

# torch goes first, so that its build is the one chosen here.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	touch $@

$(VENV)/.run: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs,view,npu,transformers,lightning]'
	touch $@ $(VENV)/.run
