# Sets up what it needs by itself: Python >= 3.11 makes .venv, pip installs the locked packages (hashes checked), npm the web tools.
# `make` lists the goals; nothing here needs a tool beyond python3, make and, for the web goals, Node 20 or newer.
#
# ARGS      flags that `make up` passes on:             make up ARGS="--port 18080 --json"
# TESTS     what `make test` runs:                      make test-python TESTS=tests/unit COVERAGE=0
# COVERAGE  the least share of src that tests must run, in percent
# LEAST_KILLED  the least share of the mutants that tests must kill (`make mutate`), in percent
# PROCESSES how many processes share the tests; many tests wait more than they compute
# PYTHON    the interpreter that makes .venv; by default the faster of two (tools/interpreter.sh)

MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

ARGS ?=
TESTS ?= tests
COVERAGE ?= 90
PROCESSES ?= 2
LEAST_KILLED ?= 90
PYTHON ?=

VENV := .venv
BIN := $(VENV)/bin
# Standard output belongs to the goal (`make up` prints one JSON line there); set-up talks on standard error.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q install
LOCKS := requirements/run.lock requirements/build.lock
PYTHON_PATHS := $(wildcard src tests bench tools)
# The sources run, not what tools/compile.py made of them. Files stay whole (tests/support/together.py).
PYTEST = PENSTOCK_INTERPRETED=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist loadscope

.PHONY: help install up check test test-python test-unit test-contract test-flow test-live test-browser test-compiled test-web \
        lint style types imports format audit sbom web docs matrix bench bench-overload soak mutate faults lock release clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { goal[++n] = $$1; text[n] = $$2; if (length($$1) > width) width = length($$1) } \
	  END { for (i = 1; i <= n; i++) printf "  make %-" width "s  %s\n", goal[i], text[i] }' $(firstword $(MAKEFILE_LIST))

# --- set-up: stamps make a repeat free -------------------------------------------------------------------------------

install: $(VENV)/run.stamp ## Set up .venv with what running needs, and compile the hot rooms where there is a C compiler
	@$(BIN)/python tools/compile.py

$(BIN)/python:
	@python="$$(sh tools/interpreter.sh $(PYTHON))"; \
	if [ -z "$$python" ]; then \
	  echo "penstock: needs Python 3.11 or newer with venv (on Debian: apt-get install python3-venv); name one: make install PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	echo "penstock: making $(VENV) with $$python ($$($$python --version))" >&2; \
	$$python -m venv $(VENV) >&2

# The project itself comes last and without its dependencies: those are already there, at the locked versions.
$(VENV)/run.stamp: $(LOCKS) pyproject.toml | $(BIN)/python
	@echo "penstock: installing $(LOCKS)" >&2
	@$(PIP) --require-hashes $(addprefix -r ,$(LOCKS)) >&2
	@$(PIP) --no-deps --no-build-isolation --editable . >&2
	@touch $@

$(VENV)/dev.stamp: requirements/dev.lock pyproject.toml | $(BIN)/python
	@echo "penstock: installing requirements/dev.lock" >&2
	@$(PIP) --require-hashes -r requirements/dev.lock >&2
	@$(PIP) --no-deps --no-build-isolation --editable . >&2
	@touch $@ $(VENV)/run.stamp

# The OpenAI SDK of the previous major version, for the tests that run it as somebody's program would.
build/openai-2/stamp: requirements/openai-2.lock | $(BIN)/python
	@echo "penstock: installing requirements/openai-2.lock" >&2
	@$(BIN)/python -m venv build/openai-2 >&2
	@build/openai-2/bin/python -m pip --disable-pip-version-check --no-input -q install --require-hashes -r requirements/openai-2.lock >&2
	@touch $@

web/node_modules/.stamp: web/package.json web/package-lock.json
	@echo "penstock: installing web/package-lock.json" >&2
	@cd web && npm ci --no-audit --no-fund --loglevel=error >&2
	@touch $@

# --- run --------------------------------------------------------------------------------------------------------------

up: $(VENV)/run.stamp ## Start gateway and workers: make up ARGS="--port 18080 --json"
	@$(BIN)/python tools/compile.py --background
	@$(BIN)/penstock up $(ARGS)

# --- check ------------------------------------------------------------------------------------------------------------

check: style types imports ## Before each commit: style, types, import direction, unit and house tests (no slow ones)
	@$(PYTEST) tests/unit tests/house -m "not soak and not slow"

test: test-web test-python ## Run every test, with the coverage gate; print the slowest twenty

test-python: $(VENV)/dev.stamp build/openai-2/stamp
	@$(PYTEST) $(TESTS) --durations=20 --cov --cov-report=term:skip-covered --cov-fail-under=$(COVERAGE)

test-unit: $(VENV)/dev.stamp ## Run the unit and house tests, the slow ones too
	@$(PYTEST) tests/unit tests/house --durations=20

test-contract: $(VENV)/dev.stamp ## Run each suite on every member of its family
	@$(PYTEST) tests/contract --durations=20

test-flow: $(VENV)/dev.stamp ## Run the tests of whole gateways in one process
	@$(PYTEST) tests/flow --durations=20

test-live: $(VENV)/dev.stamp build/openai-2/stamp web/node_modules/.stamp ## Run the tests with real servers, SDKs and processes
	@$(PYTEST) tests/live -m "not soak and not browser" --durations=20

test-browser: $(VENV)/dev.stamp test-web ## Check the web app, and run the tests that need a browser
	@$(PYTEST) tests/live -m browser

test-compiled: $(VENV)/dev.stamp ## Run the tests on compiled modules (tools/compile.py)
	@$(BIN)/python tools/compile.py --strict
	@$(BIN)/python -m pytest -p tests.support.compiled $(TESTS)

test-web: web/node_modules/.stamp
	@cd web && npm run --silent check

lint: style types imports ## Style, types, import direction, dependency audit, bill of materials
	@$(MAKE) audit sbom

# The whole tree takes ruff less than a second: it is not worth working out what changed.
style: $(VENV)/dev.stamp
	$(BIN)/ruff check $(PYTHON_PATHS)
	$(BIN)/ruff format --check $(PYTHON_PATHS)

types: $(VENV)/dev.stamp
	$(BIN)/mypy

imports: $(VENV)/dev.stamp
	$(BIN)/lint-imports --no-logo

format: $(VENV)/dev.stamp ## Format the Python sources, with safe fixes
	$(BIN)/ruff check --fix $(PYTHON_PATHS)
	$(BIN)/ruff format $(PYTHON_PATHS)

audit: $(VENV)/dev.stamp ## Look the locked packages up among known vulnerabilities
	$(BIN)/python tools/audit.py requirements/dev.lock

sbom: $(VENV)/dev.stamp ## Write the bill of materials of what is installed to run (CycloneDX)
	@mkdir -p build
	@# It warns that a lock holds no graph of who needs whom; that is so.
	$(BIN)/python -W ignore::UserWarning -m cyclonedx_py requirements requirements/run.lock --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.cdx.json

bench: $(VENV)/dev.stamp ## Measure the gateway; the figures of the README
	@$(BIN)/python tools/compile.py
	@$(BIN)/python -m bench $(ARGS)

bench-overload: $(VENV)/dev.stamp ## Ten times what the workers can do: make bench-overload ARGS="--trace FILE --write docs/reports"
	@$(BIN)/python -m bench.overload $(ARGS)

soak: $(VENV)/dev.stamp ## The tests that take minutes; writes what they measured into docs/reference/faults.md
	@mkdir -p build
	@PENSTOCK_FAULT_TABLE=build/soak.json $(BIN)/python -m pytest tests -m soak --timeout=0
	@$(BIN)/python tools/faults.py --long build/soak.json

# --- make what is committed or published ------------------------------------------------------------------------------

web: web/node_modules/.stamp ## Build web/ into src/penstock/edge/pages/dashboard, which is committed
	@cd web && npm run --silent build

docs: $(VENV)/dev.stamp ## Write docs/reference from the code: settings, commands, OpenAPI
	@$(BIN)/python tools/reference.py
	@$(BIN)/penstock openapi > docs/reference/openapi.json

mutate: $(VENV)/dev.stamp ## Plant faults in the code of money, limits and tenancy, and list those that no test notices
	@$(BIN)/python tools/mutate.py --least $(LEAST_KILLED) $(ARGS)

faults: $(VENV)/dev.stamp ## Run the fault suite and write docs/reference/faults.md from what it measured
	@mkdir -p build
	@PENSTOCK_FAULT_TABLE=build/faults.json $(BIN)/python -m pytest tests -m "fault and not soak"
	@$(BIN)/python tools/faults.py build/faults.json

matrix: $(VENV)/dev.stamp ## Run the suite of the engines and write what each of them can into docs/reference/engines.md
	@mkdir -p build
	@PENSTOCK_FEATURE_MATRIX=build/engines.json $(BIN)/python -m pytest tests/contract/compute/engines
	@$(BIN)/python tools/engine_matrix.py build/engines.json

lock: ## Renew requirements/*.lock and web/package-lock.json
	@tools/lock.sh

release: $(VENV)/dev.stamp ## Build the wheel and its bill of materials into dist/
	$(BIN)/hatchling build -t wheel -d dist
	@$(MAKE) sbom
	@cp build/sbom.cdx.json dist/penstock-$$($(BIN)/python -c 'import penstock; print(penstock.__version__)').cdx.json
	@ls -l dist >&2

clean: ## Remove what was built here (.venv and node_modules too)
	@rm -rf $(VENV) web/node_modules build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
