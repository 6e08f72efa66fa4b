# Each target first builds .venv from requirements.lock; it is built again when that changes, and
# when the checkout was moved: the scripts in .venv hold its path.
PYTHON ?= python3
BIN := .venv/bin
BUILT := .venv/.built-$(shell pwd | cksum | cut -d " " -f 1)

SETS := cifar100-lt imagenet-lt inaturalist2018 iwildcam
FORMAT ?= text
ATTACK_TRIALS ?= 10
LONG_MINUTES ?= 0
LONG_SEED ?= random
BENCHMARKS ?= benchmarks
# DVC refuses stages that another of its commands works on, and what a killed one left half-written.
DVC := $(BIN)/python .dvc/alone.py $(BIN)/dvc --wait-for-lock

.PHONY: venv compare repro smoke check test browser test-long bench docs rehearsal paper-smoke lint \
	format clean

venv: $(BUILT)

compare: $(BUILT)
	$(BIN)/harness compare --dataset cifar100-lt
	$(DVC) commit -q -f $(addsuffix @cifar100-lt,index hard generate score train)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(DVC) repro -q -s table@table2

# `dvc repro`, also after one that was killed. ARGS: its options and stages.
repro: $(BUILT)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(DVC) repro $(ARGS)

smoke: $(BUILT)
	set -e; for set in $(SETS); do $(BIN)/harness compare --profile smoke --dataset $$set; done

check: $(BUILT)
	@$(BIN)/harness check --profile smoke --format $(FORMAT)

# Browser tests are skipped without Chromium, and say so; BROWSER=required fails instead.
test: lint browser
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -rs -n 2 --dist loadfile --max-worker-restart 0 -m "not long"

browser: $(BUILT)
	@$(BIN)/python tests/builders/browser.py

# Slow tests, and more trials of each attack (ATTACK_TRIALS; ATTACK_SEED chooses others). The order
# is random; LONG_SEED repeats one. LONG_MINUTES: skip tests that would start later; 0: no limit.
test-long: $(BUILT)
	ATTACK_TRIALS=$(ATTACK_TRIALS) OMP_NUM_THREADS=1 $(BIN)/pytest -q -rs -n 2 --dist worksteal \
		--max-worker-restart 0 -m "long or attack" --minutes $(LONG_MINUTES) --order $(LONG_SEED)

bench: $(BUILT)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q $(BENCHMARKS) --benchmark-enable -o python_files='bench_*.py' \
		--benchmark-columns=min,mean,rounds --benchmark-autosave --benchmark-storage=.benchmarks

# Not --quiet, which also hides warnings from --strict.
docs: $(BUILT)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Every stage and row of Tables 1 to 5 with the real architectures and random weights.
# ARGS: --tables table2, --device cuda, --full.
rehearsal: $(BUILT)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/rehearsal.py $(ARGS)

# With one GPU, the published weights and CIFAR-100; meant to take under an hour, not run so far.
# ARGS: --root FOLDER.
paper-smoke: $(BUILT)
	$(BIN)/python benchmarks/paper_smoke.py $(ARGS)

lint: $(BUILT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(BUILT)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BUILT): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(BIN)/pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/pip install -q -r requirements.lock
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	@touch $@
