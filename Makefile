# `make book` and `make test` are all a reader needs; `make help` lists the rest. Runs with GNU make 3.81, macOS's own.

PROFILE ?= smoke
CORES ?= all
# More for Snakemake, such as `--executor slurm --jobs 20`.
SNAKEMAKE_FLAGS ?=
# The first of these that is Python 3.11 to 3.13 makes the environment.
PYTHON ?= python3 python3.13 python3.12 python3.11

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
LOGS := _build/logs

# Checkpoints and smoke records stay in the clone.
MTLUTILS_CACHE ?= $(CURDIR)/.cache
export MTLUTILS_CACHE
# The kernel named python3 must be this environment's, whatever else the user has installed under that name.
export JUPYTER_PREFER_ENV_PATH := 1
unexport JUPYTER_PATH PYTHONPATH PYTHONHOME
# Python keeps what it has compiled: else every process that imports PyTorch takes about twice as long to start.
unexport PYTHONDONTWRITEBYTECODE
# One thread a job, as Snakemake sets it too: numbers then do not depend on how many cores the machine has.
export OMP_NUM_THREADS := 1
# For what Snakemake's jobs call by name.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# mtime and input only: Snakemake's other triggers would run a job again because its rule was edited.
# nolock: a killed run would leave its lock behind, and every later one would stop at it.
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) --nolock --rerun-incomplete --rerun-triggers mtime input
# tests/conftest.py has the order of the files.
PYTEST := $(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: book test lint notebooks bench links pdf archive lock clean help

book: $(READY)  ## run the notebooks and build the site; PROFILE=cpu or paper first trains what has no record
	@mkdir -p $(LOGS)
	@$(SNAKEMAKE) --config profile=$(PROFILE) $(SNAKEMAKE_FLAGS) 2>$(LOGS)/snakemake.log || { \
		grep -q CalledProcessError $(LOGS)/snakemake.log || cat $(LOGS)/snakemake.log >&2; exit 1; }
	@echo "The book: $(CURDIR)/_build/html/index.html"

test: lint book  ## lint, build the book, check the verdicts, run every test and validate every notebook
	@$(BIN)/python -m mtlutils claims check
	@# with the runs that the book has just made, since nothing that nbval compares comes from training
	@$(PYTEST) notebooks --nbval-lax --nbval-current-env --nbval-cell-timeout=600
	@cache=$$(mktemp -d) && trap 'rm -rf "$$cache"' EXIT && MTLUTILS_CACHE=$$cache $(PYTEST) tests

lint: $(READY)  ## ruff and mypy
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy

notebooks: $(READY)  ## run every notebook in place with its defaults, keeping outputs only in cells tagged keep_output
	$(BIN)/jupyter-execute --inplace notebooks/*.ipynb
	$(BIN)/nbstripout --keep-count --extra-keys metadata.language_info notebooks/*.ipynb  # nbval wants the counts

bench: $(READY)  ## measure what a training step and its data cost, as ratios within one run
	@set -e; for script in $(filter-out %/turns.py,$(sort $(wildcard benchmarks/*.py))); do echo "== $$script"; $(BIN)/python $$script; done

links: book  ## check every link to another site; needs the network
	$(BIN)/jupyter-book build _build/stage --path-output _build/links --builder linkcheck

pdf: book  ## print the book to _build/mtl-companion.pdf, through the system's Chromium
	@$(BIN)/python book/print.py

archive: book  ## pack the built book, its records, their metadata and checksums into one file
	@$(BIN)/python book/archive.py

lock: $(READY)  ## rewrite requirements.lock from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --quiet -o requirements.lock

clean:  ## remove what `make book` built; the environment and the cached runs stay
	rm -rf _build .snakemake

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*  ## /\1	/p' Makefile

# The environment equals the lock, hash for hash; uv itself comes from there too. READY is a copy of the lock that was
# installed, so that a pyproject.toml touched by a checkout asks the network for nothing.
$(READY): requirements.lock pyproject.toml
	@set -e; python=; start=$$(date +%s); \
	for candidate in $(PYTHON); do \
		if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
		then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "make: no Python 3.11 to 3.13 among: $(PYTHON) (set PYTHON=...)" >&2; exit 1; fi; \
	if ! $(BIN)/python -c pass 2>/dev/null; then $$python -m venv --clear $(VENV); fi; \
	if ! cmp -s requirements.lock $@; then \
		echo "Installing what requirements.lock names into $(VENV) (minutes and gigabytes the first time) ..."; \
		sed -n '/^uv==/,/[^\]$$/p' requirements.lock > $(VENV)/uv.txt; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt; \
		quiet=; [ -t 2 ] || quiet=--quiet; \
		$(BIN)/uv pip sync $$quiet --python $(BIN)/python --require-hashes requirements.lock; \
	fi; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	cp requirements.lock $@; \
	echo "$$(($$(date +%s) - start)) s  set-up"
