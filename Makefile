# Everything runs in .venv, which `make install` makes; nothing else is needed than Python 3.11 to 3.13 and make.
# Another Python beside it: make PYTHON=python3.12 VENV=.venv312 test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The CPU build of torch, where pip knows one for this Python, must come first: else pip fetches gigabytes of CUDA.
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
# Tests run in as many processes as there are cores; make WORKERS=0 test runs them in one.
WORKERS ?= logical
PYTEST := -m pytest -q -n $(WORKERS) --maxprocesses 8 --dist worksteal
# The tests that a second Python runs in CI: all quick ones, and those of Pyserini's door and of the whole way.
QUICK := unit or property
DOOR := tests/compat tests/test_pipeline.py tests/test_signals.py tests/test_package.py tests/benchmarks/test_search.py

.PHONY: help install demo test quick fuzz check docs wheel clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## make .venv with all that demo, tests and checks need

$(STAMP): pyproject.toml setup.py constraints.txt $(wildcard pyserini_jpq/scan/src/*)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}; try make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python .ci/size_of.py $(TORCH)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[cpu,demo,dev]"
	@touch $@

demo: $(STAMP) ## BM25, flat, OPQ and JPQ side by side on the documentation of Python's standard library
	$(BIN)/python -m demo

fuzz: $(STAMP) ## damage every kind of file at random for ten minutes, or PYSERINI_JPQ_FUZZ_SECONDS
	PYSERINI_JPQ_FUZZ_SECONDS=$${PYSERINI_JPQ_FUZZ_SECONDS:-600} $(BIN)/python -m pytest -q tests/fuzz

test: $(STAMP) ## all tests, with coverage
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run $(PYTEST)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --skip-covered --fail-under=90

quick: $(STAMP) ## the tests that CI runs on a second Python
	$(BIN)/python $(PYTEST) -m "$(QUICK)"
	$(BIN)/python $(PYTEST) -m "not ($(QUICK))" $(DOOR)

check: $(STAMP) ## ruff, mypy and import-linter, as pre-commit runs them
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pre_commit run --all-files --show-diff-on-failure

docs: $(STAMP) ## the guides and the reference as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

wheel: $(STAMP) ## an sdist and a wheel with the compiled scan, in dist/
	$(BIN)/python -m build --outdir dist .
	@if $(BIN)/python -c 'import sys; sys.exit(sys.platform != "linux")'; then .ci/manylinux $(BIN); fi

clean: ## remove what demo and tests made, and .venv
	rm -rf $(VENV) pyserini_jpq/scan/_native*.so runs/demo embeddings/demo indexes/demo.* encoders/demo.*/ collections/demo build dist site *.egg-info
