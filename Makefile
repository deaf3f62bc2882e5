# The project's whole set of tasks. Each target installs what it needs (Debian or Ubuntu packages, Python packages pinned
# in requirements.lock, npm packages for the portal) and says what it is doing.

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test lint types check-fast bench docs
PYTEST := .venv/bin/pytest

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup:  ## Install everything into .venv, and the portal's assets
	@scripts/bootstrap
	@scripts/build-assets

demo: setup  ## Bring up a real Slurm cluster and run three real workloads on it, timed from wish to running
	@.venv/bin/python scripts/demo.py

up: setup  ## Bring up a lab, the API and the portal, in the background; prints login links
	@.venv/bin/slurmlab doctor --fix
	@.venv/bin/headrace-server up --detach

down:  ## Stop what `make up` or `make demo` started, the lab too
	@scripts/bootstrap
	@.venv/bin/headrace-server down
	@for lab in headrace headrace-2411; do .venv/bin/slurmlab down $$lab; done

test: setup  ## Run everything: lint, types, contracts, unit tests, real Slurm of both versions, PostgreSQL, browser
	@scripts/test

lint:  ## ruff, the type checker, the import contract
	@scripts/bootstrap
	@scripts/lint

bench: bench-lab bench-watch  ## Run every benchmark; each ends with one line of figures

bench-%: setup
	@.venv/bin/slurmlab doctor --fix
	@.venv/bin/python benchmarks/$*.py

docs: setup  ## Check the documentation: every code block that can run is run, every page is linked
	@$(PYTEST) tests/docs
