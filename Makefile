# The front desk. Each target does all its set-up on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
# Beside $(VENV) and over it, so that all else is tested without PyTorch.
TORCH := .venv-torch
PROTOS := $(sort $(wildcard proto/isthmus/v1/*.proto))

.PHONY: demo test fast test-torch bench reference training attacks check format contract lock clean

demo: $(READY)  ## the main job, end to end, on this machine
	@$(VENV)/bin/isthmus demo --out out/demo

test: $(READY)  ## all tests
	@# by file: xdist 3.8 does not see its own groups under pytest 9.2 (pytest-xdist issue 1386)
	@$(VENV)/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder tests

fast: $(READY)  ## tests that start no processes
	@$(VENV)/bin/pytest -n 2 -m "not processes" tests

test-torch: $(TORCH)/.ready  ## tests of the app that needs PyTorch, in an environment of its own
	@$(TORCH)/bin/python -m pytest -n 0 -m torch tests/training

bench: $(READY)  ## speed, as ratios taken in one run -> out/bench.json [ONLY=glm,km] [LARGE=1]
	@$(VENV)/bin/python -m bench $(if $(ONLY),--only "$(ONLY)") $(if $(LARGE),--large)

reference: $(READY)  ## cases through real nodes against R's answers: CASES=folder [OUT=file.json] [ONLY=regex]
	@$(VENV)/bin/python -m conformance "$(or $(CASES),tests/reference)" $(if $(OUT),--out "$(OUT)") $(if $(ONLY),--only "$(ONLY)")

training: $(READY)  ## a model over real nodes beside each country alone and all pooled: CASES=a case's folder
	@$(VENV)/bin/python -m conformance.training "$(or $(CASES),tests/reference/p13_cox_rotterdam_gbsg)"

attacks: $(READY)  ## the catalogue of attacks on real processes [ONLY=numbers or regex] [OUT=file.json]
	@$(VENV)/bin/python -m attacks $(if $(ONLY),--only "$(ONLY)") $(if $(OUT),--out "$(OUT)")

check: $(READY)  ## format, lint, types, every branch of the one door, contract, wheel
	@bash .ci/checks

format: $(READY)
	@$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix .

contract: $(READY)  ## regenerate the modules of the contract
	@bash proto/generate proto

lock:  ## resolve the pins again (needs uv)
	uv pip compile pyproject.toml --extra dev --generate-hashes --no-header --no-annotate -p 3.11 -o requirements/dev.txt
	uv pip compile pyproject.toml --generate-hashes --no-header --no-annotate -p 3.11 -c requirements/dev.txt -o requirements/run.txt
	uv pip compile pyproject.toml --extra train --generate-hashes --no-header --no-annotate -p 3.11 -c requirements/dev.txt -o requirements/train.txt

$(READY): requirements/dev.txt pyproject.toml
	@echo "setting up the environment (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

$(TORCH)/.ready: $(READY)
	@echo "setting up the environment with PyTorch (once)"
	@$(VENV)/bin/python -m conformance.environment $(TORCH) torch==2.13.0
	@touch $@

clean:
	rm -rf $(VENV) $(TORCH) out dist .pytest_cache .mypy_cache .ruff_cache
