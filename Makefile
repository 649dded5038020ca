# Laminar: `make demo` shows what it does, `make test` checks that it still does.

PYTHON ?= python3
# Where torch comes from, if not from pip's own index: on Linux that one may bring gigabytes of CUDA along, and
# PyTorch's index of CPU builds does not.
TORCH_INDEX ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CODE := src tests benchmarks docs/hooks.py

.PHONY: help setup demo check test docs bench clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## create .venv and install Laminar with its pinned dependencies

demo: setup ## simulate a scan, reconstruct it with the shipped network, draw the figures
	$(BIN)/laminar demo --out laminar-demo

check: .venv/.installed-dev ## formatting, lint, types and the layers of the house
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Two processes of one thread each: the tensors of the tests are small, and the tests that start processes want theirs.
test: check ## all static checks and all tests
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

docs: .venv/.installed-docs ## build the documentation site in build/site; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: .venv/.installed-dev ## run the benchmarks of speed and memory against peers (a quarter of an hour)
	for name in numerics varnet same_weights operators growth ceilings readers calibration; do \
		$(BIN)/python -m benchmarks.$$name || exit 1; done

clean: ## remove the environment, caches and the output of the demo
	rm -rf .venv build dist src/*.egg-info laminar-demo
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Laminar needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# torch first and by itself, so that nothing else can ask for another build of it.
.venv/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) --no-deps torch
	$(PIP) install --constraint constraints.txt --editable '.[all]'
	@touch $@

# fastmri is an oracle of the tests. It imports pandas, requests and runstats; the torchvision that it also asks for
# is needed by none of what the tests use, and would not fit this torch.
.venv/.installed-dev: .venv/.installed
	$(PIP) install --constraint constraints.txt --editable '.[dev]' pandas requests runstats
	$(PIP) install --constraint constraints.txt --no-deps fastmri
	@touch $@

.venv/.installed-docs: .venv/.installed
	$(PIP) install --constraint constraints.txt --editable '.[docs]'
	@touch $@
