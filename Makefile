# Two commands do everything: `make demo` and `make test`. Both install into .venv first, once, and
# again when pyproject.toml or constraints.txt change.

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# The interpreter for a new .venv: `make demo PYTHON=python3.13` names another.
PYTHON ?= python3

.PHONY: help demo test check bench rivals clean

help:
	@echo "make demo    install, then train, evaluate and explain on synthetic radiographs"
	@echo "make test    install, then run everything that CI checks (scripts/check)"
	@echo "make check   the same without the slow tests"
	@echo "make bench   install what peers need, then measure every speed beside theirs: docs/results/bench.md"
	@echo "make rivals  install ShortKit-ML, then ask it and hurdles about the same networks: docs/results/rivals.md"
	@echo "make clean   remove .venv, caches and build products"

demo: $(VENV)/.installed
	$(BIN)/hurdles demo

test: $(VENV)/.installed-dev
	scripts/check

check: $(VENV)/.installed-dev
	scripts/check --fast

# An environment of its own: peers bring TensorFlow, which nothing else here needs.
bench: $(VENV)-bench/.installed
	$(VENV)-bench/bin/python bench/speed

# Another one: ShortKit-ML needs NumPy 1, and Python 3.10 to 3.12 (PYTHON_OF_RIVAL names one).
PYTHON_OF_RIVAL ?= $(PYTHON)
rivals: $(VENV)/.installed $(VENV)-rivals/.installed
	$(BIN)/python bench/rivals --out runs/rivals --peer $(VENV)-rivals/bin/python

clean:
	rm -rf $(VENV) $(VENV)-bench $(VENV)-rivals build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "hurdles needs Python 3.11 or newer, and '$(PYTHON)' is not:" \
	    "$$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON)' cannot make a virtual environment. On Debian and Ubuntu the package" \
	    "python3-venv is missing." >&2; \
	  exit 1; }

# A stamp is written last, so an install that was cut off is done again. The interpreter itself is
# order-only: its date says nothing about what is installed.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing hurdles into $(VENV) (about 2 GB with PyTorch; minutes, once)"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing hurdles and its tools into $(VENV) (about 2 GB with PyTorch; minutes, once)"
	@$(INSTALL) -e ".[dev]"
	@touch $(VENV)/.installed $@

$(VENV)-bench/.installed: pyproject.toml constraints.txt
	@echo "Installing hurdles and its peers into $(VENV)-bench (about 4 GB, minutes, once)"
	@$(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	@touch $@

$(VENV)-rivals/.installed: bench/peers/shortkit.txt
	@echo "Installing ShortKit-ML into $(VENV)-rivals (several GB: its PyTorch comes with CUDA; minutes, once)"
	@$(PYTHON_OF_RIVAL) -m venv $(VENV)-rivals
	@$(VENV)-rivals/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers/shortkit.txt
	@touch $@
