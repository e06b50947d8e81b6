# Everything runs in a virtual environment of its own, made on first use and again when pyproject.toml changes.

PYTHON ?= python3
VENV ?= .venv
# Extra arguments for pytest or the benchmarks: make test ARGS="-k reconnect -x"
ARGS ?=
# Of the chaos run: how long it does harm, and which.
MINUTES ?= 10
SEED ?= 1
# Of the chaos run of a Celery worker.
RESTARTS ?= 50
# Of the hostile flood.
COUNT ?= 100000

# The release of RabbitMQ that tests run on, where it is not the machine's own: make test RABBITMQ=4.3
RABBITMQ ?=
# Those that what depends on the broker is tested on, besides the machine's own.
RELEASES ?= 4.0 4.3

BIN := $(VENV)/bin
# Shell commands that install it and tell the tests where it is (tests/support/broker.py).
chosen_rabbitmq = $(if $(RABBITMQ),\
	AMPHORA_RABBITMQ=$$(sh scripts/install-rabbitmq --release "$(RABBITMQ)"); export AMPHORA_RABBITMQ;)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo demo-celery demo-django test test-stock test-django6 test-releases lint format types bench bench-celery options \
	chaos chaos-celery hostile header-tables docs constraints clean

help:
	@echo "make demo    run the demonstration (BROKER_URL=amqp://... for a real broker)"
	@echo "make demo-django   run a chat on Django: a core, two web processes, and RabbitMQ where there is none"
	@echo "make demo-celery   run a Celery worker that answers calls, and somebody who makes some"
	@echo "make test    run the whole test suite against a RabbitMQ of its own (ARGS=... for pytest)"
	@echo "make test RABBITMQ=4.3   the same on another release of RabbitMQ (4.0, 4.3), which root installs from Debian"
	@echo "make test-releases   what depends on the broker, and short chaos runs, on RabbitMQ 4.0 and 4.3 side by side"
	@echo "make test-stock   the same with py-amqp's own encoders (AMPHORA_STOCK_TRANSPORT=1)"
	@echo "make test-django6   the tests of the Django integration with Django 6, where Python 3.12 is installed"
	@echo "make lint    check style           make format   put the code in that style"
	@echo "make types   check types           make bench    run the benchmarks"
	@echo "make bench-celery   the same call through Celery's rpc:// and through Amphora, in one worker"
	@echo "make chaos   break everything for MINUTES=10, chosen by SEED=1, and account for every call"
	@echo "make chaos-celery   restart the broker RESTARTS=50 times under a Celery worker that serves calls"
	@echo "make hostile   flood every queue with COUNT=100000 hostile messages, then ask whether all still answer"
	@echo "make header-tables   read COUNT=100000 random header tables"
	@echo "make options   write the docstrings of the constructors and the tables of settings from the fields in amphora/options"
	@echo "make docs    build the site of the documentation in build/docs; a warning is an error"
	@echo "make constraints   take the newest releases of all packages for continuous integration"
	@echo "make clean   remove what the above made"

# The program finds BROKER_URL in its environment, where make puts variables of the command line too: not in the
# recipe, which is printed, for it may hold a password.
demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

# RabbitMQ is installed only where no BROKER_URL makes it needless.
demo-django: $(VENV)/.installed-demo-django
	@test -n "$$BROKER_URL" || sh scripts/install-rabbitmq
	$(BIN)/python examples/django/run.py $(ARGS)
# Celery is installed with what the tests need; without BROKER_URL and a broker on this machine, one is started.
demo-celery: $(VENV)/.installed-test
	@test -n "$$BROKER_URL" || sh scripts/install-rabbitmq
	$(BIN)/python examples/celery/run.py

test: $(VENV)/.installed-test
	sh scripts/install-rabbitmq
	sh scripts/install-shells
	sh scripts/install-postgresql
	sh scripts/install-chromium
	@set -e; $(chosen_rabbitmq) $(if $(ARGS),$(BIN)/python -m pytest $(ARGS),$(BIN)/python -m scripts.run_tests)

test-stock: export AMPHORA_STOCK_TRANSPORT = 1
test-stock: test

test-releases: $(VENV)/.installed-test
	sh scripts/install-rabbitmq
	sh scripts/run-tests-on-releases $(BIN)/python $(RELEASES) $(if $(ARGS),-- $(ARGS))

# Where that Python is missing, find-python says so, and nothing has failed.
test-django6: $(VENV)/.installed-tox
	sh scripts/install-rabbitmq
	sh scripts/install-postgresql
	sh scripts/install-chromium
	python=$$(sh scripts/find-python 3.12) || exit 0; $(BIN)/tox run -e django6 --discover "$$python" -- $(ARGS)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-test $(VENV)/.installed-types
	$(BIN)/mypy

bench-celery: $(VENV)/.installed-test $(VENV)/.installed-bench
	sh scripts/install-rabbitmq
	$(BIN)/python benchmarks/celery_side_by_side.py $(ARGS)

bench: $(VENV)/.installed-test $(VENV)/.installed-bench
	sh scripts/install-rabbitmq
	$(BIN)/python benchmarks/run.py $(ARGS)

chaos: $(VENV)/.installed-test
	sh scripts/install-rabbitmq
	@set -e; $(chosen_rabbitmq) $(BIN)/python -m chaos.run --minutes $(MINUTES) --seed $(SEED) $(ARGS)

chaos-celery: $(VENV)/.installed-test
	sh scripts/install-rabbitmq
	$(BIN)/python -m chaos.celery_restarts --restarts $(RESTARTS) $(ARGS)

hostile: $(VENV)/.installed-test
	sh scripts/install-rabbitmq
	$(BIN)/python -m chaos.hostile --count $(COUNT) --seed $(SEED)

header-tables: $(VENV)/.installed-test
	$(BIN)/python -m chaos.header_tables $(COUNT) --seed $(SEED)

options: $(VENV)/.installed-test
	$(BIN)/python -m tests.support.option_texts

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs build/docs
	@echo "the site is in build/docs/index.html"

constraints:
	PYTHON="$(PYTHON)" sh scripts/freeze-constraints

clean:
	rm -rf $(VENV) .tox build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	PYTHON="$(PYTHON)" sh scripts/make-venv "$(VENV)"

# Editable, so that a change of the code needs no new installation.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable ".[$*]"
	@touch $@ $(VENV)/.installed
