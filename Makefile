# Two commands for a fresh machine: `make demo` and `make test`. Each makes its own environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test slow lint docs clean

demo: $(VENV)/.ready          ## train, score, sample and look: under 3 minutes, no downloads of data
	$(BIN)/chainrule demo --out demo --overwrite

test: $(VENV)/.ready-dev      ## lint, types, import floors, and the tests (under 8 minutes on 2 cores)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

slow: $(VENV)/.ready-dev      ## the long tests: small real trainings, likelihoods on real data
	$(BIN)/pytest -m slow

docs: $(VENV)/.ready-dev      ## write the generated pages again and build the site into build/site
	$(BIN)/python docs/make_worked_examples.py
	$(BIN)/python docs/make_model_pages.py
	$(BIN)/python docs/make_architecture_picture.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	touch $@

# torch comes first and alone: pinned in constraints.txt to a build without CUDA packages.
$(VENV)/.ready: $(VENV)/.made pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo
