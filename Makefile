# What a newcomer types. `make help` lists it. Everything is installed into .venv, nothing outside the clone but,
# for root on Debian, the browser that `make test` uses and the server that `make chaos-redis` kills.

PYTHON ?= $(shell for candidate in python3.11 python3; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$candidate && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCK := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options
ARGS ?=
# Where it is set, each of the many processes that the tests start would compile the hub anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test check bench chaos chaos-redis lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/.installed ## start the hub and all it needs; PORT=8123 chooses the port, Ctrl-C stops it
	@exec $(BIN)/python -m mcphub.stack run --with-parent

test: .venv/.installed-dev ## run the whole test suite on all cores; ARGS="-k name" is handed to pytest instead
	@if command -v chromium >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing chromium for the browser tests ..."; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium; } \
			>/dev/null || echo "chromium could not be installed: THE BROWSER TESTS ARE SKIPPED."; \
	else echo "chromium is not installed and only root on Debian can install it here: THE BROWSER TESTS ARE SKIPPED."; fi
	@$(BIN)/python -m pytest $(or $(ARGS),--numprocesses auto --dist worksteal)

check: .venv/.installed-dev ## lint, types, floors, migrations and the checks among the tests; runs all, then says what failed
	@failed=""; \
	try() { echo "== $$*"; "$$@" || failed="$$failed [$$*]"; }; \
	try $(BIN)/ruff check .; \
	try $(BIN)/ruff format --check .; \
	try $(BIN)/mypy; \
	try $(BIN)/lint-imports; \
	try $(BIN)/python manage.py makemigrations --check --dry-run; \
	try $(BIN)/python -m pytest -q -m check; \
	if [ -n "$$failed" ]; then echo "FAILED:$$failed"; exit 1; fi; echo "All checks passed."

bench: .venv/.installed-dev ## measure tool calls against the bare SDK
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: .venv/.installed-dev ## kill everything at random under 500 jobs; ARGS="--jobs 200 --seed 7" repeats a run
	@$(BIN)/python -m tests.reliability $(ARGS)

chaos-redis: .venv/.installed-dev ## the same on Redis, which is killed and flushed in the middle too
	@if command -v redis-server >/dev/null 2>&1 || command -v valkey-server >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing redis-server ..."; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends redis-server; } \
			>/dev/null || echo "redis-server could not be installed."; fi
	@$(BIN)/python -m tests.reliability --redis $(ARGS)

lock: .venv/.installed-tools ## pin every version and hash anew from requirements*.in
	@echo "Locking requirements.txt ..."
	@$(LOCK) --output-file requirements.txt requirements.in
	@for name in redis s3 dev; do \
		echo "Locking requirements-$$name.txt ..."; \
		$(LOCK) --constraint requirements.txt --output-file requirements-$$name.txt requirements-$$name.in || exit 1; done

clean: ## remove .venv and caches; the data in .data stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.data/*' -prune -exec rm -rf {} +

.venv/.installed: requirements.txt | .venv/bin/pip
	@echo "Installing what the hub runs on (requirements.txt) ..."
	@$(PIP) install --require-hashes --requirement requirements.txt
	@touch $@

.venv/.installed-dev: requirements-dev.txt | .venv/bin/pip
	@echo "Installing what the tests need (requirements-dev.txt) ..."
	@$(PIP) install --require-hashes --requirement requirements-dev.txt
	@touch $@

# `make lock` must also work when the lock files are what is broken.
.venv/.installed-tools: | .venv/bin/pip
	@$(BIN)/python -c 'import piptools' 2>/dev/null || $(PIP) install --quiet pip-tools
	@touch $@

# `pip` comes last, so an environment that was cut off while it was made is made again.
.venv/bin/pip:
	@if [ -z "$(PYTHON)" ]; then echo "mcphub needs Python 3.11 or newer: install it, or name it as in \`make run PYTHON=/path/to/python3.11\`." >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "PYTHON=$(PYTHON) does not run or is older than 3.11, which mcphub needs." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks the modules venv and ensurepip: on Debian and Ubuntu \`apt-get install python3-venv\` brings them." >&2; exit 1; }
	@echo "Making .venv with $(PYTHON) ..."
	@$(PYTHON) -m venv .venv
