# Everything a person types here. `make` alone lists it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types contracts migrations bench lock clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Safelight needs Python 3.11 or newer, this is " + sys.version) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

venv: $(STAMP) ## make .venv with the locked dependencies

demo: $(STAMP) ## start everything, make pictures, leave them in demo/, stop again
	$(BIN)/safelight demo --output demo

test: $(STAMP) ## every test, on the embedded services
	$(BIN)/python -m pytest $(ARGS)

check: format lint types contracts ## before each commit: format, lint, types, contracts, quick tests
	$(BIN)/python -m pytest -q -m "not slow and not browser" $(ARGS)

format: $(STAMP) ## format the code
	$(BIN)/ruff format --quiet .

lint: $(STAMP) ## ruff (ALL) and unused or missing dependencies
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/deptry .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

contracts: $(STAMP) ## who may import whom
	$(BIN)/lint-imports

migrations: $(STAMP) ## the migrations equal the metadata
	$(BIN)/python -m pytest -q tests/migrations

bench: $(STAMP) ## the measurements of docs/performance.md, each beside its baseline
	$(BIN)/python -m bench

lock: ## resolve the lock again (needs pip-tools in .venv)
	$(BIN)/pip-compile --quiet --no-header --strip-extras --no-annotate --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host -c constraints.txt --extra worker --extra standalone --extra test \
		-o requirements.lock pyproject.toml
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.lock

clean: ## remove what the tests and tools left
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
