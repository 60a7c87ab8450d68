"""What a training run exports, in vLLM: the trained model, not the one it began with. Needs vLLM: pytest -m vllm."""

from pathlib import Path

import numpy as np
import pytest

from stages.algorithms.tpl import contexts
from stages.models.checkpoint import find
from stages.models.load import load_scorer
from stages.models.protocols import Reading
from stages.models.transformers_scorer import TransformersScorer
from stages.models.vllm_load import blueprint, load_vllm_scorer, prepared
from tests.train.launch import launch
from tests.vllm.checkpoints import checkpoint
from tests.vllm.test_agreement import TARGETS, TIMES, TINY_FLOOR

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default"), pytest.mark.timeout(600)]

FRAMES_THWC = np.random.default_rng(0).integers(0, 256, (5, 60, 90, 3), dtype=np.uint8)
PUBLISHED = "llava_onevision as published"


def begun(kind: str, folder: Path) -> str:
    """A checkpoint to train: as transformers writes it, or with the names and processors of a published OneVision."""
    found = find(str(checkpoint(kind.split()[0], folder)))
    return prepared(found, blueprint(found, dtype="float32", max_pixels=None)) if kind == PUBLISHED else found.path


def read(scorer: TransformersScorer) -> list[Reading]:
    return scorer.watch(FRAMES_THWC, TIMES).read(TARGETS, contexts(5, shuffles=1, key="k"))


def gap(some: list[Reading], others: list[Reading]) -> float:
    """The largest of a token, in nats."""
    rows = [pair for a, b in zip(some, others, strict=True) for pair in zip(a.logprob, b.logprob, strict=True)]
    return max(float(np.abs(a - b).max()) for a, b in rows)


@pytest.mark.parametrize("kind", ["llava_onevision", PUBLISHED, "qwen2_5_vl"])
def test_an_export_is_the_trained_model_in_vllm(kind: str, tmp_path: Path) -> None:
    init, run = begun(kind, tmp_path / "init"), tmp_path / "run"
    launch(tmp_path, 1, [{"run": str(run), "checkpoint": init, "steps": 2, "exports": True}])
    export = str(run / "export")
    family = blueprint(find(export), dtype="float32", max_pixels=None)
    opened_as_it_is = prepared(find(export), family) == export
    assert opened_as_it_is == (kind != "llava_onevision")
    scorer = load_vllm_scorer(export)
    try:
        theirs = read(scorer)
    finally:
        scorer.close()
    assert gap(theirs, read(load_scorer(export))) <= TINY_FLOOR
    assert gap(theirs, read(load_scorer(init))) > 100 * TINY_FLOOR
