# Everything happens in .venv, which each target sets up by itself, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS ?= 60
WORKERS ?= 4
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo run test test-servers lint bench soak secrets clean

# A stamp for each set of packages: it is made again when what it installs has changed.
$(VENV)/base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[run]'
	@touch $@

$(VENV)/test: $(VENV)/base
	$(INSTALL) -e '.[test]'
	@touch $@

$(VENV)/lint: $(VENV)/test
	$(INSTALL) -e '.[lint]'
	@touch $@

$(VENV)/bench: $(VENV)/test
	-$(INSTALL) -e '.[bench]'
	@touch $@

demo: $(VENV)/base  ## a synthetic market at 60x on embedded servers: make demo SECONDS=20
	$(BIN)/tickstock demo --seconds $(SECONDS)

run: $(VENV)/base  ## the fleet of the Procfile, until Ctrl-C: make run WORKERS=4
	exec $(BIN)/honcho start -c worker=$(WORKERS)

test: $(VENV)/test  ## everything but the slow proofs
	$(BIN)/pytest -m "not slow" -n 3 --dist loadfile --no-loadscope-reorder

soak: $(VENV)/test  ## the slow proofs
	$(BIN)/pytest -m slow

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/bench  ## a table; every figure in build/bench.json
	$(BIN)/python tests/bench/run.py --memory

clean:
	rm -rf $(VENV) build dist *.egg-info
