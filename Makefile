# `make run` and `make test` need Python 3.11 or 3.12 and make, nothing else.

VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed-run
TEST := $(VENV)/.installed-test

# Tests start some hundreds of processes: without it each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test beside alone long check bench load sessions lint docs lock clean

help:  ## Show this list.
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(RUN)  ## Install what is needed, start everything, speak a greeting; Ctrl-C ends it.
	@$(BIN)/seiketsu up

test: beside alone  ## Install what tests need and run them all.

beside: $(TEST)
	$(BIN)/pytest -m "not alone and not long" --numprocesses=2 --dist=loadfile \
		--no-loadscope-reorder

# What measures time of the clock; after the others, also where make runs targets side by side.
alone: beside
	$(BIN)/pytest -m "alone and not long"

long: $(TEST)  ## What is too long for CI: more formats, profiles and faults, and the full sizes.
	$(BIN)/pytest -m long
	SEIKETSU_LIVE=full SEIKETSU_RESUME_SESSIONS=100 SEIKETSU_FUZZ=20000 SEIKETSU_TEXTS=2400 \
		$(BIN)/pytest tests/e2e/test_live.py tests/e2e/test_live_faults.py \
		tests/e2e/test_resume.py tests/e2e/test_sequences.py \
		tests/gateway/test_session_fuzz.py tests/text/test_normalise.py

check: $(TEST)  ## What CI runs: format, lint, types, import contracts, tests, budgets.
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint beside
	$(BIN)/pytest -m "alone and not long"
	$(BIN)/python -m benchmarks.run --ci

bench: $(TEST)  ## Measure against benchmarks/budgets.json.
	$(BIN)/python -m benchmarks.run

load: $(TEST)  ## Load tests by k6, REST and WebSocket, against an installation of their own.
	$(BIN)/python -m benchmarks.load

sessions: $(TEST)  ## A thousand sessions on one gateway process; about four minutes.
	$(BIN)/python -m benchmarks.sessions

lint: $(TEST)  ## Format, lint, strict types, import contracts.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(TEST)  ## Write the generated tables of README.md and REFERENCE.md anew.
	$(BIN)/python -m tests.repo.tables

lock: $(BIN)/python  ## Resolve requirements/*.in into versions with hashes.
	$(INSTALL) uv==0.13.9
	$(LOCK) requirements/run.in --output-file requirements/run.txt
	$(LOCK) requirements/test.in --output-file requirements/test.txt

clean:  ## Remove the environment and what tools left behind; data in .seiketsu stays.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache

# uv installs faster where it is present; pip is always there. Bytecode is made when a module is
# first used: most of what is installed never is.
INSTALL = $(if $(shell command -v uv),uv pip install --quiet --python $(BIN)/python,\
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --no-compile)
LOCK = $(if $(shell command -v uv),uv,$(BIN)/uv) pip compile --quiet --universal \
	--python-version 3.11 --generate-hashes --no-strip-extras --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links

$(BIN)/python:
	@for python in $(PYTHON) python3.11 python3.12 python3 /usr/bin/python3.11; do \
		if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
			>/dev/null 2>&1; then \
			echo "Making $(VENV) with $$($$python --version)."; \
			if command -v uv >/dev/null; then \
				exec uv venv --quiet --allow-existing --python "$$python" $(VENV); \
			fi; \
			"$$python" -m venv $(VENV) && exit 0; \
			rm -rf $(VENV); \
			echo "$$python cannot make environments: install its venv module, or uv." >&2; \
			exit 1; \
		fi; \
	done; \
	echo "Python 3.11 or 3.12 is needed; name one with: make PYTHON=/path/to/python3.11" >&2; \
	exit 1

# A package that comes as source is built with the pinned setuptools, installed before all others:
# in an isolated environment it would be built with whatever is newest on that day.
$(RUN): requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "Installing what the product needs."
	@sed -n '/^setuptools==/,/[^\\]$$/p' requirements/run.txt >$(VENV)/build.txt
	@$(INSTALL) --require-hashes -r $(VENV)/build.txt
	@$(INSTALL) --require-hashes --no-build-isolation -r requirements/run.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(TEST): requirements/test.txt $(RUN)
	@echo "Installing what the tests need."
	@$(INSTALL) --require-hashes --no-build-isolation -r requirements/test.txt
	@touch $@
