# Every target makes its own environment in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV   ?= .venv
VIDEO  ?= assets/examples/dinosaur.mp4
NAME    = $(basename $(notdir $(VIDEO)))
BIN     = $(VENV)/bin

.PHONY: demo app test test-all pace lint install install-dev clean

demo: $(VENV)/.installed          ## turn a clip (VIDEO=...) into output/<name>/animation.glb
	$(BIN)/v2m4 reconstruct "$(VIDEO)" -o "output/$(NAME)"

app: $(VENV)/.installed-ui        ## open the page on http://127.0.0.1:7860
	$(BIN)/python app.py

test: $(VENV)/.installed-dev tests/node_modules  ## all tests that need no GPU and little time
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow and not gpu" -q

test-all: $(VENV)/.installed-dev tests/node_modules
	$(BIN)/python -m pytest -n 2 --dist loadgroup -q

pace: $(VENV)/.installed-dev      ## whether a stage became slower than it was
	$(BIN)/python -m benchmarks.pace

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-ui: $(VENV)/.installed
	$(BIN)/pip install -q -c constraints.txt -e ".[ui]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install -q -c constraints.txt -e ".[ui,dev]"
	touch $@

tests/node_modules: tests/package.json
	cd tests && if command -v npm >/dev/null; then npm ci --no-audit --no-fund --silent; fi
	mkdir -p $@ && touch $@

clean:
	rm -rf $(VENV) tests/node_modules output
