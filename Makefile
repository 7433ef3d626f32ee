# One virtual environment, .venv, serves every target. A stamp file per extra remembers what is installed,
# so nothing is installed again until what is installed changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUTPUT ?= demo-output

# Two workers with one thread each fill two cores; more threads would only fight.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --quiet

# Constraints by path, errors only: the versions are written down, so there is nothing else to report.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Two installations at once would write to the same environment.
.NOTPARALLEL:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.installed-demo ## train on real data and leave metrics, predictions and a picture in demo-output/
	@$(BIN)/python -m examples.demo --out "$(DEMO_OUTPUT)"

.PHONY: test
test: lint ## lint, types and all tests that are neither slow nor for a GPU
	@echo "pytest"
	@$(PYTEST) -m "not slow and not gpu"

.PHONY: test-slow
test-slow: $(VENV)/.installed-dev ## the tests marked slow
	@$(PYTEST) -m "slow and not gpu"

.PHONY: test-gpu
test-gpu: $(VENV)/.installed-dev ## the tests that need a CUDA device, one after the other, with what they measure
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet -s -p no:xdist -m gpu tests/test_gpu_kernels.py tests/test_gpu.py

.PHONY: test-gpu-kernels
test-gpu-kernels: $(VENV)/.installed-dev ## of these the losses alone, in less than ten minutes
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet -s -p no:xdist -m gpu tests/test_gpu_kernels.py

.PHONY: lint
lint: $(VENV)/.installed-dev ## ruff (rules and format) and mypy, changing nothing
	@echo "ruff check"
	@$(BIN)/ruff check --quiet .
	@echo "ruff format --check"
	@$(BIN)/ruff format --quiet --check .
	@echo "mypy"
	@$(BIN)/mypy --no-error-summary

.PHONY: format
format: $(VENV)/.installed-dev ## let ruff repair and format the code
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

.PHONY: tables
tables: $(VENV)/.installed-dev ## renew what is written down about families and losses: README, losses.md, formulas.h, cost.json, names
	@$(BIN)/python -m benchmarks.tables

.PHONY: clean
clean: ## remove the environment, caches and outputs
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis lightning_logs "$(DEMO_OUTPUT)"
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("disthead needs Python 3.11 or newer, got %d.%d: try make PYTHON=python3.12" % v[:2])'
	@echo "making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# torch comes first, so that its pinned version picks the build. setuptools builds disthead itself, in this environment.
$(VENV)/.installed-%: pyproject.toml setup.py $(wildcard disthead/special/*.[ch]) constraints.txt | $(BIN)/python
	@echo "installing disthead[$*] into $(VENV) (a few minutes the first time)"
	@$(PIP_INSTALL) torch setuptools
	@$(PIP_INSTALL) --no-build-isolation --editable ".[$*]"
	@touch $@

# Otherwise make would delete the stamps as intermediate files.
.PRECIOUS: $(VENV)/.installed-%
