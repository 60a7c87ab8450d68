# `make demo` and `make test` need Python 3.11, pip and make: no GPU, no model hub.
#
#   PYTHON       the interpreter to build the environment with
#   VENV         where the environment goes
#   TORCH_INDEX  where torch comes from; empty: pip's default index. For a CPU build on any machine
#                https://download.pytorch.org/whl/cpu, for CUDA 13.0 https://download.pytorch.org/whl/cu130
PYTHON ?= python3.11
VENV ?= .venv
TORCH_INDEX ?=

# torch is pinned in every call: a package that asks for a newer one would bring gigabytes of CUDA.
TORCH := torch==2.13.0
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt $(TORCH)
RUN := RAY_AUTH_MODE=disabled PATH="$(abspath $(VENV))/bin:$$PATH"

.PHONY: demo test lint clean

demo: $(VENV)/core.stamp
	$(RUN) $(VENV)/bin/utr demo

test: lint
	$(RUN) $(VENV)/bin/python -m pytest -m "not slow and not gpu and not soak"

lint: $(VENV)/dev.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis

$(VENV)/core.stamp: pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(PIP) --editable .
	touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	$(PIP) --editable ".[dev]"
	touch $@
