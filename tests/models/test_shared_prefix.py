"""Prefixes that are read once: batches within their budget, and the same numbers whatever the budget is."""

import numpy as np
import pytest
import torch

from benchmarks.tpl_clip import Clip, draw_targets
from benchmarks.tpl_models import QUICK, TOKENS_A_FRAME, build
from stages.models import shared_prefix
from stages.models.family import Shown
from stages.models.onevision import OneVision
from stages.models.prefix import Branch, Prefix

CLOSE = 1e-5  # nats a token


@pytest.fixture(scope="module")
def family() -> OneVision:
    torch.set_num_threads(1)
    return build(QUICK)


@pytest.fixture(scope="module")
def read(family: OneVision):
    """Branches of unequal lengths behind two frames, each, and none, by budget."""
    clip = Clip.draw(family, 2, seed=3)
    with torch.inference_mode():
        features = family.encode(family.pixel.tensor(clip.frames_THWC))
    index = [c.index for c in clip.contexts]
    prefixes = [family.prefix(Shown(i, f"frames {len(i)}"), TOKENS_A_FRAME) for i in index]
    targets = [draw_targets(family, n, 1)[0] for n in (40, 90, 41, 60)]
    branches = [family.branch(t.question, t.answer) for t in targets]

    @torch.inference_mode()
    def run(budget: int, order: slice = slice(None)) -> list[list[np.ndarray]]:
        own = prefixes[order]
        visual = [family.visual(features[list(i)]) for i in index[order]]
        return shared_prefix.read(family, own, lambda k: visual[k], branches[order], batch_tokens=budget)

    return run


@pytest.mark.parametrize("budget", [1, 700, 3000])
def test_a_budget_changes_no_number(read, budget: int) -> None:
    for want, got in zip(read(100_000), read(budget), strict=True):
        for a, b in zip(want, got, strict=True):
            np.testing.assert_allclose(b, a, atol=CLOSE)


def test_order_changes_no_number_and_contexts_do(read) -> None:
    forward, backward = read(3000), read(3000, slice(None, None, -1))
    for want, got in zip(forward, backward[::-1], strict=True):
        for a, b in zip(want, got[::-1], strict=True):
            np.testing.assert_allclose(b, a, atol=CLOSE)
    assert np.ptp([row[0].sum() for row in forward]) > 100 * CLOSE


def test_the_same_read_gives_the_same_bits(read) -> None:
    for a, b in zip(read(700), read(700), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_cache_keeps_prefixes_only(family: OneVision) -> None:
    prefix = family.prefix(Shown((), "0 frames"), TOKENS_A_FRAME)
    row = shared_prefix.PromptRow(prefix, torch.zeros(0, QUICK.hidden))
    with torch.inference_mode():
        cache = shared_prefix.prefill(family, [row])
    cache.serve([0, 0, 0])
    layer = cache.layers[0]
    assert isinstance(layer, shared_prefix.PrefixLayer)
    keys, _ = layer.update(torch.ones(3, 1, 5, 16), torch.ones(3, 1, 5, 16))
    assert keys.shape[-2] == len(prefix) + 5
    assert layer.keys is not None
    assert layer.keys.shape[:3] == (1, 1, len(prefix))


def test_batches_hold_all_rows_once_within_the_budget_and_little_padding() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(1, 400, 200)]
    found = list(shared_prefix.batches(lengths, 2000, seen=100))
    assert sorted(i for batch in found for i in batch) == list(range(200))
    for batch in found:
        own = [lengths[i] for i in batch]
        assert len(own) == 1 or len(own) * (100 + max(own)) <= 2000
        assert min(own) >= shared_prefix.LEAST_FILLED * max(own)
    assert len(found) < 100
    assert list(shared_prefix.batches([5000, 5000], 2000)) == [[0], [1]]


def test_a_branch_that_begins_with_its_target_is_refused(family: OneVision) -> None:
    prefix = Prefix((1, 2), torch.arange(2)[None], 2)
    with pytest.raises(ValueError, match="1 branches begin with their target"):
        shared_prefix.read(family, [prefix], lambda _: torch.zeros(0, 4), [Branch((3, 4), 2)], batch_tokens=10)
