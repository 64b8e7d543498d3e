# What a maintainer does with this checkout. Needs python3 (3.11 to 3.14), make, git and the package registries;
# everything else is installed into .venv at the versions that uv.lock names.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup proto lint test torture check audit sbom demo serve bench arena arena-quick verify image

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
RELEASED := $(wildcard proto/released/*.binpb)
STUBS := clients/python
LESS_STACKS := --no-extra litellm --no-extra langchain --no-extra openai-agents --no-extra pydantic-ai --no-extra strands

export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never

help: ## Show what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.setup ## Install everything into .venv; does nothing when it is up to date

# A .venv without pip (made by another tool, or by an interpreter that is gone) is made anew.
$(VENV)/.setup: pyproject.toml uv.lock Makefile
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make setup PYTHON=...")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv sync --locked --all-extras $(LESS_STACKS)
	@touch $@

# $(call generate,DIR): the Python stubs, below DIR. Only files with a service get gRPC stubs.
PROTOC = PATH="$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc --proto_path=proto
generate = $(PROTOC) --python_out=$(1) --mypy_out=quiet:$(1) proto/sojourn/v1/*.proto && \
  $(PROTOC) --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) $$(grep -l '^service ' proto/sojourn/v1/*.proto)

proto: setup ## Regenerate the Python stubs from proto/
	@rm -f $(STUBS)/sojourn/v1/*_pb2*
	@$(call generate,$(STUBS))

lint: setup ## Check style, types, the contract's style and the house rules; FIX=1 formats first
ifdef FIX
	$(BIN)/ruff check --quiet --select I --fix
	$(BIN)/ruff format
	$(BIN)/buf format --write
endif
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/python -m tests.habits.house_rules

test: setup ## Run the tests, but for slow ones; PYTEST_ARGS='-m slow' runs those
	$(BIN)/pytest -m "not slow" $(PYTEST_ARGS)

torture: setup ## Kill servers, take the power away and more, for an hour; writes benchmarks/results/trust.json
	$(BIN)/python -m tests.torture $(ARGS)

check: lint ## Run lint, then: contract unbroken, stubs fresh, lock true, Dockerfile and scripts sound
	$(BIN)/buf breaking --against $(RELEASED)
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(call generate,"$$fresh") && diff -rq -x __pycache__ "$$fresh/sojourn/v1" $(STUBS)/sojourn/v1 || \
	{ echo 'The stubs are stale: run make proto' >&2; exit 1; }
	$(BIN)/uv lock --check
	$(call where_packaged,hadolint) Dockerfile
	$(call where_packaged,shellcheck) .ci/run

# $(call where_packaged,TOOL): the tool, or loud words where it has no wheel for this platform.
where_packaged = $(if $(wildcard $(BIN)/$(1)),$(BIN)/$(1),@echo 'SKIPPED: no $(1) for this platform:')

audit: setup ## Look all locked dependencies up among known vulnerabilities (asks api.osv.dev)
	$(BIN)/uv audit --locked --preview-features audit

sbom: setup ## Write what the service consists of to dist/sojourn.cdx.json (CycloneDX)
	@mkdir -p dist
	$(BIN)/uv export --quiet --locked --all-extras $(LESS_STACKS) --no-default-groups --preview-features sbom-export \
	  --format cyclonedx1.5 --output-file dist/sojourn.cdx.json

demo: setup ## Play live episodes through the router and compare policies (at most three minutes)
	@$(BIN)/sojourn demo $(ARGS)

serve: setup ## Start the router; ARGS='--config sojourn.toml' adds options
	@$(BIN)/sojourn serve $(ARGS)

bench: setup ## Measure Decide against an empty echo on the same server
	$(BIN)/python -m benchmarks.latency $(ARGS)

arena-quick: setup ## Check coarse claims about the policy on live episodes (at most three minutes)
	$(BIN)/python -m benchmarks.arena.quick

arena: setup ## Play all policies on held-out seeds; writes docs/arena.md (ARGS='--episodes 2000 --tail 500 --seeds 10': hours)
	$(BIN)/python -m benchmarks.arena $(ARGS)

verify: setup ## Check what is too slow for every change: all languages, stacks, a cluster; writes docs/verification.md
	$(BIN)/python -m tests.verify $(ARGS)

image: ## Build the container image with docker, podman or buildah, whichever is there
	@for engine in docker podman buildah; do \
	  if command -v "$$engine" >/dev/null; then \
	    [ "$$engine" = docker ] || format='--format=docker'; \
	    exec "$$engine" build $${format-} --tag sojourn:$(VERSION) .; fi; \
	done; echo 'None of docker, podman, buildah is installed' >&2; exit 1
