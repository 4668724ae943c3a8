# Coldreel: commands for people. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ROOT := $(abspath $(dir $(lastword $(MAKEFILE_LIST))))
PYTHON ?= python3
VENV ?= $(ROOT)/.venv
PORT ?= 8000
SECONDS_TO_SOAK ?= 600
export COLDREEL_HOME ?= $(ROOT)/var
export PORT
PY := $(VENV)/bin/python
IN_BACKEND := cd "$(ROOT)/Backend" &&

.PHONY: help demo run test promises check lint types imports migrations deploy-check contract soak torture bench lock setup setup-dev system-packages clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24
	@echo
	@echo '  PORT=8000 chooses the web port, COLDREEL_HOME=var/ the folder for what running creates.'

demo: setup ## the guided tour, no account needed (ARGS=--once ends by itself)
	@$(IN_BACKEND) exec "$(PY)" -m demo $(ARGS)

run: setup ## serve with the settings from the environment (and Backend/.env)
	@$(IN_BACKEND) exec "$(PY)" manage.py serve $(ARGS)

test: setup-dev system-packages ## run the whole test suite (ARGS="tests/unit/test_naming.py -q": one file)
	@$(IN_BACKEND) "$(PY)" -m tests.run_all $(ARGS)

promises: setup-dev ## break each promise once and see its test go red
	@$(IN_BACKEND) "$(PY)" -m tests.promises $(ARGS)

check: setup-dev lint types imports migrations deploy-check test ## everything that CI runs, tests included

lint: setup-dev ## format and lint
	@$(IN_BACKEND) "$(VENV)/bin/ruff" format --check . ../tools && "$(VENV)/bin/ruff" check . ../tools

types: setup-dev ## strict types (mypy)
	@$(IN_BACKEND) "$(VENV)/bin/mypy" .

imports: setup-dev ## import rules (import-linter)
	@$(IN_BACKEND) "$(VENV)/bin/lint-imports"

migrations: setup-dev ## whether a migration is missing
	@$(IN_BACKEND) "$(PY)" manage.py makemigrations --check --dry-run

deploy-check: setup-dev ## Django's check for production
	@$(IN_BACKEND) DJANGO_HTTPS=True COLDREEL_TRUSTED_PROXIES=1 "$(PY)" manage.py check --deploy --fail-level WARNING

contract: setup-dev ## the store contract suite (COLDREEL_CONTRACT_ENDPOINT, COLDREEL_CONTRACT_BUCKET: your own bucket)
	@$(IN_BACKEND) "$(PY)" -m pytest tests/contract $(ARGS)

soak: setup-dev ## two workers under random kills for SECONDS_TO_SOAK=600 at the default timings
	@$(IN_BACKEND) "$(PY)" -m benchmarks.soak --seconds $(SECONDS_TO_SOAK) $(ARGS)

torture: setup-dev system-packages ## long runs that try to break it (ARGS="--only soak", ARGS=--write)
	@$(IN_BACKEND) "$(PY)" -m tests.torture $(ARGS)

bench: setup-dev ## the benchmarks, side by side with the peers
	@$(IN_BACKEND) "$(PY)" -m benchmarks $(ARGS)

lock: setup-dev ## write the lock files again from pyproject.toml (with the uv that they name)
	@$(IN_BACKEND) for group in "requirements.txt" "requirements-dev.txt --group dev"; do \
	  "$(VENV)/bin/uv" pip compile -q --universal --generate-hashes --no-emit-index-url --no-header \
	    --python-version 3.11 pyproject.toml -o $$group; done

setup: ## set up what running needs
	@PYTHON="$(PYTHON)" "$(ROOT)/tools/setup.sh" "$(VENV)" requirements.txt

setup-dev: ## set up what testing needs as well
	@PYTHON="$(PYTHON)" "$(ROOT)/tools/setup.sh" "$(VENV)" requirements-dev.txt

system-packages: # PostgreSQL and Chromium for the tests that use the real ones
	@"$(ROOT)/tools/system-packages.sh"

clean: ## remove the environment and caches (never var/: recordings may lie there)
	@rm -rf "$(ROOT)/.venv" "$(ROOT)/.bench-venv" "$(ROOT)"/Backend/.{mypy,ruff,pytest,import_linter}_cache "$(ROOT)/Backend/.hypothesis"
