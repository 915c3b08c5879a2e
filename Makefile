# `make help` lists the targets. VENV=… and PYTHON=… choose another environment and interpreter.
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# Tests wait more than they compute, so a few more processes than a small machine has cores pay off.
PYTEST_PROCESSES ?= 4
# A browser has several processes of its own.
E2E_PROCESSES ?= 2
FAULTS_ARGS ?=
# Of the runs in `make faults`: orders of events, and disconnects of streams.
MACHINE_EXAMPLES ?= 100
STREAM_CUTS ?= 1000
MUTANT_PROCESSES ?= 1
# How many of the least covered modules `make coverage` prints.
COVERAGE_ROWS ?= 15
# Rows of `make bench`, all if empty, and further options: BENCH_ARGS="--against benchmarks/runs/FILE.json".
ONLY ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
# The files that the tests ran with: pip refuses a file with another hash.
INSTALL_LOCKED := $(BIN)/python -m pip install --quiet --require-hashes --no-deps
# An editable package has no hash, and neither has torch, which each machine has in another build. Both come second, with
# the build tools of the first step.
INSTALL := $(BIN)/python -m pip install --quiet --constraint tests/constraints.txt --no-build-isolation
# A stamp is written when the installation has succeeded: a second `make test` installs nothing.
EMBEDDED := $(VENV)/.installed-embedded
DEV := $(VENV)/.installed-dev
# In the order of tests/conftest.py: the longest files come first, so that no process is left with one at the end.
TEST := $(BIN)/pytest -m "not e2e" --numprocesses $(PYTEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations 15
COVERAGE := build/coverage
LOWEST_MEDIA := build/lowest-media
LOWEST := build/lowest
NEWEST := build/newest
# What the lowest and the newest versions are tried with: every layer once, in a few minutes.
VERSIONS_TESTS ?= tests/unit $(wildcard tests/integration/test_media_*.py tests/integration/test_api_*.py) \
  tests/integration/test_fleet_reels.py tests/integration/test_storage_store.py tests/integration/test_engine_families.py
UV_VERSION := 0.13.9
UV := build/uv/bin/uv
RELEASE := build/release
MERMAID_VERSION := $(shell sed -n 's/.*"mermaid": "\(.*\)".*/\1/p' docs/package.json)
MERMAID := build/mermaid/$(MERMAID_VERSION).js
# Where containers say that nothing is compiled for later, each of the tests' many processes would compile Phoenix again.
export PYTHONDONTWRITEBYTECODE :=
# Debian keeps nginx where only root's PATH looks.
export PATH := $(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := help
.PHONY: help demo test coverage test-media-lowest test-lowest test-newest test-e2e faults fuzz bench bench-page check unit lint fmt env-example openapi proto studio-pictures models-table mutants docs pins locks audit sbom packages npm-package clean

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

test-media-lowest: $(LOWEST_MEDIA)/.installed ## Run the media tests with the lowest versions that the `media` extra admits
	$(LOWEST_MEDIA)/bin/python -m pytest --numprocesses $(PYTEST_PROCESSES) --dist loadfile $(PYTEST_ARGS) \
	  tests/unit/media $(wildcard tests/integration/test_media_*.py)

# A library of the past may warn of another one of today, so warnings of deprecation are no errors here.
test-lowest: $(LOWEST)/.installed ## Run the quick tests with the lowest versions that pyproject.toml admits
	$(LOWEST)/bin/python -m pytest -W default::DeprecationWarning --numprocesses $(PYTEST_PROCESSES) --dist loadfile \
	  $(PYTEST_ARGS) $(VERSIONS_TESTS)

test-newest: $(NEWEST)/.installed ## Run the quick tests with the newest versions that pyproject.toml admits
	$(NEWEST)/bin/python -m pytest -W default::DeprecationWarning --numprocesses $(PYTEST_PROCESSES) --dist loadfile \
	  $(PYTEST_ARGS) $(VERSIONS_TESTS)

test-e2e: $(DEV) ## Run the tests that need the packages of tests/system-packages.txt
	@missing=$$(while read -r package; do command -v "$$package" >/dev/null || echo "$$package"; done < tests/system-packages.txt); \
	if [ -n "$$missing" ]; then \
	  echo "These system packages are missing:" $$missing >&2; \
	  echo "On Debian or Ubuntu: apt-get install" $$missing >&2; exit 1; fi
	$(BIN)/pytest -m e2e --numprocesses $(E2E_PROCESSES) --dist loadfile $(PYTEST_ARGS) tests/e2e

faults: $(DEV) ## Run 200 jobs under random faults and prove that none is lost; FAULTS_ARGS="--seed 7 --jobs 50"
	PYTHONPATH=src:tests $(BIN)/python -m faults $(FAULTS_ARGS)
	@# What `make test` also does, with more draws.
	MACHINE_EXAMPLES=$(MACHINE_EXAMPLES) STREAM_CUTS=$(STREAM_CUTS) $(BIN)/pytest --quiet \
	  tests/unit/jobs/test_lifecycle_machine.py \
	  tests/integration/test_streams_of_replicas.py::test_disconnects_over_two_replicas_lose_and_repeat_nothing_and_take_nothing_back

fuzz: $(DEV) ## Send 10,000 odd requests with several keys, and prove that none breaks the server or leaks; FUZZ_ARGS="--seed 7 --cases 500"
	PYTHONPATH=src:tests $(BIN)/python -m fuzz $(FUZZ_ARGS)

bench: $(DEV) ## Measure Phoenix against its peers and limits, in one table; ONLY="post stream-nchan" BENCH_ARGS=--help
	PYTHONPATH=benchmarks $(BIN)/python -m suite --only "$(ONLY)" $(BENCH_ARGS)

bench-page: $(DEV) ## Do `make bench`, save the run into benchmarks/runs, and write the table of docs/performance.md from it
	PYTHONPATH=benchmarks $(BIN)/python -m suite --page $(BENCH_ARGS)

check: $(DEV) ## Lint, types, import contracts, unit and architecture tests; what to run before a commit
	@# The types take a core for a while, and then the tests have both.
	@$(MAKE) --no-print-directory --jobs 2 lint unit

unit: $(DEV)
	@# Of the orders of events, each takes seconds. `make test` draws four times as many.
	MACHINE_EXAMPLES=5 $(BIN)/pytest --quiet --numprocesses 2 --dist loadfile tests/unit tests/architecture $(PYTEST_ARGS)

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

proto: $(DEV) ## Write the modules of src/phoenix/frames/v1 anew from frames.proto
	$(BIN)/python deploy/frames_proto.py

studio-pictures: $(DEV) ## Take the pictures of docs/studio.md anew, in Chromium on a server of their own
	PYTHONPATH=src:tests $(BIN)/python tests/studio_pictures.py

models-table: $(DEV) ## Write the tables of docs/models.md anew from the catalog and the classes of diffusers
	WRITE_MODELS_TABLE=1 $(BIN)/pytest --quiet tests/unit/catalog/test_models_page.py tests/integration/test_engine_classes.py

mutants: $(DEV) ## Change the pure decisions in hundreds of ways, one at a time, and list the changes that no test notices
	nice $(BIN)/mutmut run --max-children $(MUTANT_PROCESSES)
	@$(BIN)/mutmut results --all true | sed -n 's/^ *\(phoenix[.a-z_]*\)\.x.*: \(.*\)/\1 \2/p' | sort | uniq -c
	@$(BIN)/mutmut results

docs: $(DEV) $(MERMAID) ## Build the documentation site into build/docs, and fail at any warning
	$(BIN)/python deploy/docs_site.py --mermaid $(MERMAID) --into build/docs

pins: $(DEV) ## Write tests/constraints.txt anew from what is installed, and the locks from it
	{ echo '# Every version that the tests ran with; used by `make demo` and `make test`. Written by `make pins`.'; \
	  $(BIN)/python -m pip list --format=freeze --exclude-editable | grep -v '^pip==' | sed 's/+cpu$$//' | sort -f; } > $(VENV)/pins
	mv $(VENV)/pins tests/constraints.txt
	@$(MAKE) --no-print-directory locks
	@touch $(EMBEDDED) $(DEV)

locks: $(UV) ## Write requirements/*.txt and tests/lowest.txt anew from pyproject.toml and tests/constraints.txt
	$(BIN)/python deploy/locks.py $(UV)

audit: $(RELEASE)/.installed ## Look up every locked version of the images in the database of known vulnerabilities
	for lock in api worker runpod build release; do \
	  $(RELEASE)/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements/$$lock.txt || failed=1; done; \
	test -z "$$failed"

packages: $(RELEASE)/.installed ## Build the source distributions of Phoenix and of the Python client, and the wheels from them, into dist/, and check all
	$(RELEASE)/bin/python -m build --no-isolation
	$(RELEASE)/bin/python -m build --no-isolation --outdir dist clients/python
	$(RELEASE)/bin/twine check --strict dist/*

# npm writes `1.2.3-rc.1` for what Python writes `1.2.3rc1`. Its own checkout keeps its version.
npm-package: ## Pack the JavaScript client into build/npm, VERSION=1.2.3
	@rm -rf build/npm && mkdir -p build/npm
	cp -R clients/js build/npm/source && cp -R docs build/npm/docs
	cd build/npm/source && npm install --ignore-scripts --no-audit --no-fund --loglevel=error \
	  && npm version --no-git-tag-version --allow-same-version "$$(echo "$(VERSION)" | sed 's/rc/-rc./')" \
	  && sed -i 's#../../docs/#../docs/#' package.json && npm run types && npm run build \
	  && npm pack --ignore-scripts --pack-destination ..

sbom: $(RELEASE)/.installed ## Write build/sbom/*.cdx.json: what each image installs, in the CycloneDX format
	@mkdir -p build/sbom
	for lock in api worker runpod; do \
	  $(RELEASE)/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
	    --output-file build/sbom/phoenix-$$lock.cdx.json requirements/$$lock.txt; done

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
$(LOWEST_MEDIA)/.installed: $(DEV) tests/lowest-media.txt
	@echo "Installing the lowest versions for media into $(LOWEST_MEDIA) …"
	@rm -rf $(LOWEST_MEDIA)
	$(BIN)/python -m venv $(LOWEST_MEDIA)
	$(LOWEST_MEDIA)/bin/python -m pip install --quiet --no-deps --requirement tests/lowest-media.txt
	@$(BIN)/python -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' \
	  > "$$($(LOWEST_MEDIA)/bin/python -c 'import site; print(site.getsitepackages()[0])')/other-tests.pth"
	@touch $@

# torch has the version of the other tests in both: an old one may have no build for this machine.
$(LOWEST)/.installed: pyproject.toml tests/lowest.txt | $(BIN)/python
	@echo "Installing the lowest versions into $(LOWEST) …"
	@rm -rf $(LOWEST)
	$(BIN)/python -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --no-deps --requirement tests/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet "$$(grep '^torch==' tests/constraints.txt)"
	$(LOWEST)/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

$(NEWEST)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing the newest versions into $(NEWEST) …"
	@rm -rf $(NEWEST)
	$(BIN)/python -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --editable '.[dev]' "$$(grep '^torch==' tests/constraints.txt)"
	@touch $@

$(UV): | $(BIN)/python
	$(BIN)/python -m venv build/uv
	build/uv/bin/python -m pip install --quiet uv==$(UV_VERSION)

$(RELEASE)/.installed: requirements/release.txt requirements/build.txt | $(BIN)/python
	$(BIN)/python -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install --quiet --require-hashes --no-deps \
	  --requirement requirements/release.txt --requirement requirements/build.txt
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Phoenix needs Python 3.11 or newer; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(EMBEDDED): pyproject.toml requirements/build.txt requirements/embedded.txt | $(BIN)/python
	@echo "Installing Phoenix into $(VENV) …"
	$(INSTALL_LOCKED) --requirement requirements/build.txt --requirement requirements/embedded.txt
	$(INSTALL) --editable '.[embedded]'
	@touch $@

$(DEV): pyproject.toml requirements/build.txt requirements/dev.txt | $(BIN)/python
	@echo "Installing Phoenix and its test tools into $(VENV) …"
	$(INSTALL_LOCKED) --requirement requirements/build.txt --requirement requirements/dev.txt
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(EMBEDDED)
