# Everything happens in .venv, which each target sets up by itself, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS ?= 60
WORKERS ?= 4
PORT ?= 5000
CHECKED := contracts db ops producer workers $(wildcard *.py)  # what ships
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo page run notebook test test-page test-servers test-compose test-containers lint audit-packages bench soak rules secrets clean

# A stamp for each set of packages: it is made again when what it installs has changed.
$(VENV)/base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo "installing into $(VENV): about a minute"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[run]'
	@touch $@

$(VENV)/test: $(VENV)/base
	$(INSTALL) -e '.[test]'
	@touch $@

# The charts library of the page; if the machine has no npm, it comes from PyPI.
$(VENV)/page: $(VENV)/base ops/page/npm/package-lock.json
	command -v npm >/dev/null || $(INSTALL) -e '.[page]'
	$(BIN)/tickstock page-library
	@touch $@

$(VENV)/page-test: $(VENV)/test $(VENV)/page
	$(INSTALL) -e '.[page-test]'
	@touch $@

$(VENV)/lint: $(VENV)/test
	$(INSTALL) -e '.[lint]'
	@touch $@

$(VENV)/containers: $(VENV)/test
	$(INSTALL) -e '.[containers]'
	@touch $@

$(VENV)/notebook: $(VENV)/base
	$(INSTALL) -e '.[notebook]'
	@touch $@

$(VENV)/bench: $(VENV)/test
	-$(INSTALL) -e '.[bench]'
	@touch $@

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-16s %s\n", $$1, $$2 }'

# The charts in the page of a demo are no reason to fail, nor to download npm: the demo says what is missing.
demo: $(VENV)/base  ## a synthetic market at 60x on embedded servers, with the page: make demo SECONDS=20
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory page || true; fi
	$(BIN)/tickstock demo --seconds $(SECONDS)

page: $(VENV)/page  ## the charts of the page: fetches their library from the npm registry

run: $(VENV)/base  ## the fleet of the Procfile, until Ctrl-C: make run WORKERS=4; metrics begin at PORT + 4101
	exec $(BIN)/honcho start -p $(PORT) -c worker=$(WORKERS)

notebook: $(VENV)/notebook  ## a day of bars, patterns and a backtest in a notebook of marimo, until Ctrl-C
	$(BIN)/marimo --quiet edit docs/notebook.py

# The fault tests race real processes on whatever machine it is: one that fails is run once more, and named as such in the
# last line; a test that fails twice has failed.
test: $(VENV)/test  ## everything but the slow proofs
	$(BIN)/pytest -m "not slow and not page" -n 4 --dist loadfile --no-loadscope-reorder --reruns 1 -r R

CHROMIUM := command -v chromium >/dev/null || command -v chromium-browser >/dev/null
GET_CHROMIUM := [ "$$(id -u)" = 0 ] && apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends chromium
test-page: $(VENV)/page-test  ## the page in a real Chromium, which apt-get installs if it may; pictures in build/page
	@$(CHROMIUM) || { $(GET_CHROMIUM); } >/dev/null 2>&1 || true
	@if $(CHROMIUM); then $(BIN)/pytest -m page -n 0 --reruns 1 -v -r R tests/page; \
	else echo "skipped: there is no Chromium here, and apt-get may not install it"; fi

# On other programs (each is the packaged one where it is not named), or on the running servers that
# TICKSTOCK_TEST_REDIS_URL and TICKSTOCK_TEST_DATABASE_URL name: those are emptied, by one test at a time.
TEST_SERVERS ?= tests/integration tests/fleet
test-servers: $(VENV)/test  ## make test-servers REDIS_SERVER=/usr/bin/redis-server POSTGRES_BIN=/usr/lib/postgresql/15/bin
	TICKSTOCK_REDIS_SERVER='$(REDIS_SERVER)' TICKSTOCK_POSTGRES_BIN='$(POSTGRES_BIN)' \
	$(BIN)/pytest -m "not slow" $(if $(TICKSTOCK_TEST_REDIS_URL),,-n 4 --dist loadfile) $(TEST_SERVERS)

# Where an engine answers, and says so where none does.
ENGINE := docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1
NO_ENGINE := echo "skipped: no container engine with its compose plugin answers here (docker info, docker compose version)"
ON_ENGINE := TICKSTOCK_TEST_ENGINE=1 $(BIN)/pytest -v -r s
test-compose: $(VENV)/test  ## compose.yaml for real, where a container engine is: about five minutes
	@if $(ENGINE); then $(ON_ENGINE) tests/containers/test_compose_up.py; else $(NO_ENGINE); fi

# Each test process starts a pair of its own. TICKSTOCK_CONTAINER_PROCESSES=4 where there are the cores for it.
TICKSTOCK_CONTAINER_PROCESSES ?= 2
test-containers: $(VENV)/containers  ## the tests of `make test-servers` on Redis 8 and TimescaleDB, as containers
	@if $(ENGINE); then TICKSTOCK_TEST_SERVERS=containers \
	$(BIN)/pytest -m "not slow" -n $(TICKSTOCK_CONTAINER_PROCESSES) --dist loadfile $(TEST_SERVERS); else $(NO_ENGINE); fi

# Two at a time: each starts servers and processes of its own, and waits for conditions, not for times.
SOAK_PROCESSES ?= 2
soak: $(VENV)/test  ## the slow proofs, about two hours: make soak SOAK_PROCESSES=1; TICKSTOCK_SOAK_SECONDS=300 for a short one
	$(BIN)/pytest -m slow -v -n $(SOAK_PROCESSES) --dist worksteal --durations 0 --durations-min 5 -r a

lint: $(VENV)/lint  ## ruff, mypy strict, bandit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml $(CHECKED)

# It asks the service of known vulnerabilities; an index of packages alone does not know, and then it fails (--strict). A
# finding that cannot hurt us goes here, one a line, as --ignore-vuln ID, with its reason.
IGNORED_FINDINGS :=
audit-packages: $(VENV)/lint  ## known vulnerabilities in the packages of constraints.txt; needs the network
	$(INSTALL) -e '.[audit]'
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt $(IGNORED_FINDINGS)

bench: $(VENV)/bench  ## a table; every figure in build/bench.json
	$(BIN)/python tests/bench/run.py --memory

RULE := ops/kubernetes/components/prometheus-operator/prometheus-rule.yaml
rules:  ## the rules of ops/prometheus/rules.yml once more, as the Prometheus operator takes them
	sed -i '/^spec:/q' $(RULE)
	sed -n '/^groups:/,$$ { s/^\(.\)/  \1/; p }' ops/prometheus/rules.yml >> $(RULE)

secrets: $(VENV)/base  ## what `docker compose up` makes by itself, as files that you can see and change before
	$(BIN)/tickstock secrets compose/secrets

clean:  ## removes what make made
	rm -rf $(VENV) build dist *.egg-info
