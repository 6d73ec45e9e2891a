# `make run` and `make test` are the two commands; the rest are their parts.
# Needs Python >= 3.11 (with venv) and make; uses uv when it is installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run messages test torture bench bench-admin screenshots lint types check clean

help: ## Show what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(STAMP) ## Serve the admin on real data at http://127.0.0.1:8000/admin/
	$(BIN)/tradekeep run --demo

test: $(STAMP)-dev ## Run all checks and tests
	$(BIN)/python -m tests.prerequisites
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not torture" --numprocesses=auto --dist=worksteal
	$(BIN)/python -m tests.on_postgres_15 -m "not torture" --numprocesses=auto --dist=worksteal

messages: $(STAMP)-dev ## Gather what the admin says, compile the catalogues, name what is missing
	$(BIN)/python -m admin.catalogues

torture: $(STAMP)-dev ## Run the long property, fuzz and concurrency tests
	TRADEKEEP_FUZZ_FILES=10000 $(BIN)/python -m pytest --hypothesis-profile=torture --timeout=3600

bench: $(STAMP)-bench ## Measure against raw asyncpg and the peers; prints one table
	$(BIN)/python -m benchmarks

bench-admin: $(STAMP)-bench ## Measure the admin against three others at 1 and 10 million trades
	$(BIN)/python -m benchmarks.admins

screenshots: $(STAMP)-dev ## Take the pictures of the admin's guide anew; needs a Chromium
	rm -rf build/pictures && mkdir -p build/pictures
	TRADEKEEP_SCREENSHOTS=build/pictures $(BIN)/python -m pytest tests/admin/test_looks.py
	for picture in docs/screenshots/*; do cp build/pictures/$${picture##*/} docs/screenshots/; done

lint: $(STAMP)-dev ## Check style and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)-dev ## Check types with mypy and pyright
	$(BIN)/mypy
	$(BIN)/pyright

check: lint types ## Check style, imports and types

$(STAMP): pyproject.toml
	sh .ci/install "$(PYTHON)" "$(VENV)"
	touch $@

$(STAMP)-dev: pyproject.toml
	sh .ci/install "$(PYTHON)" "$(VENV)" dev
	touch $@ $(STAMP)

$(STAMP)-bench: pyproject.toml
	sh .ci/install "$(PYTHON)" "$(VENV)" dev bench
	touch $@ $(STAMP)-dev $(STAMP)

clean: ## Remove the environment and caches; the data in .data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
