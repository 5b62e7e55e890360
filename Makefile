# Every target is described by the comment behind it; `make help` prints them.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
PEER ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NODE_STAMP := tests/clients/node_modules/.installed
export PYTHONWARNINGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types check bench docs peer-site peers clean

help:  ## Say what there is to make.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The demo needs no compilers, browsers, Redis or npm; the tests need the rest.
$(VENV)/.demo: $(BIN)/python pyproject.toml requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(STAMP): $(BIN)/python pyproject.toml requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(NODE_STAMP): tests/clients/package.json tests/clients/package-lock.json
	cd tests/clients && npm ci --silent --no-audit --no-fund
	@touch $@

demo: $(VENV)/.demo  ## Serve the demo site on 127.0.0.1:8000 (PORT= changes it): chat, connections to break, and the admin.
	@exec $(BIN)/python manage.py demo $(PORT)

test: $(STAMP) $(NODE_STAMP)  ## Run the whole test suite, real clients, Redis and browser included.
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP)  ## Check style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## Check types.
	$(BIN)/mypy

check: lint types test  ## Lint, types and tests.

format: $(STAMP)  ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Measure against raw ASGI, Channels, aiosignalr, and .NET's server where PEER= names the peer program.
	PEER=$(PEER) $(BIN)/python -m bench $(BENCH_ARGS)

docs: $(BIN)/python  ## Build the documentation into docs/_build/html.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

peer-site: PORT = 8100
peer-site: $(STAMP)  ## Serve the contract that Microsoft's own clients are pointed at (PORT=8100).
	@exec $(BIN)/python -m tests.peer_site $(PORT)

peers: $(STAMP)  ## Point Microsoft's .NET client and the wire recordings of the folder PEERS= at the peer site.
	$(BIN)/python -m tests.peers $(PEERS)

clean:  ## Remove what was built or installed here.
	rm -rf $(VENV) tests/clients/node_modules docs/_build bench/build tests/artifacts
