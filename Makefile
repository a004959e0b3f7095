# Two commands on a fresh machine with python3 and make:  make run   and   make test
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
MANAGE := $(BIN)/python manage.py
# `make test` brings its own settings, so that no .env of a developer changes what is checked.
TEST_ENV := ENV_FILE=/dev/null SECRET_KEY=only-for-tests-0123456789-0123456789-0123456789-abcdefg
# Two at a time: most of the time of a test with real processes is waiting.
TOGETHER := -n 2 --dist loadfile -q
POSTGRES := postgres://postgres@127.0.0.1:5432/postgres

.PHONY: run test setup demo-data check pytest bench messages clean-var

run: setup .env
	@$(MANAGE) migrate --verbosity 0
	@$(MANAGE) demo_data
	@sh deploy/banner.sh & PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/honcho start

setup: .venv/run

.venv/run: requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || sh deploy/install-venv.sh $(PYTHON)
	@echo "Installing what Restante runs on (once, about a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/test: requirements.txt requirements-dev.txt .venv/run
	@echo "Installing what checks it (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.env:
	@umask 077; printf '# Made by make run; .env.example names every setting.\nSECRET_KEY=%s\nPOP3_PUBLIC_PORT=2995\n# The demo lets its operator in at once. Remove this line where real staff work.\nCONSOLE_SECOND_FACTOR=optional\n' \
		"$$($(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(50))')" > $@

demo-data: setup .env
	@$(MANAGE) migrate --verbosity 0
	@$(MANAGE) demo_data

test: .venv/test
	@sh deploy/install-test-clients.sh
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory pytest

check:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(TEST_ENV) $(BIN)/mypy .
	$(BIN)/lint-imports
	@files=$$(find templates -name '*.html'); test -z "$$files" || $(BIN)/djade --check --target-version 5.2 $$files
	$(TEST_ENV) $(MANAGE) makemigrations --check --dry-run
	$(TEST_ENV) HTTPS=1 MAIL_HOSTNAME=mail.example.test $(MANAGE) check --deploy --fail-level WARNING

# Everything with SQLite; then what touches the database again with PostgreSQL (skipped by name where absent).
pytest:
	$(TEST_ENV) $(BIN)/pytest $(TOGETHER)
	$(TEST_ENV) DATABASE_URL=$(POSTGRES) $(BIN)/pytest $(TOGETHER) -m "not once"

# Restante beside Dovecot: bench/results.md and bench/results.svg.  make bench BENCH="--quick --only polls"
bench: .venv/test
	@$(BIN)/python -m bench.run $(BENCH)

# What pages say, gathered for the translators: hosting/locale. Needs Debian's gettext.
messages: .venv/run
	@$(TEST_ENV) $(MANAGE) makemessages --locale de --no-wrap --no-obsolete --add-location file \
		--ignore '.venv' --ignore 'var' --ignore 'bench' --ignore '*/tests/*' --verbosity 0
	@$(TEST_ENV) $(MANAGE) compilemessages --verbosity 0 --ignore '.venv'
