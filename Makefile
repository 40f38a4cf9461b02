# Every target sets up what it needs; a fresh Debian 12 with Python has nothing else. See CONTRIBUTING.md.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
# By file: a fixture of a file is made once. Each worker has an API server of its own.
AT_ONCE := -n 2 --dist loadfile
# They wait more than they work.
WAITING := -n 3 --dist loadfile
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.PHONY: help demo test lint bench faults clean unit integration cluster e2e format lock image sync setup

help: ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

setup: $(READY) ## make the virtual environment

# What is built from source is built with the locked setuptools: an environment of its own would get the newest.
$(READY): requirements/dev.txt deploy/build-requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lastgood needs Python 3.11 or newer; set PYTHON="; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "installing python3-venv"; apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; }
	@echo "setting up $(VENV) (about a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --quiet --no-deps --require-hashes -r deploy/build-requirements.txt
	@$(PIP) install --quiet --no-deps --require-hashes --no-build-isolation --use-pep517 -r requirements/dev.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@$(PIP) check >/dev/null || { $(PIP) check; echo "the lock is not complete: make lock"; exit 1; }
	@touch $@

demo: setup ## three rollbacks on a real cluster, told live; the report is in report/
	$(BIN)/python -m demo.demo

test: setup ## all tests: unit, integration, cluster, e2e
	@mkdir -p build && rm -f build/tally.json
	status=0; $(PYTEST) --tally build/tally.json $(AT_ONCE) tests/unit || status=1; \
	$(PYTEST) --tally build/tally.json $(WAITING) tests/integration || status=1; \
	$(PYTEST) --tally build/tally.json tests/cluster tests/e2e || status=1; exit $$status

unit: setup ## the decisions and the libraries, in a minute
	$(PYTEST) $(AT_ONCE) tests/unit

integration: setup ## the operator on a real API server
	$(PYTEST) $(WAITING) tests/integration

cluster: setup ## the code that starts clusters
	$(PYTEST) tests/cluster

e2e: setup ## the demo's scenes on a real node
	$(PYTEST) tests/e2e

faults: setup ## a fault at every write of eight stories, all of them, in some minutes
	$(BIN)/python -m tests.unit.core.simulated.faults

lint: setup ## ruff, mypy, import contracts, YAML, and that generated files are up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict crds deploy examples demo .yamllint
	$(BIN)/python deploy/sync.py --check

format: setup ## format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: setup ## every benchmark, as a table
	for bench in bench/[a-z]*.py; do [[ $$bench == */common.py ]] || $(BIN)/python $$bench; done

sync: setup ## write the chart's and deploy/'s copies of the CRDs and manifests
	$(BIN)/python deploy/sync.py --helm "$$($(BIN)/python -m tests.cluster build)/helm"

lock: setup ## pin the dependencies with their hashes
	$(COMPILE) --all-extras --output-file requirements/dev.txt pyproject.toml
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/runtime.txt pyproject.toml
	for extra in plugin scan; do $(COMPILE) --constraint requirements/dev.txt --extra $$extra --output-file requirements/$$extra.txt pyproject.toml; done
	$(COMPILE) --output-file requirements/go.txt requirements/go.in

clean: ## stop every local cluster and remove what was made here; the cache outside the tree stays
	[ ! -x $(BIN)/python ] || $(BIN)/python -m tests.cluster down --all
	rm -rf $(VENV) build dist report operator/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
