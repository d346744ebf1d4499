# run    a bot on this machine, to talk to in a browser and in the terminal
# test   all tests          check  format, lint, types, imports, layout, docs
# docs   the pages as HTML, in build/docs
# bench  the benchmarks     clean  removes what the others made
# faults all that can break, broken under load; a ledger for each
# browsers the tests of the pages in Debian's Firefox and WebKit, as far as these can be driven
# proxies the recipes of docs/proxies.md, with Debian's nginx, Caddy and HAProxy
#
# Needs python3 (3.10 or later), its venv module and make: on Debian, apt-get install python3 python3-venv make git

PYTHON ?= python3
BOT ?= examples/first_bot.py:bot
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517

.PHONY: run test test-packages proxy-packages browser-packages faults proxies browsers check docs bench clean
.DELETE_ON_ERROR:

run: .venv/installed
	@$(BIN)/cometbot dev $(BOT)

define INSTALL
[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ]; then root=; elif sudo -n true 2>/dev/null; then root='sudo -n'; else root=none; fi; \
	if [ "$$root" = none ] || ! command -v apt-get >/dev/null; then \
	  echo "The tests need Debian packages: apt-get install $$missing" >&2; exit 2; \
	fi; \
	$$root apt-get update -qq && \
	$$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing
endef

# Bytecode is kept, because tests start hundreds of processes.
test: export PYTHONDONTWRITEBYTECODE :=

# More files at a time than there are processors: those that start servers mostly wait. The browser's tests run alone,
# because Playwright keeps an event loop and child processes in the process of the tests.
PARALLEL := --dist loadfile --no-loadscope-reorder

test: .venv/installed-test test-packages
ifdef PYTEST_ARGS
	$(BIN)/pytest $(PYTEST_ARGS)
else
	$(BIN)/pytest -n 4 $(PARALLEL) tests/unit tests/contract tests/integration tests/acceptance examples
	$(BIN)/pytest -n 3 $(PARALLEL) tests/browser
endif

# What tests need beside Python packages: a browser for the pages, a PostgreSQL and a PgBouncer to start, node for the
# official chat client.
# Most pages are tested in the headless shell, which takes a fifth of the processor time, where it can be had.
test-packages:
	@missing=; \
	[ -x "$${COMETBOT_TEST_CHROMIUM:-/usr/bin/chromium}" ] || missing=chromium; \
	{ command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1 || missing="$$missing postgresql"; \
	{ command -v pgbouncer || [ -x /usr/sbin/pgbouncer ]; } >/dev/null 2>&1 || missing="$$missing pgbouncer"; \
	{ command -v node && command -v npm; } >/dev/null 2>&1 || missing="$$missing nodejs npm"; \
	$(INSTALL)
	@[ -n "$$COMETBOT_TEST_CHROMIUM" ] || [ -x /usr/bin/chromium-headless-shell ] || \
	( missing=chromium-headless-shell; $(INSTALL) ) || true

# Debian's packages start their services, which the tests do not use.
proxy-packages:
	@missing=; \
	[ -x /usr/sbin/nginx ] || missing=nginx-light; \
	[ -x /usr/bin/caddy ] || missing="$$missing caddy"; \
	[ -x /usr/sbin/haproxy ] || missing="$$missing haproxy"; \
	[ -x /usr/bin/openssl ] || missing="$$missing openssl"; \
	$(INSTALL)

# WebKit's browser has a window, so it needs an X server; the language of a page follows the locale.
browser-packages:
	@missing=; \
	[ -x /usr/bin/firefox-esr ] || missing=firefox-esr; \
	[ -x /usr/bin/WebKitWebDriver ] || missing="$$missing webkit2gtk-driver"; \
	[ -x /usr/bin/Xvfb ] || missing="$$missing xvfb"; \
	[ -e /usr/share/i18n/locales/de_AT ] || missing="$$missing locales"; \
	$(INSTALL)

FAULT_TESTS := tests/acceptance/faults tests/contract/dialogs/test_crashes.py tests/contract/dialogs/test_bursts.py tests/contract/dialogs/test_hand_offs.py tests/contract/dialogs/test_jobs.py tests/acceptance/test_dialogs.py tests/acceptance/test_approvals.py tests/acceptance/test_hand_offs.py tests/acceptance/test_jobs.py tests/acceptance/channels/agui/test_crashes.py

faults: .venv/installed-test test-packages
	COMETBOT_TEST_FAULTS=full $(BIN)/pytest -s $(FAULT_TESTS) $(PYTEST_ARGS)

proxies: .venv/installed-test proxy-packages
	COMETBOT_TEST_PROXIES=1 $(BIN)/pytest -s tests/acceptance/proxies $(PYTEST_ARGS)

# Both run to their end, so that each tells its counts.
browsers: .venv/installed-browsers browser-packages
	@failed=; for engine in firefox webkit; do echo "$$engine:"; \
	  COMETBOT_TEST_BROWSER=$$engine $(BIN)/pytest -q -rs tests/browser $(PYTEST_ARGS) || failed="$$failed $$engine"; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

check: .venv/installed-test docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_layout.py tests/unit/test_imports.py tests/unit/test_secret_comparisons.py

docs: .venv/installed-docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

clean:
	rm -rf .venv .cache build dist cometbot.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
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

.venv/installed-browsers: .venv/made setup.cfg setup.py
	$(PIP) --editable '.[browsers]'
	@touch .venv/installed .venv/installed-test $@

.venv/installed-docs: .venv/made setup.cfg setup.py
	$(PIP) --editable '.[docs]'
	@touch .venv/installed $@

.venv/installed-bench: .venv/made setup.cfg setup.py
	$(PIP) --editable '.[bench]'
	@touch .venv/installed $@
