# Everything a person runs. Each target installs what it needs, once: Python packages into .venv, the rest as deploy/packages.sh says.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
ARGS ?=
NODES ?= 1
FOLDER ?= .cache/kafka/run
ifdef CONTACT
export SYNCER_CONTACT := $(CONTACT)
endif

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: .venv/hub ## a generated wiki farm, mirrored before your eyes; needs no network
	@.venv/bin/syncer demo $(ARGS)

.PHONY: run
run: .venv/hub ## the hub on the live feed: make run CONTACT=you@example.org
	@.venv/bin/syncer check-config --online
	@exec .venv/bin/syncer run $(ARGS)

.PHONY: test
test: .venv/dev .venv/debian .venv/kafka lint ## everything that must hold before a change goes in
	@$(PY) -m pytest --durations 40 --durations-min 5 $(ARGS)

.PHONY: torture
torture: .venv/dev .venv/debian .venv/kafka ## the same laws with the full counts; takes hours
	@$(PY) -m pytest --torture $(ARGS)

.PHONY: bench
bench: .venv/dev ## every measurement that the documentation quotes
	@for file in tests/bench/[a-z]*.py; do echo "== $$(basename $$file .py)"; $(PY) -m tests.bench.$$(basename $$file .py); done

.PHONY: lint
lint: .venv/dev ## style, types and who may import whom
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --quiet --check
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/lint-imports --cache-dir .cache/import_linter > .cache/import_linter.log || { cat .cache/import_linter.log; exit 1; }

.PHONY: kafka
kafka: .venv/kafka ## Apache Kafka on loopback; prints its address (NODES=3, FOLDER=..., ARGS=--security)
	@$(PY) -m deploy.kafka start $(FOLDER) --nodes $(NODES) $(ARGS)

.PHONY: kafka-stop
kafka-stop: .venv/bin/python ## stop it; its data stays in FOLDER
	@$(PY) -m deploy.kafka stop $(FOLDER)

.PHONY: locks
locks: .venv/dev ## pin the dependencies anew (ARGS=--upgrade for newer ones)
	@deploy/locks/make.sh $(ARGS)

# Stamps: what is installed already is not looked at again until its list changes.
.venv/bin/python:
	@PYTHON=$(PYTHON) deploy/venv.sh

.venv/hub: deploy/locks/hub.txt pyproject.toml | .venv/bin/python
	@echo "Installing what the hub needs into .venv ..."
	@$(PIP) install --require-hashes --requirement $<
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: deploy/locks/dev.txt pyproject.toml | .venv/bin/python
	@echo "Installing what development needs into .venv ..."
	@$(PIP) install --require-hashes --requirement $<
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@mkdir -p .cache
	@touch $@ .venv/hub

# The wiki of the end-to-end tests, a partner's plainest program, what unpacks .7z, and two more languages to apply patches in.
WIKI := mediawiki php-cli php-sqlite3 php-intl php-mbstring php-xml php-curl php-apcu sqlite3 lua5.1 libarchive-tools
.venv/debian: Makefile deploy/packages.sh | .venv/bin/python
	@deploy/packages.sh $(WIKI)
	@command -v kcat >/dev/null || deploy/packages.sh kcat
	@command -v node >/dev/null || deploy/packages.sh nodejs
	@command -v javac >/dev/null || deploy/packages.sh default-jdk-headless
	@touch $@

.venv/kafka: deploy/kafka/pom.xml deploy/packages.sh | .venv/bin/python
	@command -v java >/dev/null || deploy/packages.sh default-jre-headless
	@command -v mvn >/dev/null || deploy/packages.sh maven
	@$(PY) -m deploy.kafka jars
	@touch $@
