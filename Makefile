# make demo | test | lint | docs | bench | soak | fuzz | clean, with any Python from 3.11 on; `make test PYTHON=python3.13` tests with that one.

ifeq ($(origin PYTHON), undefined)
VENV := .venv
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
else
VENV := build/venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check --quiet install

# byte-code also where PYTHONDONTWRITEBYTECODE is set: without it every start compiles everything anew
COMPILE = $(RUN) -m compileall -q

.PHONY: demo test lint docs bench soak fuzz clean

demo: $(VENV)/.installed
	@$(RUN) -m frp_py demo

test: $(VENV)/.dev
	@tests/programs.sh || echo "make: some system programs could not be installed; tests that need them are skipped" >&2
	@$(COMPILE) frp_py
	@$(RUN) -m pytest $(ARGS)

lint: $(VENV)/.dev
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

docs: $(VENV)/.dev
	@$(RUN) docs/reference/generate.py

# make bench ARGS="--quick", ARGS="latency mixed", ARGS=--publish (writes docs/performance.md), ARGS='other="/opt/frps|/opt/frpc"'
bench: $(VENV)/.installed
	@$(COMPILE) frp_py bench
	@$(RUN) -m bench $(ARGS)

# make soak SOAK_SECONDS=120 SEED=1
SOAK_SECONDS ?= 600
soak: $(VENV)/.dev
	@$(COMPILE) frp_py tests
	@$(RUN) -m tests.soak --seconds $(SOAK_SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

# make fuzz FUZZ_SECONDS=600 SEED=1 ARGS="yamux --keep"; guided by coverage where there is a wheel of atheris
FUZZ_SECONDS ?= 120
fuzz: $(VENV)/.dev $(VENV)/.fuzz
	@$(RUN) -m tests.fuzz --seconds $(FUZZ_SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "make: no Python from 3.11 on was found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	echo "make: $(PYTHON) can't make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	@echo "installing into $(VENV) ..."
	@$(PIP) --editable .
	@$(COMPILE) $(VENV)/lib frp_py
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@$(RUN) -c 'import tomllib; g = tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]; print(*g["test"], *g["lint"], sep="\n")' > $@.txt
	@$(PIP) --requirement $@.txt
	@$(COMPILE) $(VENV)/lib
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev
	@$(RUN) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["fuzz"], sep="\n")' > $@.txt
	@$(PIP) --only-binary :all: --requirement $@.txt || echo "make: no atheris for this Python; inputs are changed blindly" >&2
	@touch $@
