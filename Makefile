# Each target does all of its own set-up.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
REFERENCES := .venv/.references
DOCS := .venv/.docs

.PHONY: setup demo flower-demo flare-demo test-deploy test coverage check format docs wheel bench bench-peers clean reference

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sparsefed needs Python 3.11 or later, found $$($(PYTHON) -V); try make PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "python3 -m venv failed: on Debian, install the package python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "torch" --editable ".[dev]"
	@touch $@

demo: $(STAMP)  ## under a minute, on data that ships with scikit-learn
	@$(BIN)/sparsefed demo

# Without --no-deps pip would replace some of our packages with older ones, and torch with a larger build.
$(REFERENCES): $(STAMP) tests/requirements-reference.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement tests/requirements-reference.txt && touch $@ || echo "not installed: tests/requirements-reference.txt; the tests that need it will be skipped"

# A process per core, each with one thread; a file's tests stay together, so that they share what they set up.
test: $(REFERENCES)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

coverage: $(REFERENCES)  ## branch coverage by file; what is not covered is explained in CONTRIBUTING.md
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --cov=sparsefed --cov-branch --cov-report=term-missing:skip-covered

check: $(STAMP)
	@$(BIN)/ruff format --check --quiet . || { echo "run make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/basedpyright --level error
	@$(BIN)/codespell
	@$(BIN)/lint-imports --no-logo > .venv/.imports 2>&1 || { cat .venv/.imports; exit 1; }

format: $(STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(DOCS)  ## the site in build/docs: offline, warnings are errors, links between pages are checked
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs build/docs && echo "open build/docs/index.html"

reference: $(STAMP)  ## docs/reference.md, from the docstrings
	@$(BIN)/python -m sparsefed.cli.reference > docs/reference.md

$(DOCS): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	@touch $@

wheel: $(STAMP)  ## dist/sparsefed-VERSION-py3-none-any.whl
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist . && ls dist/*.whl

bench: $(STAMP)
	@$(BIN)/python -m benchmarks

bench-peers: .venv-bench/.ready  ## the same, compared with other packages, in a separate environment
	@.venv-bench/bin/python -m benchmarks

# byzfl requires torchvision, which would replace torch; the measured rules work without it.
.venv-bench/.ready: pyproject.toml benchmarks/requirements.txt
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --editable . --requirement benchmarks/requirements.txt
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps byzfl==0.0.11
	@touch $@

# Flower requires older releases of packages that we pin: it lives in an environment of its own, with FLARE.
.venv-deploy/.ready: pyproject.toml tests/constraints-deploy.txt
	@test -x .venv-deploy/bin/python || $(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/constraints-deploy.txt torch --editable ".[cluster,flare,flower]" psutil pytest hypothesis
	@touch $@

flower-demo: .venv-deploy/.ready  ## five SuperNodes, one malicious: plain FedAvg falls, SparseFed holds
	@rm -rf build/flower-demo
	@.venv-deploy/bin/python examples/flower/demo.py build/flower-demo

flare-demo: .venv-deploy/.ready  ## the same in NVIDIA FLARE's simulator
	@rm -rf build/flare-demo
	@.venv-deploy/bin/python examples/flare/job.py build/flare-demo

MARK ?= slow or not slow
test-deploy: .venv-deploy/.ready  ## the adapters to other frameworks, with real processes
	@OMP_NUM_THREADS=1 .venv-deploy/bin/python -m pytest -m "$(MARK)" tests/server tests/flower tests/flare tests/test_torchrun.py tests/test_cluster.py

clean:
	rm -rf .venv .venv-bench .venv-deploy build dist .pytest_cache .ruff_cache .hypothesis
