# Two commands on a fresh machine with Python 3.11:  make demo   and   make test
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-summarize test test-all lint benchmark clean

demo: .venv/installed
	$(BIN)/recurray demo demo

# The same with summaries of docstrings, by a pointer-generator.
demo-summarize: .venv/installed
	$(BIN)/recurray demo demo-summarize

# Everything but the slow tests; `make test-all` adds the kills and the longer runs.
test: .venv/installed lint
	$(BIN)/pytest -m "not slow"

test-all: .venv/installed lint
	$(BIN)/pytest

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: .venv/installed
	$(BIN)/python -m tests.benchmarks.training_speed
	$(BIN)/python -m tests.benchmarks.cells
	$(BIN)/python -m tests.benchmarks.encoders
	$(BIN)/python -m tests.benchmarks.scale

clean:
	rm -rf runs/demo runs/demo-summarize data/homeassistant-en-de data/docstrings data/prepared

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "recurray's pinned environment needs Python 3.11; name one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -qq -c constraints.txt -e '.[dev]'
	@touch $@
