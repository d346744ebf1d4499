# run    a bot on this machine, to talk to in the terminal
# test   all tests          check  format, lint, types, imports, layout
# bench  the benchmarks     clean  removes what the others made
#
# Needs python3 (3.10 or later), its venv module and make: on Debian, apt-get install python3 python3-venv make git

PYTHON ?= python3
BOT ?= examples/first_bot.py:bot
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517

.PHONY: run test check bench clean
.DELETE_ON_ERROR:

run: .venv/installed
	@$(BIN)/cometbot dev $(BOT)

test: .venv/installed-test
	$(BIN)/pytest $(PYTEST_ARGS)

check: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_layout.py tests/unit/test_imports.py

bench: .venv/installed-test
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build dist cometbot.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps stand inside of what they vouch for, so that they go with it.

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "cometbot needs Python 3.10 or later, and '$(PYTHON)' is none: apt-get install python3, or make PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/installed: .venv/made setup.cfg setup.py
	$(PIP) --editable .
	@touch $@

.venv/installed-test: .venv/made setup.cfg setup.py
	$(PIP) --editable '.[test]'
	@touch .venv/installed $@
