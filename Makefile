# Everything a person types. The environment is made once, in .venv, with exact versions.
PYTHON ?= python3
BIN := .venv/bin
TORCH := torch==2.13.0
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without bytecode every worker would compile its imports anew, for ever.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test check chaos bench install uninstall clean

help: ## what can be made
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/ -/'

.venv/made: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	@echo 'Making the environment in .venv, once: 1.3 GB (more with CUDA libraries), some minutes'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

setup: .venv/made ## the environment in .venv, once, for everything below

demo: .venv/made ## ingest real photos (or DIR=/some/folder) with the builtin models and search them
	@$(BIN)/python tests/demo.py $(if $(filter command,$(origin DIR)),'$(subst ','\'',$(value DIR))')

test: .venv/made ## the whole suite; SEED=1 shuffles it
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(if $(filter command,$(origin SEED)),-p randomly --randomly-seed='$(SEED)')

check: .venv/made ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

chaos: .venv/made ## the long form of the kill tests and of the protocol fuzz
	INGESTD_CHAOS=50 $(BIN)/python -m pytest -q -s tests/chaos tests/fuzz --timeout 5400

bench: .venv/made ## speed, as ratios and figures
	$(BIN)/python -m bench

install: ## for this user, or as root for the whole machine; PREFIX=, DESTDIR= and EXTRAS=heic,raw as in ctl/install.sh
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' sh ctl/install.sh install

uninstall: ## take away what make install put there; jobs, results and photos stay
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' sh ctl/install.sh uninstall

clean: ## remove the environment and the demo
	rm -rf .venv .demo .pytest_cache .mypy_cache .ruff_cache
