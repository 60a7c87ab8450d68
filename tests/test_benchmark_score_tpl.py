"""The counts behind benchmarks/score_tpl.py: by hand, and of the engine on a tiny model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.score_tpl import MOST_FLOPS
from benchmarks.tpl_clip import Clip, draw_targets, peak_mb, watched_run
from benchmarks.tpl_cost import KEY_BLOCK, Cost, counted
from benchmarks.tpl_models import QUICK, SMALL, build
from stages.models.onevision import OneVision

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def family() -> OneVision:
    torch.set_num_threads(1)
    return build(QUICK)


def test_minimum_by_hand() -> None:
    cost = Cost(frame=1000, token=10, pair=1, logit=100)
    frames, prefixes = 2 * 1000, (3 + 1) * 10 + (6 + 1)  # 1 + 2 + 3 pairs in a prefix of three tokens
    read = 2  # of the branch's three tokens: the last predicts nothing
    branches = 2 * (read * 10 + 100) + (read * 3 + 3) + (read * 1 + 3)  # each sees its prefix and itself
    assert cost.minimum(2, [3, 1], [3], [1]) == frames + prefixes + branches


def test_the_formula_gives_what_experiments_promise() -> None:
    cost = Cost(frame=50, token=1, pair=0, logit=0)
    ratios = [np.divide(*cost.formula(32, 196, 60, m)) for m in (4, 8)]
    np.testing.assert_allclose(ratios, [3.2, 4.7], atol=0.1)


@pytest.mark.parametrize(("size", "causal"), [(64, False), (64, True), (1300, True)])
def test_attention_is_counted_as_the_kernel_takes_it(size: int, causal: bool) -> None:
    x = torch.zeros(2, 3, size, 16)
    with counted() as flops, torch.inference_mode():
        torch.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=causal)
    pairs = flops.get_total_flops() / (2 * 3 * 4 * 16)
    if not causal or size <= KEY_BLOCK:
        assert pairs == size * size
    else:
        assert size * (size + 1) / 2 < pairs < size * (size + 1) / 2 + size * KEY_BLOCK


def test_linear_layers_are_counted_in_inference_mode() -> None:
    with counted() as flops, torch.inference_mode():
        torch.nn.Linear(8, 5)(torch.zeros(3, 8))
    assert flops.get_total_flops() == 2 * 3 * 8 * 5


def test_engine_is_near_the_minimum_and_says_what_naive_calls_say(family: OneVision) -> None:
    clip, texts = Clip.draw(family, 2, seed=1), draw_targets(family, 60, 3)
    engine = watched_run(lambda: clip.engine(texts), 1)
    naive = watched_run(lambda: clip.naive(texts), 1)
    minimum = clip.minimum(Cost.of(family), texts)
    assert minimum <= engine.flops <= MOST_FLOPS * minimum
    assert naive.flops > 1.5 * engine.flops
    for want, got in zip(naive.found, engine.found, strict=True):
        assert max(np.abs(a - b).max() for a, b in zip(want, got, strict=True)) < 1e-5


@pytest.mark.parametrize("length", [60, 200])
def test_texts_have_the_length_that_was_asked_for(family: OneVision, length: int) -> None:
    assert {len(family.branch(t.question, t.answer).token_id) for t in draw_targets(family, length, 3)} == {length}


def test_a_frame_of_the_small_model_costs_fifty_tokens() -> None:
    cost = Cost.of(build(SMALL))
    assert cost.frame / cost.token == pytest.approx(50, abs=1)


def test_memory_of_a_run_is_seen() -> None:
    found, peak = peak_mb(lambda: np.ones(2**23).sum())  # 64 MB
    assert found == 2**23
    assert np.isnan(peak) or 55 < peak < 90


def test_on_a_gpu_machine_torch_and_transformers_suffice() -> None:
    code = (
        "import sys\n"
        "for name in ('pyarrow', 'av', 'ray', 'cv2', 'polars', 'scenedetect', 'pydantic', 'typer'):\n"
        "    sys.modules[name] = None\n"
        "import benchmarks.tpl_gpu as gpu\n"
        "gpu.GRID, gpu.RUNS = ((40, 2),), 1\n"
        "(cell,) = gpu.measure('quick', 'cpu', 'fp32', 2)['cells']\n"
        "assert cell['clips_per_s'] > 0 and cell['mfu'] is None, cell\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stderr
