# `make` lists the tasks. Every one makes the virtual environment it needs; PYTHON chooses the interpreter:
# `make test PYTHON=python3.13`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# More than cores, as end-to-end tests wait. What takes the time of a whole system under load goes alone.
TEST_PROCESSES ?= 4
# Property tests: `make test` tries a sixth of their examples.
LAWS := $(addprefix tests/,model storms/test_plan_laws.py config/test_routing_loader_hostile.py engine/test_rate_limit_laws.py \
	integrations/alertmanager/test_lenient_limits.py web/test_webhooks.py web/api/test_openapi.py \
	test_business_hours.py test_clock.py)
# Seconds after which `make test-exhaustive` takes no new kill or schedule; empty for all of them.
BUDGET ?=
PATHS := receiver tests bench

# Tests start some hundred processes; each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-exhaustive check audit lock fmt bench soak screenshots clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## start the receiver here, on the shipped routing.yaml
	exec $(BIN)/receiver run

test: $(VENV)/.installed-dev ## run every test, on a sample where there are very many cases: 9 minutes on two cores
	$(BIN)/python -m pytest -m "not alone" --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest tests/e2e -m alone

test-exhaustive: $(VENV)/.installed-dev ## all cases: crashes at every instant, thousands of schedules: most of an hour
	$(BIN)/python -m pytest $(LAWS) --exhaustive --numprocesses 3
	$(BIN)/python -m pytest tests/story/test_storm_crashes.py tests/simulation tests/fuzz --exhaustive \
		$(if $(BUDGET),--budget $(BUDGET)) --numprocesses 3 --dist loadfile --no-loadscope-reorder
ifeq ($(BUDGET),)
	$(BIN)/python -m pytest tests/story/test_clocks_apart.py --exhaustive --numprocesses 2 --dist load
	CHAOS_SECONDS=120 $(BIN)/python -m pytest --exhaustive \
		$(addprefix tests/e2e/,test_chaos.py test_refused_bodies.py test_redis_connections.py)
endif

check: $(VENV)/.installed-dev ## style, types, imports, habits that are dangerous, the shipped configuration
	$(BIN)/ruff check $(PATHS)
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive receiver
	$(BIN)/python -m pip --disable-pip-version-check check
	$(BIN)/receiver check --config routing.yaml

audit: $(VENV)/.installed-dev ## ask the network for known faults of the packages we use, here and in the image
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.7'
	$(BIN)/pip-audit --skip-editable
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip

lock: $(VENV)/.installed-dev ## choose anew the versions of all packages in the image
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	$(BIN)/uv pip compile pyproject.toml --extra oidc --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock

fmt: $(VENV)/.installed-dev ## put the code into its form
	$(BIN)/ruff check --fix $(PATHS)
	$(BIN)/ruff format $(PATHS)

bench: $(VENV)/.installed ## measure intake and latency beside the floor
	$(BIN)/python -m bench

soak: $(VENV)/.installed-dev ## ten minutes of traffic with faults: growth, lateness, losses
	$(BIN)/python -m bench.soak

screenshots: $(VENV)/.installed-dev ## take the pictures of the pages in docs/screenshots; needs Debian's chromium-headless-shell
	$(BIN)/python -m tests.browser.screenshots

clean: ## remove the virtual environment; data in .receiver stays
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; choose one with PYTHON=python3.13" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[oidc]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed
