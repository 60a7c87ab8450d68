"""What a served model says of clips: its own caption for each, doubts become risk, and what is no answer is named."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from jobs.build_utr_data import build_plan
from jobs.recipe import RecipeError, load_recipe
from pipeline.block import OUTCOME, first_block
from pipeline.collect import Finished, finished
from pipeline.plan import Plan
from pipeline.run_local import run_local
from pipeline.worker import Worker
from schemas.clip import Caption, CaptionedClip, ToldClip, ToldSubject
from schemas.time import spread
from stages.ask_mllm import AskMllm, Line
from stages.media.frame_store import ClipFrames, FrameStore
from stages.models.mllm import Answer, MllmUnusable, Question
from stages.models.vllm_describer import VllmDescriber
from stages.models.vllm_process import EngineDied
from stages.prompting import PROMPTS, prompt_hash, read_prompt
from tests.fake_mllm import KEY, MODEL, FakeMllm, Step, hang, meet, refuse, repeat_header, say, serving, tell, told
from tests.publish.builders import STORE_PX, make_clip, video_id_of, world_of

TELLER = f"mllm/{MODEL}@{prompt_hash('clip')}"
N_CLIPS = 6


@pytest.fixture(scope="module")
def clips() -> list[CaptionedClip]:
    """Two subjects in each, captioned by the real stage."""
    made = [make_clip(video_id_of(f"told {k}")) for k in range(N_CLIPS)]
    return [CaptionedClip(**{n: getattr(clip, n) for n in CaptionedClip.schema().names}) for clip in made]


@pytest.fixture(scope="module")
def store(clips: list[CaptionedClip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames of all clips: there are no films behind them."""
    folder = tmp_path_factory.mktemp("store")
    frames = FrameStore(folder, 2**30)
    for clip in clips:
        frames.put(clip.video_id, clip.track_tick, frames_of(clip))
    return folder


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMllm]:
    monkeypatch.setenv("FAKE_KEY", KEY)
    with serving(FakeMllm(tell())) as fake:
        yield fake


def frames_of(clip: CaptionedClip) -> np.ndarray:
    world = world_of(clip.video_id, clip.shot_index)
    return np.stack([world.render(tick / clip.time_base_den, STORE_PX) for tick in clip.track_tick])


def mark(clip: CaptionedClip) -> str:
    return hashlib.sha256(clip.clip_id.encode()).hexdigest()[:8]


def stage(fake: FakeMllm, store: Path, **changes: Any) -> AskMllm:
    quick = {"wait_s": 0.01, "tries": 2, "timeout_s": 30.0}
    given = {"url": fake.url, "model": "fake-vl", "key_env": "FAKE_KEY", "store_dir": str(store), **quick, **changes}
    return AskMllm(**given)


def process(asking: AskMllm, clips: list[CaptionedClip]) -> list[Any]:
    line = asking.open()
    try:
        return list(asking.process(line, clips))
    finally:
        asking.close(line)


def run(asking: AskMllm, clips: list[CaptionedClip]) -> dict[str, Finished]:
    plan = Plan.of(clips, CaptionedClip).then(asking)
    return {source.source_uri: source for source in finished(plan, run_local(plan))}


def test_each_clip_gets_its_own_caption_names_and_costs(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path
) -> None:
    together = threading.Barrier(3)
    steps = [meet(together, tell(after_s=0.1 - 0.05 * k)) for k in range(3)]  # the last of them answers first
    fake.script |= {mark(clip): [step] for clip, step in zip(clips, steps, strict=False)}
    rows = process(stage(fake, store, concurrency=3), clips)
    assert fake.most_busy == 3
    for clip, row in zip(clips, rows, strict=True):
        text = f"Clip {mark(clip)} goes by."
        assert row.captions == (*clip.captions, Caption(kind="given", text=text, describer=TELLER))
        assert row.told == tuple(
            ToldSubject(track_id=t.track_id, name=f"thing {t.track_id}", attributes=("round", "shiny"), fits=True)
            for t in clip.trajectories
        )
        assert (row.teller, row.prompt_tokens) == (TELLER, 1000)
        assert row.completion_tokens > len(text)
        same = [name for name in CaptionedClip.schema().names if name != "captions"]
        assert all(getattr(row, name) == getattr(clip, name) for name in same)
    assert ToldClip.from_arrow(ToldClip.to_arrow(rows)) == rows


def test_the_model_sees_planned_frames_and_each_subject_where_it_is_largest(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path
) -> None:
    clip = clips[0]
    process(stage(fake, store, frames=3), [clip])
    (request,) = fake.requests
    pictures = [_picture(url) for url in request.images]
    planned_THWC = frames_of(clip)[list(clip.plan_index)]
    chosen = spread(len(planned_THWC), 3)
    assert len(pictures) == 3 + len(clip.trajectories)
    for k, picture_HWC in zip(chosen, pictures, strict=False):
        others = [np.abs(picture_HWC.astype(float) - frame).mean() for frame in planned_THWC.astype(float)]
        assert np.argmin(others) == k
        assert others[k] < 3  # of 255: what JPEG does
    texts = request.texts
    assert [text.split(",")[0] for text in texts[1:4]] == [f"frame{k + 1}" for k in chosen]
    for track, text, picture_HWC in zip(clip.trajectories, texts[4:], pictures[3:], strict=True):
        assert text.startswith(f"Track{track.track_id} in frame")
        assert text.endswith(f"called '{track.appearance} {track.name}':")
        assert min(picture_HWC.shape[:2]) >= 64
        middle_rgb = picture_HWC[picture_HWC.shape[0] // 2, picture_HWC.shape[1] // 2]
        seen_rgb = np.median([o.rgb for t in clip.tracks if t.track_id == track.track_id for o in t.observations], 0)
        assert np.abs(middle_rgb - seen_rgb).max() < 60


def _picture(url: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(url.removeprefix("data:image/jpeg;base64,")), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))


def test_a_doubted_name_makes_its_subject_risky_and_nothing_else(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path
) -> None:
    def doubt(answer: dict[str, Any]) -> None:
        answer["subjects"][1] |= {"fits": False, "name": "truck"}

    clip = clips[0]
    fake.script[mark(clip)] = [tell(doubt)]
    ((row, skip),) = process(stage(fake, store), [clip])
    ours, second = clip.trajectories
    assert row.trajectories == (ours, replace(second, risk=1.0))
    called = f"{second.appearance} {second.name}"
    assert (skip.reason, skip.detail) == ("label_risk", f"{TELLER} says: Track2 is no {called!r} but 'truck'")


def _of_another_clip(answer: dict[str, Any]) -> None:
    answer["clip"] = "0badc11f"


def _one_subject_less(answer: dict[str, Any]) -> None:
    del answer["subjects"][0]


FLAWS: dict[str, tuple[Step, str, str]] = {  # all others: tests/algorithms/test_mllm_answer.py
    "empty": (say(""), "nothing_to_say", "empty: no text, finish_reason 'stop'"),
    "cut": (say('{"clip": "ab', finish="length"), "too_long", 'cut: it ends with \'{"clip": "ab\''),
    "prose": (say("A red car."), "nothing_to_say", "malformed: Invalid JSON: "),
    "a subject less": (tell(_one_subject_less), "nothing_to_say", "of other subjects: subjects are [2], not [1, 2]"),
    "of another clip": (tell(_of_another_clip), "nothing_to_say", "of another clip: \"clip\" is '0badc11f', not "),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_what_is_no_answer_is_asked_for_once_more_with_what_is_wrong(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path, flaw: str
) -> None:
    step, _, says = FLAWS[flaw]
    sick, well = clips[:2]
    fake.script[mark(sick)] = [step]
    row, other = process(stage(fake, store), [sick, well])
    assert [row.captions[-1].text, other.captions[-1].text] == [f"Clip {mark(c)} goes by." for c in (sick, well)]
    assert (row.prompt_tokens, other.prompt_tokens) == (2000, 1000)  # both requests are paid for
    last = fake.requests[-1].texts[-1]
    assert last.startswith(f"Your last answer cannot be used, it is {says}")


@pytest.mark.parametrize("flaw", FLAWS)
def test_what_stays_no_answer_is_named_and_the_clip_goes_on_as_it_was(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path, flaw: str
) -> None:
    step, reason, says = FLAWS[flaw]
    sick, well = clips[:2]
    fake.script[mark(sick)] = [step] * 9
    done = run(stage(fake, store), [sick, well])
    (row,) = ToldClip.from_arrow(done[sick.uri].rows)
    assert CaptionedClip(**{n: getattr(row, n) for n in CaptionedClip.schema().names}) == sick
    assert (row.told, row.prompt_tokens) == ((), 2000)
    (outcome,) = done[sick.uri].outcomes
    assert (outcome.stage, outcome.kind, outcome.reason) == ("AskMllm", "skip", reason)
    assert outcome.detail.startswith(says)
    assert f"{TELLER}, 2000 + {row.completion_tokens} tokens" in outcome.detail
    assert done[well.uri].outcomes == []
    assert len(fake.requests) == 3


@pytest.mark.parametrize("step", [say(None, refusal="I will not."), say("I w", finish="content_filter")])
def test_a_refusal_is_named_and_not_asked_again(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path, step: Step
) -> None:
    fake.script[mark(clips[0])] = [step] * 2
    ((row, skip),) = process(stage(fake, store), clips[:1])
    assert row.captions == clips[0].captions
    assert (skip.reason, skip.detail.split(";")[0]) in [
        ("nothing_to_say", "refused: I will not."), ("nothing_to_say", "refused: I w"),
    ]  # fmt: skip
    assert len(fake.requests) == 1


@pytest.mark.parametrize(("step", "says"), [(refuse(500, "oom"), "says 500: "), (hang, "no whole answer in time")])
def test_a_clip_without_an_answer_fails_alone_and_nothing_is_paid_twice(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path, step: Step, says: str
) -> None:
    """The batch raises, and the worker tries its rows alone: they find what was said of them already."""
    sick = clips[2]
    fake.script[mark(sick)] = [step] * 9
    asking = stage(fake, store, timeout_s=3.0)
    worker = Worker(asking, "AskMllm")
    try:
        block = worker(first_block(clips, CaptionedClip))
    finally:
        worker.close()
    (outcome,) = [outcome for outcome in block[OUTCOME].to_pylist() if outcome]
    assert (outcome["key"], outcome["kind"], outcome["reason"]) == (sick.clip_id, "failure", "NoAnswer")
    assert says in outcome["detail"]
    rows = ToldClip.from_arrow(block.filter(block[OUTCOME].is_null()))
    assert {row.clip_id: row.captions[-1].text for row in rows} == {
        clip.clip_id: f"Clip {mark(clip)} goes by." for clip in clips if clip is not sick
    }
    assert sum(mark(sick) in request.texts[0] for request in fake.requests) == 2  # tries
    assert len(fake.requests) == N_CLIPS - 1 + 2


def test_a_second_request_that_fails_is_a_failure_of_the_clip(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path
) -> None:
    fake.script[mark(clips[0])] = [say(""), *[refuse(500)] * 9]
    (outcome,) = run(stage(fake, store), clips[:1])[clips[0].uri].outcomes
    assert (outcome.kind, outcome.reason) == ("failure", "NoAnswer")


def test_a_clip_that_came_with_a_caption_is_not_asked_about(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path
) -> None:
    given = Caption(kind="given", text="Shapes.", describer="manifest")
    known = replace(clips[0], captions=(*clips[0].captions, given))
    row, _ = process(stage(fake, store), [known, clips[1]])
    assert (row.captions, row.teller, row.told, row.prompt_tokens) == (known.captions, None, (), None)
    assert len(fake.requests) == 1


@pytest.mark.parametrize(("status", "says"), [(401, "mllm.key_env"), (404, "mllm.model")])
def test_a_wrong_key_or_model_ends_the_run_and_not_each_clip(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path, status: int, says: str
) -> None:
    fake.otherwise = refuse(status, f"no: {KEY}")
    with pytest.raises(MllmUnusable, match=rf"says {status}: .*\*\*\*.*{says}"):
        run(stage(fake, store), clips)
    assert len(fake.requests) == 1  # the first source was enough


def test_a_key_that_is_not_there_is_named_before_anything_is_sent(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAKE_KEY")
    with pytest.raises(MllmUnusable, match="variable FAKE_KEY is not set: set it here and on every worker"):
        run(stage(fake, store), clips)
    assert fake.requests == []


def test_the_key_is_in_no_row_outcome_plan_or_fingerprint(
    fake: FakeMllm, clips: list[CaptionedClip], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.script[mark(clips[0])] = [repeat_header] * 9
    asking = stage(fake, store)
    done = run(asking, clips[:2])
    assert all(request.headers["Authorization"] == f"Bearer {KEY}" for request in fake.requests)
    told = [str(source.rows.to_pylist()) + str(source.outcomes) for source in done.values()]
    plan = Plan.of(clips, CaptionedClip).then(asking)
    assert KEY not in "".join([*told, *plan.describe_parameters(), str(plan), repr(asking)])
    assert "bad header: Bearer ***" in "".join(told)
    monkeypatch.setenv("FAKE_KEY", "another")
    assert stage(fake, store).fingerprint == asking.fingerprint


def test_the_fingerprint_moves_with_what_is_asked_not_with_how_it_is_reached(tmp_path: Path) -> None:
    base: dict[str, Any] = {"url": "http://a/v1", "model": "m"}
    plain = AskMllm(**base).fingerprint
    copy = tmp_path / "copy.txt"
    copy.write_text((PROMPTS / "clip.txt").read_text())
    ways = {"url": "https://b/v1", "key_env": "K", "concurrency": 2, "tries": 9, "timeout_s": 9.0, "prompt": str(copy)}
    assert all(AskMllm(**{**base, name: value}).fingerprint == plain for name, value in ways.items())
    other = tmp_path / "other.txt"
    other.write_text(copy.read_text() + "Be brief.")
    asked = {"model": "n", "frames": 5, "max_subjects": 1, "max_words": 9, "options": {"seed": 1}, "prompt": str(other)}
    assert len({plain, *(AskMllm(**{**base, name: value}).fingerprint for name, value in asked.items())}) == 7


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"url": "api.openai.com/v1"}, "url='api.openai.com/v1' is no address: give one like https"),
        ({"url": "https://me:secret@host/v1"}, "url holds a name or a password: name the variable"),
        ({"url": "http://host:port/v1"}, "Port could not be cast to integer"),
        ({"model": ""}, "model='' names no model"),
        ({"key_env": "sk-secret"}, "key_env is no name of a variable: give one like OPENAI_API_KEY, never the key"),
        ({"frames": 0}, "frames=0: at least 1"),
        ({"concurrency": 0}, "concurrency=0: at least 1"),
        ({"timeout_s": 0}, "timeout_s=0 is no time to wait"),
        ({"options": {"model": "x", "stream": True}}, "options: model, stream cannot be set there"),
        ({"prompt": "poem"}, r"prompt: no file .*poem\.txt; give the path of a \.txt file or one of: clip"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name_and_shows_no_secret(
    wrong: dict[str, Any], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({"mllm": {"url": "http://a/v1", "model": "m", **wrong}}))
    with pytest.raises(RecipeError, match=rf"mine\.yaml: mllm: .*{says}") as refused:
        load_recipe(str(path))
    assert "secret" not in str(refused.value)


def test_a_typo_and_a_missing_key_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mllm: {url: http://a/v1, model: m, retries: 3}")
    with pytest.raises(RecipeError, match=r"mllm: unknown key retries; known: engine, model"):
        load_recipe(str(path))
    path.write_text("mllm: {url: http://a/v1}")
    with pytest.raises(RecipeError, match=r"mllm\.model: Field required"):
        load_recipe(str(path))


def test_a_prompt_must_ask_for_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    for text in (
        "Describe it.",
        "$n_frames $clip $max_words $subjects $mood",
        "$n_frames $clip $max_words $subjects $",
    ):
        path.write_text(text)
        read_prompt.cache_clear()
        with pytest.raises(ValueError, match=r"mine\.txt: it must name \$n_frames, \$clip, \$max_words, \$subjects"):
            AskMllm(url="http://a/v1", model="m", prompt=str(path))


def test_a_recipe_without_the_section_has_the_plan_that_it_had() -> None:
    names = [name for name, _ in build_plan(load_recipe("default"), []).named]
    asked = [name for name, _ in build_plan(load_recipe("mllm"), []).named]
    assert "AskMllm" not in names
    assert [name for name in asked if name != "AskMllm"] == names
    assert asked.index("AskMllm") == asked.index("CaptionClip") + 1


SAID_BY = "vllm/tiny@0123456789ab (mit; vllm 0.32.0)"


class ChattingEngine:
    """Answers every clip rightly, in text; says nonsense of those in `babbled`, and ends over those in `fatal`."""

    def __init__(self, babbled: set[str], fatal: set[str]) -> None:
        self.babbled, self.fatal = babbled, fatal
        self.batches: list[int] = []

    def chat(self, questions: Sequence[Question], /) -> list[Answer]:
        self.batches.append(len(questions))
        if self.fatal & {question.key for question in questions}:
            raise EngineDied("the vLLM engine ended while it read 1 questions")
        texts = ["lalala" if question.key in self.babbled else told(str(question.parts[0])) for question in questions]
        return [Answer(text, "stop", "", SAID_BY, 50, len(text)) for text in texts]

    def worn(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to end."""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """What a recipe's check looks for in a checkpoint's folder."""
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    return tmp_path


@dataclass(frozen=True, kw_only=True)
class AskKnown(AskMllm):
    """Through the supervisor of engines in this process, over engines that are known."""

    babbled: frozenset[str] = frozenset()
    fatal_clips: frozenset[str] = frozenset()

    def open(self) -> Line:
        def start() -> ChattingEngine:
            return ChattingEngine(set(self.babbled), set(self.fatal_clips))

        return Line(VllmDescriber(start), ClipFrames(self.store_dir, self.store_gb))


def through_vllm(weights: Path, store: Path, **changes: Any) -> AskKnown:
    return AskKnown(engine="vllm", model=str(weights), licence="mit", store_dir=str(store), **changes)


def test_through_vllm_answers_costs_and_flaws_are_named_as_behind_an_endpoint(
    clips: list[CaptionedClip], store: Path, weights: Path
) -> None:
    sick, well = clips[:2]
    asking = through_vllm(weights, store, babbled=frozenset({sick.clip_id}))
    (row, skip), other = process(asking, [sick, well])
    assert (row.told, row.captions, row.prompt_tokens) == ((), sick.captions, 100)  # asked twice
    assert skip.detail.startswith("malformed: ")
    assert skip.detail.endswith(f"; mllm/{SAID_BY}@{prompt_hash('clip')}, 100 + {2 * len('lalala')} tokens")
    assert other.captions[-1].text == f"Clip {mark(well)} goes by."
    assert other.teller == f"mllm/{SAID_BY}@{prompt_hash('clip')}"
    assert (other.prompt_tokens, [t.name for t in other.told]) == (
        50,
        [f"thing {t.track_id}" for t in well.trajectories],
    )


def test_a_clip_that_ends_engines_fails_by_name_and_the_others_go_on(
    clips: list[CaptionedClip], store: Path, weights: Path
) -> None:
    sick = clips[2]
    worker = Worker(through_vllm(weights, store, fatal_clips=frozenset({sick.clip_id})), "AskMllm")
    try:
        block = worker(first_block(clips, CaptionedClip))
    finally:
        worker.close()
    (outcome,) = [outcome for outcome in block[OUTCOME].to_pylist() if outcome]
    assert (outcome["key"], outcome["kind"], outcome["reason"]) == (sick.clip_id, "failure", "NoAnswer")
    assert "the vLLM engine ended" in outcome["detail"]
    rows = ToldClip.from_arrow(block.filter(block[OUTCOME].is_null()))
    assert {row.clip_id for row in rows} == {clip.clip_id for clip in clips} - {sick.clip_id}
    assert all(row.captions[-1].text.startswith("Clip ") for row in rows)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"engine": "vllm", "url": "http://a/v1"}, "url: for the engine endpoint; this one is vllm"),
        ({"engine": "vllm", "key_env": "K", "tries": 2}, "key_env, tries: for the engine endpoint; this one is vllm"),
        ({"url": "http://a/v1", "licence": "mit"}, "licence: for the engine vllm; this one is endpoint"),
        (
            {"url": "http://a/v1", "engine_options": {"x": 1}},
            "engine_options: for the engine vllm; this one is endpoint",
        ),
        ({}, "url='' is no address: give one like https://api.openai.com/v1, or `engine: vllm`"),
        ({"engine": "sglang"}, "no engine 'sglang'; there are: 'endpoint', 'vllm'"),
        ({"engine": "vllm", "options": {"logprobs": 5}}, "options: engine vllm knows no logprobs"),
        ({"engine": "vllm", "engine_options": {"max_num_seqs": 5}}, "engine_options: max_num_seqs cannot be set there"),
        ({"engine": "vllm", "licence": ""}, "licence: .* has no model card"),
        ({"engine": "vllm", "model": "/nowhere"}, "model '/nowhere': no such folder"),
    ],
)
def test_fields_of_two_engines_are_not_mixed(given: dict[str, Any], says: str, weights: Path) -> None:
    base = {"model": str(weights), **({"licence": "mit"} if given.get("engine") == "vllm" else {})}
    path = weights / "mine.yaml"
    path.write_text(json.dumps({"mllm": {**base, **given}}))
    with pytest.raises(RecipeError, match=rf"mine\.yaml: mllm: .*{says}"):
        load_recipe(str(path))


def test_an_engine_of_ones_own_takes_rows_by_its_concurrency_and_a_gpu_where_told(weights: Path) -> None:
    base: dict[str, Any] = {"engine": "vllm", "model": str(weights), "licence": "mit", "concurrency": 32}
    on_cpu, on_gpu = AskMllm(**base).resources, AskMllm(**base, device="cuda").resources
    assert (on_cpu.batch_rows, on_cpu.gpus, on_gpu.gpus) == (64, 0, 1)
    four = AskMllm(**base, device="cuda", engine_options={"tensor_parallel_size": 4}).resources
    assert four.gpus == 4
    assert AskMllm(url="http://a/v1", model="m").resources.batch_rows == 16
