"""Clips described by an engine in this process: in shared steps, each its own answer, also where an engine is killed.

A random model answers nonsense, so what is asked here is whose nonsense it is, what it cost, and how it is named.
"""

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from pipeline.collect import finished
from pipeline.plan import Plan
from pipeline.run_local import run_local
from pipeline.run_ray import local_ray, run_ray
from schemas.clip import CaptionedClip, ToldClip
from stages.ask_mllm import AskMllm
from stages.media.frame_store import FrameStore
from stages.media.jpeg import jpeg
from stages.models.mllm import Answer, NoAnswer, Question
from stages.models.vllm_describer import VllmDescriber
from tests.publish.builders import STORE_PX, make_clip, video_id_of, world_of
from tests.vllm.checkpoints import checkpoint

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default"), pytest.mark.timeout(900)]

N, TOKENS = 12, 24
ENGINE: dict[str, Any] = {"dtype": "float32", "enforce_eager": True, "max_model_len": 2048, "skip_mm_profiling": True}
PROMPT = '$n_frames frames of "$clip": $subjects? At most $max_words words.'


def stage(model: str, **changes: Any) -> AskMllm:
    given: dict[str, Any] = {
        "options": {"temperature": 0, "max_tokens": TOKENS, "min_tokens": TOKENS}, "engine_options": ENGINE,
        "concurrency": N, "timeout_s": 120.0, "kv_cache_gb": 1, "licence": "mit",
    }  # fmt: skip
    return AskMllm(engine="vllm", model=model, **{**given, **changes})


@pytest.fixture(scope="module", params=["qwen2_5_vl", "llava_onevision"])
def describer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmDescriber]:
    folder = checkpoint(request.param, tmp_path_factory.mktemp(request.param))
    counting = {"engine_options": {**ENGINE, "disable_log_stats": False}}
    describer = stage(str(folder), **counting).open_mllm(images=2)
    assert isinstance(describer, VllmDescriber)
    yield describer
    describer.close()


def questions(n: int) -> list[Question]:
    """Noise of many sizes, asked about in two words more each time."""
    rng = np.random.default_rng(0)

    def picture(height: int, width: int) -> bytes:
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        return jpeg(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), quality=90)

    return [
        Question(f"q{k}", ("What" + " is it" * k + "?", picture(56 + 8 * k, 90), picture(64, 64))) for k in range(n)
    ]


def steps(describer: VllmDescriber) -> int:
    """Of the engine, since it was started."""
    metrics = describer._engine._process.llm.get_metrics()  # type: ignore[union-attr]
    (found,) = [m for m in metrics if m.name == "vllm:iteration_tokens_total"]
    return found.count


def core_of(describer: VllmDescriber) -> psutil.Process:
    (core,) = [p for p in psutil.Process().children(recursive=True) if "EngineCore" in " ".join(p.cmdline())]
    return core


def test_questions_share_steps_and_each_gets_the_answer_that_it_gets_alone(describer: VllmDescriber) -> None:
    before = steps(describer)
    together = describer.ask(questions(N))
    assert steps(describer) - before < N * TOKENS / 3  # one after the other there are N * TOKENS
    alone = [describer.ask([question])[0] for question in questions(N)]
    assert steps(describer) - before > N * TOKENS  # the counter does count
    assert together == alone
    assert len({answer.text for answer in together if isinstance(answer, Answer)}) > N / 2  # each has its own
    for answer in together:
        assert isinstance(answer, Answer)
        assert (answer.completion_tokens, answer.finish_reason) == (TOKENS, "length")
        assert answer.model.startswith("vllm/")
    costs = [answer.prompt_tokens for answer in together if isinstance(answer, Answer)]
    assert all(a is not None and b is not None and b > a for a, b in pairwise(costs))


def test_a_question_that_is_too_long_is_named_and_the_others_are_answered(describer: VllmDescriber) -> None:
    asked = questions(3)
    long = Question("long", ("What is it? " * 2000, *asked[1].parts[1:]))
    first, named, last = describer.ask([asked[0], long, asked[2]])
    assert isinstance(named, NoAnswer)
    assert "vLLM does not take this question" in str(named)
    assert [first, last] == describer.ask([asked[0], asked[2]])


def test_an_engine_that_is_killed_in_the_middle_loses_nothing(describer: VllmDescriber) -> None:
    asked = questions(N) * 8
    want = describer.ask(asked)
    started = describer.started
    killer = threading.Timer(0.4, core_of(describer).kill)
    killer.start()
    got = describer.ask(asked)
    killer.join()
    assert describer.started == started + 1
    assert got == want


def test_closing_leaves_no_process(describer: VllmDescriber) -> None:
    describer.ask(questions(1))
    assert core_of(describer).is_running()
    describer.close()
    left = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    assert not [p for p in left if "VLLM" in " ".join(p.cmdline()) or "keeper" in " ".join(p.cmdline())]


@pytest.fixture(scope="module")
def clips() -> list[CaptionedClip]:
    made = [make_clip(video_id_of(f"told {k}")) for k in range(4)]
    return [CaptionedClip(**{n: getattr(clip, n) for n in CaptionedClip.schema().names}) for clip in made]


def test_on_ray_and_here_nonsense_is_named_beside_its_clip_with_what_it_cost(
    clips: list[CaptionedClip], tmp_path: Path
) -> None:
    before = engines()
    model = checkpoint("qwen2_5_vl", tmp_path / "qwen")
    frames = FrameStore(tmp_path / "store", 2**30)
    for clip in clips:
        world = world_of(clip.video_id, clip.shot_index)
        shown = np.stack([world.render(tick / clip.time_base_den, STORE_PX) for tick in clip.track_tick])
        frames.put(clip.video_id, clip.track_tick, shown)
    (tmp_path / "brief.txt").write_text(PROMPT)
    asking = stage(
        str(model), prompt=str(tmp_path / "brief.txt"), frames=1, max_subjects=1, store_dir=str(tmp_path / "store")
    )
    plan = Plan.of(clips, CaptionedClip).then(asking)
    with local_ray(num_cpus=2):
        on_ray = {source.source_uri: source for source in finished(plan, run_ray(plan))}
    here = {source.source_uri: source for source in finished(plan, run_local(plan))}
    for clip in clips:
        (row,) = ToldClip.from_arrow(on_ray[clip.uri].rows)
        assert row.teller
        assert row.teller.startswith("mllm/vllm/qwen@")
        assert "(mit; vllm 0.32" in row.teller
        assert (row.told, row.captions, row.completion_tokens) == ((), clip.captions, 2 * TOKENS)  # asked twice
        assert row.prompt_tokens
        (outcome,) = on_ray[clip.uri].outcomes
        assert (outcome.stage, outcome.kind, outcome.reason) == ("AskMllm", "skip", "too_long")  # cut at its limit
        assert ToldClip.from_arrow(here[clip.uri].rows) == [row]
        assert here[clip.uri].outcomes == [outcome]
    assert not engines() - before


def engines() -> set[int]:
    """Process ids of all engines of this machine."""
    found = psutil.process_iter(["cmdline"])
    return {p.pid for p in found if "VLLM::" in " ".join(p.info["cmdline"] or [])}
