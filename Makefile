# Two commands: `make run` shows the hub at work on a demo district, `make test` proves it. Both set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PLUGINS := plugins/hotline plugins/mailbox plugins/page plugins/police plugins/property plugins/table plugins/utilities plugins/webhook plugins/open311
STAMP := .venv/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The locks are complete, so nothing is resolved: what is released later can't change what is installed here. nkeys has no wheel.
LOCKED := $(PIP) --no-deps --no-build-isolation --only-binary :all: --no-binary nkeys --require-hashes

# What is compiled is kept, whatever the machine says: some hundred processes of a test run would compile it again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test setup check gathered unit fault bench lock clean

run: setup
	$(BIN)/hub demo $(ARGS)

test: setup
	@$(MAKE) --no-print-directory -j 2 check gathered browser-ready node-ready
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

setup: $(STAMP)

$(STAMP): requirements-build.lock requirements.lock pyproject.toml $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed")'
	$(PYTHON) -m venv .venv
	$(LOCKED) -r requirements-build.lock
	$(LOCKED) -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e . $(addprefix -e ,$(PLUGINS))
	$(BIN)/python -m pip check --quiet --disable-pip-version-check
	$(BIN)/python -m compileall -q hub plugins
	touch $@

.PHONY: browser-ready
browser-ready: setup
	@deploy/install-browser

.PHONY: node-ready
node-ready: setup
	@$(BIN)/python tests/node/prepare.py

check: setup
	$(BIN)/ruff check hub plugins tests
	$(BIN)/ruff format --check hub plugins tests
	$(BIN)/mypy
	$(BIN)/mypy -p hub_hotline -p hub_mailbox -p hub_page -p hub_police -p hub_property -p hub_table -p hub_utilities -p hub_open311 -p hub_webhook
	$(BIN)/lint-imports --config pyproject.toml

# Collecting compiles the tests once; else each of the processes that run them would.
gathered: setup
	@$(BIN)/python -m pytest --collect-only -qq > /dev/null

unit: setup
	$(BIN)/python -m pytest tests/unit $(ARGS)

fault: setup
	$(BIN)/python -m pytest tests/fault -m fault $(ARGS)

bench: setup
	$(BIN)/hub bench $(ARGS)

COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q

lock: setup
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) requirements.in -o requirements.lock
	$(COMPILE) -c requirements.lock requirements-build.in -o requirements-build.lock

clean:
	rm -rf .venv demo-data
