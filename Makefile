PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check format docs setup clean

demo: setup  ## set up, run the main job on real galaxies, name the report
	$(BIN)/embedkit demo

test: setup  ## set up, run every test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

check: setup  ## the quick loop: format, lint, types, import arrows, quick tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -q -m "not slow and not browser"

format: setup  ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## rewrite the pages and the type stub that are made of what the code has
	$(BIN)/python docs/write_pages.py
	$(BIN)/python docs/write_stub.py

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "embedkit needs Python 3.11 or later; name one with: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)

clean:  ## remove the virtual environment and all caches; runs/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
