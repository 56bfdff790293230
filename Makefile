# make demo   run continuous-rotation electron diffraction on a simulated microscope
# make test   run all tests but the long ones, and the checks of the code
# make long   run the long tests, and those with programs of others (make counterparts installs these)
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) 2>/dev/null)))
BIN = .venv/bin
PYTEST = $(BIN)/python -m pytest -q
# More processes than processors, for tests wait: for the real clock, and for programs that they start. A file of tests
# stays in one process, with what its tests share; one that ends its process would be begun anew without end.
SHARED_OUT = --dist loadfile --max-worker-restart 1
IN_FIVE = --numprocesses 5 $(SHARED_OUT)
IN_FOUR = --numprocesses 4 --no-loadscope-reorder $(SHARED_OUT)

# Compiled modules are kept even where the environment says no (PYTHONDONTWRITEBYTECODE): else each of the programs that
# tests start compiles all of them anew, and each process of pytest rewrites all tests.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test quick check style types imports long counterparts bench golden clean

demo: .venv/installed
	$(BIN)/credline run cred --config examples/demo.toml --out runs --accept-timing

# All at once: mypy alone would leave a processor idle for a minute.
test: .venv/installed-dev
	$(MAKE) --no-print-directory --jobs 4 types style imports quick

quick: .venv/installed-dev
	$(PYTEST) $(IN_FIVE) -m "not long and not counterpart"

long: .venv/installed-dev
	$(PYTEST) $(IN_FOUR) -m "long or counterpart"

counterparts: .counterparts/installed .venv/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dectris]"

.counterparts/installed: counterparts.txt
	$(PYTHON) -m venv .counterparts
	.counterparts/bin/python -m pip install --quiet --disable-pip-version-check --requirement counterparts.txt
	touch $@

# Side by side, for mypy takes far longer than the others, and one processor.
check: .venv/installed-dev
	$(MAKE) --no-print-directory --jobs 2 types style imports

style: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-dev
	$(BIN)/mypy

imports: .venv/installed-dev
	$(BIN)/lint-imports

bench: .venv/installed-dev
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/timing.py
	$(BIN)/python -m benchmarks.trackingtiming
	test ! -e .counterparts/installed || $(BIN)/python -m benchmarks.peer
	$(BIN)/python benchmarks/virtual.py
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/watchdog.py
	$(BIN)/python benchmarks/longrun.py virtual
	$(BIN)/credline soak cred --seeds 10000
	$(BIN)/python benchmarks/kills.py --kills 200
	$(BIN)/python -m benchmarks.stops --runs 150
	$(BIN)/python -m benchmarks.fuzz --inputs 100000
	$(BIN)/python -m benchmarks.crystals --set all
	$(BIN)/python benchmarks/zones.py
	$(BIN)/python benchmarks/zonesframes.py
	$(BIN)/python -m benchmarks.screening
	$(BIN)/credline zones evaluate --cells 4

# After a deliberate change of what a run records (docs/testing.md).
golden: .venv/installed-dev
	$(PYTEST) --credline-renew-golden tests/protocols/cred/test_golden.py

.venv/bin/python:
	@echo "making .venv and installing credline there: a minute the first time"
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

# Also what `.venv/installed` is of: one call of pip instead of two.
.venv/installed-dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch .venv/installed $@

clean:
	rm -rf .venv .counterparts build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
