# make demo   set up and play the demo (no GPU, key or network beyond the package registry)
# make test   set up and pass the tests
# make check  tests' companions: format, lint, types, import rules
PYTHON ?= python3.11
VENV   ?= .venv
# A CUDA build is several gigabytes: on a machine with a GPU set e.g. TORCH=torch==2.13.0 and an index of your own.
TORCH  ?= torch==2.13.0

BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: setup demo test check format lock doctor clean

setup: $(READY)

# Everything is pinned and installed without its declared dependencies: torchvision (a CUDA build that breaks
# every import of transformers beside a CPU torch) and nvidia-nccl-cu12 (469 MB) never get in that way.
$(READY): requirements/lock.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; set PYTHON=/path/to/python3.11 (or 3.12)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c requirements/lock.txt "$(TORCH)"
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements/lock.txt
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/agent-runner doctor
	@touch $@

demo: setup
	$(BIN)/agent-runner demo

test: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:
	./requirements/relock.sh "$(PYTHON)" "$(TORCH)"

doctor: setup
	$(BIN)/agent-runner doctor

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
