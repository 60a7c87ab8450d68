"""vLLM against the transformers engine, and what a scorer does when its engine dies. Needs vLLM: pytest -m vllm."""

import threading

import numpy as np
import psutil
import pytest

from stages.algorithms.tpl import Context, contexts
from stages.models.protocols import Target
from tests.vllm.conftest import Pair

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default"), pytest.mark.timeout(600)]

FLOOR = {"embedded": 5e-4}  # nats a token, float32: trained weights on noise make large numbers
TINY_FLOOR = 5e-5
TIMES = [f"{0.3 * k:.2f} s" for k in range(5)]
SEEN = [
    *contexts(5, shuffles=2, key="k"),
    *(Context("left out", k, (*range(k), max(0, k - 1), *range(k + 1, 5))) for k in range(5)),
    Context("subset", 0, (1, 4)),
    Context("subset", 1, (0, 2, 3)),
    Context("repeated", 0, (2, 2, 2, 2, 2, 2)),
]
TARGETS = [
    Target("short", "What happens?", "A red circle moves."),
    Target("turns", "And where?", "at the top left", (("Who is there?", "a green square"), ("Sure?", "Yes."))),
    Target("long", "List it.", "frame1:[1,2,3,4];" * 12),
]


def test_engines_agree_in_every_context_and_target(pair: Pair) -> None:
    ours = pair.transformers.watch(pair.frames_THWC, TIMES).read(TARGETS, SEEN)
    theirs = pair.vllm.watch(pair.frames_THWC, TIMES).read(TARGETS, SEEN)
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        assert one.token_id == other.token_id
        gaps = [float(np.abs(a - b).max()) for a, b in zip(one.logprob, other.logprob, strict=True)]
        worst = max(worst, *gaps)
    floor = FLOOR.get(pair.path, TINY_FLOOR)
    assert worst <= floor
    sums = np.array([v.sum() for v in theirs[0].logprob])
    assert np.ptp(sums) > 100 * floor  # contexts do differ: this compares no constants
    assert pair.vllm.floor >= floor


def test_order_and_company_change_no_bit(pair: Pair) -> None:
    watched = pair.vllm.watch(pair.frames_THWC, TIMES)
    together = watched.read(TARGETS, SEEN)
    backward = watched.read(TARGETS[::-1], SEEN[::-1])[::-1]
    alone = [watched.read([target], [SEEN[4]])[0] for target in TARGETS]
    for one, two, three in zip(together, backward, alone, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.logprob, two.logprob[::-1], strict=True))
        assert np.array_equal(one.logprob[4], three.logprob[0])


def test_the_card_names_the_engine(pair: Pair) -> None:
    cards = [s.card(pair.frames_THWC) for s in (pair.transformers, pair.vllm)]
    assert cards[1].engine.startswith("vllm/0.32")
    assert (cards[0].scorer, cards[0].prompt_hash, cards[0].dtype) == (
        cards[1].scorer, cards[1].prompt_hash, cards[1].dtype,
    )  # fmt: skip


@pytest.mark.parametrize("pair", ["llava_onevision"], indirect=True)
def test_an_engine_killed_in_the_middle_loses_nothing(pair: Pair) -> None:
    watched = pair.vllm.watch(pair.frames_THWC, TIMES)
    want = watched.read(TARGETS, SEEN)
    started = pair.vllm.engines.started
    (core,) = [p for p in psutil.Process().children(recursive=True) if "EngineCore" in " ".join(p.cmdline())]
    asked = [Target(f"{t.target_id}/{i}", t.question, t.answer, t.history) for i in range(5) for t in TARGETS]
    killer = threading.Timer(0.5, core.kill)
    killer.start()
    got = watched.read(asked, SEEN)
    killer.join()
    assert pair.vllm.engines.started == started + 1
    for i, reading in enumerate(got):
        assert all(np.array_equal(a, b) for a, b in zip(reading.logprob, want[i % 3].logprob, strict=True))


@pytest.mark.parametrize("pair", ["llava_onevision"], indirect=True)
def test_closing_leaves_no_process(pair: Pair) -> None:
    pair.vllm.watch(pair.frames_THWC, TIMES).read(TARGETS[:1], SEEN[:1])
    names = [" ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)]
    assert any("VLLM" in n for n in names)
    pair.vllm.close()
    left = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    assert not [p for p in left if "VLLM" in " ".join(p.cmdline()) or "keeper" in " ".join(p.cmdline())]
