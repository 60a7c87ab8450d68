"""What is promised about engines, with engines that are known: no vLLM is needed here."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from stages.algorithms.tpl import Context, contexts
from stages.models import vllm_keeper
from stages.models.checkpoint import find
from stages.models.protocols import OtherPositions, Target, TooLong
from stages.models.vllm_engine import EngineUnusable, Request, chunk_tokens, refuse_order
from stages.models.vllm_load import blueprint, prepared
from stages.models.vllm_process import EngineDied
from stages.models.vllm_scorer import Engines, VllmScorer
from stages.models.vllm_watchdog import Watchdog
from tests.vllm.checkpoints import checkpoint
from tests.vllm.known import Known, scorer, starts

ASKED = [Request((1, 2, 3 + i), 1, video_id=9) for i in range(4)]
TARGETS = [Target("a", "What happens?", "A red circle moves."), Target("b", "And then?", "It stops.")]


def test_requests_are_read_again_on_a_fresh_engine() -> None:
    fresh = Known()
    engines = Engines(starts(Known(dies_at=2), fresh))
    assert [float(v[0]) for v in engines.answer(ASKED)] == [-6, -7, -8, -9]
    assert (engines.started, fresh.asked) == (2, 4)


def test_requests_that_kill_two_engines_fail_and_the_next_get_a_third() -> None:
    engines = Engines(starts(Known(dies_at=2), Known(dies_at=0), Known()))
    with pytest.raises(EngineDied, match="so did a fresh one: these 4 requests are given up"):
        engines.answer(ASKED)
    assert [float(v[0]) for v in engines.answer(ASKED[:1])] == [-6]


def test_a_worn_engine_is_closed_and_replaced() -> None:
    old, new = Known(lasts=3), Known()
    engines = Engines(starts(old, new))
    engines.answer(ASKED)
    assert not old.closed
    engines.answer(ASKED)
    assert (old.closed, new.asked, engines.started) == (True, 4, 2)


def test_an_engine_whose_values_depend_on_the_order_is_refused() -> None:
    refuse_order(Known(), *ASKED[:2])
    with pytest.raises(EngineUnusable, match=r"depends on what was asked before it, by 3\.00e\+00 nats"):
        refuse_order(Known(drifts=True), *ASKED[:2])


def test_visual_tokens_go_in_as_one_and_come_out_as_counted() -> None:
    prompt = Request((1, 9, 9, 9, 4, 5), 1, video_id=9, video="frames").prompt()
    assert prompt == {"prompt_token_ids": [1, 9, 4, 5], "multi_modal_data": {"video": "frames"}}
    assert Request((1, 4, 5), 1, video_id=9).prompt() == {"prompt_token_ids": [1, 4, 5]}


def test_logits_of_a_chunk_are_bounded() -> None:
    assert chunk_tokens(32768, 152_064, 0.5) == 411
    assert chunk_tokens(1024, 1000, 0.5) == 1024
    assert chunk_tokens(32768, 152_064, 0.001) == 256  # less is no chunk


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: checkpoint(kind, tmp_path_factory.mktemp(kind)) for kind in ("llava_onevision", "qwen2_5_vl")}


def watch(scorer: VllmScorer, spacing_s: float) -> Any:
    frames = np.zeros((5, 60, 90, 3), np.uint8)
    return scorer.watch(frames, [f"{spacing_s * k:.2f} s" for k in range(5)])


def test_one_request_a_target_and_context_in_order(folders: dict[str, Path]) -> None:
    engine = Known()
    known = scorer(folders["llava_onevision"], engine)
    assert next(known.family.model.parameters()).device.type == "meta"  # the scorer holds no second copy of the weights
    before = engine.asked
    seen = contexts(5, shuffles=1, key="k")
    readings = watch(known, 0.3).read(TARGETS, seen)
    assert engine.asked - before == len(TARGETS) * len(seen)
    asked = watch(known, 0.3).requests(TARGETS, seen)
    for reading, row in zip(readings, asked, strict=True):
        for value, request, context in zip(reading.logprob, row, seen, strict=True):
            assert value[0] == -float(sum(request.token_id))
            assert reading.token_id == request.token_id[-request.n_target :]
            assert len(request.video if request.video is not None else ()) == len(context.index)


def test_over_long_prompts_never_reach_the_engine(folders: dict[str, Path]) -> None:
    engine = Known()
    known = scorer(folders["llava_onevision"], engine, max_tokens=600)
    before = engine.asked
    long = Target("long", "What happens?", "A red circle moves. " * 100)
    with pytest.raises(TooLong, match=r"long: \d+ \+ \d+ tokens > 599"):
        watch(known, 0.3).read([*TARGETS, long], contexts(5, shuffles=0, key="k"))
    assert engine.asked == before


def test_clips_that_vllm_places_in_time_otherwise_are_refused(folders: dict[str, Path]) -> None:
    """Text after a video starts behind its time axis in vLLM, behind its rows and columns in transformers."""
    known = scorer(folders["qwen2_5_vl"], Known())
    every = [Context("video", None, (0, 1, 2, 3, 4))]
    (((request,),), (frames, metadata)) = (r := watch(known, 0.3).requests(TARGETS[:1], every)), r[0][0].video
    assert (frames.shape[0], metadata["fps"], metadata["do_sample_frames"]) == (5, pytest.approx(1 / 0.3), False)
    assert request.token_id.count(known.family.video_id) == 3 * 2 * 3
    with pytest.raises(OtherPositions, match="transformers place the tokens after 3 pairs of frames"):
        watch(known, 5.0).requests(TARGETS[:1], every)


@pytest.mark.vllm  # the processors that vLLM wants are written by classes that need torchvision
@pytest.mark.filterwarnings("default")
def test_a_checkpoint_of_transformers_5_is_renamed_for_vllm(folders: dict[str, Path]) -> None:
    from safetensors import safe_open

    found = find(str(folders["llava_onevision"]))
    family = blueprint(found, dtype="float32", max_pixels=None)
    names = set(safe_open(f"{found.path}/model.safetensors", "pt").keys())
    made = Path(prepared(found, family))
    renamed = set(safe_open(made / "model.safetensors", "pt").keys())
    tower = [n for n in names if "vision_tower." in n]
    assert tower
    assert renamed == {n.replace("vision_tower.", "vision_tower.vision_model.") for n in names}
    index = json.loads((made / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == renamed


def test_the_keeper_ends_what_its_parent_leaves_behind() -> None:
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    keeper = subprocess.Popen([sys.executable, vllm_keeper.__file__], stdin=subprocess.PIPE, text=True)
    created = [psutil.Process(p.pid).create_time() for p in (left, other)]
    # The second has the id, but not the time of birth: an id that was given again.
    keeper.communicate(json.dumps([(left.pid, created[0]), (other.pid, created[1] - 1)]) + "\n", timeout=30)
    assert left.wait(timeout=10) == -9
    assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.parametrize(("limit_s", "first"), [(60.0, "killed"), (0.5, "hangs")])
def test_the_watchdog_tells_of_a_death_and_of_a_hang(limit_s: float, first: str) -> None:
    pair = [psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2)]
    told = threading.Event()
    watchdog = Watchdog(pair, limit_s, told.set)
    try:
        with watchdog.waiting():
            if first == "killed":
                pair[0].kill()
            assert told.wait(20)
        assert [p.wait(timeout=10) for p in pair] == [-9, -9]
    finally:
        watchdog.close()


def test_the_watchdog_lets_an_idle_engine_be() -> None:
    process = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    told = threading.Event()
    watchdog = Watchdog([process], 0.3, told.set)
    with watchdog.waiting():
        pass
    assert not told.wait(1)
    watchdog.close()
    process.kill()
    process.wait()
