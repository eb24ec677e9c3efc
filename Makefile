# Two commands: `make demo` shows sluice on made-up sessions, `make test` proves the installation.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo test lint lock schemas

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || echo 2)
BIN := .venv/bin
LOCK := envs/requirements.lock
# Settings of the package index are the user's own (pip's configuration); uv does not read them.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

help:
	@echo "make install   make .venv from $(LOCK)"
	@echo "make demo      run the workflow on made-up sessions and compare with their truth"
	@echo "make test      lint and run every test"
	@echo "make lint      ruff, snakefmt and snakemake --lint alone"
	@echo "make schemas   write the schema and the manual again after a change of src/sluice/settings"
	@echo "make lock      resolve $(LOCK) anew from pyproject.toml"

install: .venv/installed

# torch first and through pip: it finds a CPU build where pip is told of one.
.venv/installed: $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "sluice needs Python 3.11 or newer, found " + sys.version.split()[0] + "; set PYTHON=python3.11")'
	@echo "installing into .venv (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c $(LOCK) "$$(grep '^uv==' $(LOCK))" "$$(grep '^torch==' $(LOCK))"
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --compile-bytecode -r $(LOCK)
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: install
	@export PATH="$(CURDIR)/$(BIN):$$PATH"; set -x; \
	sluice synth demo/raw --days 2; \
	sluice scan demo/raw --config-dir demo --overwrite; \
	snakemake --cores $(CORES) --configfile config/demo.yaml; \
	sluice compare demo/raw --configfile config/demo.yaml

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile workflow
	@PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint

test: lint
	@PATH="$(CURDIR)/$(BIN):$$PATH" pytest -n $(CORES)

schemas: install
	@$(BIN)/python -m sluice.manual

lock:
	@$(BIN)/uv pip compile -q pyproject.toml --extra test --upgrade --no-annotate --no-header \
	  --no-emit-find-links --no-emit-index-url -o $(LOCK).new
	@{ sed 's/+cpu//' $(LOCK).new; $(BIN)/uv --version | awk '{print "uv=="$$2}'; } | LC_ALL=C sort > $(LOCK)
	@rm $(LOCK).new
