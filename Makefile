# Two commands: `make run` shows the hub at work on a demo district, `make test` proves it. Both set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PLUGINS := plugins/hotline plugins/mailbox plugins/page plugins/police plugins/property plugins/table plugins/utilities plugins/webhook plugins/open311
STAMP := .venv/.ready

.PHONY: run test setup check unit system browser fault bench lock clean

run: setup
	$(BIN)/hub up --demo $(ARGS)

test: setup browser-ready node-ready check
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-binary nkeys --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . $(addprefix -e ,$(PLUGINS))
	touch $@

.PHONY: browser-ready
browser-ready:
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

unit: setup
	$(BIN)/python -m pytest tests/unit $(ARGS)

fault: setup
	$(BIN)/python -m pytest tests/fault -m fault $(ARGS)

bench: setup
	$(BIN)/hub bench $(ARGS)

lock: setup
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q requirements.in -o requirements.lock

clean:
	rm -rf .venv demo-data
