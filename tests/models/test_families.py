"""Every family against brute force: one plain forward of the real class for each context and target, batch of one."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.algorithms.tpl import Context, contexts
from stages.models.checkpoint import NoScorer, find
from stages.models.load import load_scorer
from stages.models.protocols import NotSeparable, Reading, Target, TooLong
from stages.models.reference import Reference
from stages.models.transformers_scorer import TransformersScorer, WatchedFrames
from tests.models.tiny import KINDS, checkpoint

ROOT = Path(__file__).resolve().parents[2]
FLOOR = 1e-4  # nats a token, float32
N_FRAMES = 5  # odd: the last one of the plan is its own neighbour where pairs are merged
TIMES = [f"{0.7 * k:.2f} s" for k in range(N_FRAMES)]
SEEN = [
    *contexts(N_FRAMES, shuffles=2, key="k"),
    *(Context("left out", k, (*range(k), max(0, k - 1), *range(k + 1, N_FRAMES))) for k in range(N_FRAMES)),
    Context("subset", 0, (1, 4)),
    Context("subset", 1, (0, 2, 3)),
    Context("repeated", 0, (2, 2, 2, 2, 2, 2)),
]
TARGETS = [
    Target("short", "What happens?", "A red circle moves."),
    Target("turns", "And where?", "at the top left", (("Who is there?", "a green square"), ("Sure?", "Yes."))),
    Target("long", "List it.", "frame1:[1,2,3,4];" * 12),
]


@dataclass(frozen=True)
class Subject:
    scorer: TransformersScorer
    frames_THWC: np.ndarray

    @property
    def family(self) -> Any:
        return self.scorer.family

    def watch(self) -> WatchedFrames:
        return self.scorer.watch(self.frames_THWC, TIMES)

    def worst(self, targets: list[Target], seen: list[Context], readings: list[Reading], headed: bool = True) -> float:
        """Largest distance to brute force, nats a token."""
        reference = Reference(self.family, self.frames_THWC, TIMES, headed=headed)
        return max(
            float(np.abs(reference.logprob(context, target) - logprob).max())
            for target, reading in zip(targets, readings, strict=True)
            for context, logprob in zip(seen, reading.logprob, strict=True)
        )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: checkpoint(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope="module", params=KINDS)
def subject(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Subject:
    frames = np.random.default_rng(0).integers(0, 256, (N_FRAMES, 60, 90, 3), dtype=np.uint8)
    return Subject(load_scorer(str(folders[request.param])), frames)


def test_checkpoints_are_small_and_of_the_real_classes(subject: Subject) -> None:
    assert sum(p.numel() for p in subject.family.model.parameters()) <= 500_000
    assert type(subject.family.model).__name__.endswith("ForConditionalGeneration")


def test_engine_equals_brute_force_in_every_context_and_target(subject: Subject) -> None:
    readings = subject.watch().read(TARGETS, SEEN)
    assert subject.worst(TARGETS, SEEN, readings) <= FLOOR
    for reading in readings:
        sums = np.array([v.sum() for v in reading.logprob])
        apart = np.abs(sums[:, None] - sums[None])[np.triu_indices(len(sums), 1)]
        assert np.median(apart) > 1000 * FLOOR  # contexts do differ: this compares no constants


def test_paper_prompt_equals_brute_force_and_is_another_prompt(subject: Subject) -> None:
    paper = TransformersScorer(subject.family, None, "tiny", prompt="paper")
    readings = paper.watch(subject.frames_THWC, TIMES).read(TARGETS, SEEN)
    assert subject.worst(TARGETS, SEEN, readings, headed=False) <= FLOOR
    cards = [s.card(subject.frames_THWC) for s in (paper, subject.scorer)]
    assert cards[0].prompt_hash != cards[1].prompt_hash
    (headed, unheaded) = (
        w.read(TARGETS[:1], SEEN)[0] for w in (subject.watch(), paper.watch(subject.frames_THWC, TIMES))
    )
    assert headed.token_id == unheaded.token_id
    assert np.abs(headed.logprob[0] - unheaded.logprob[0]).max() > 1000 * FLOOR


def test_a_reading_does_not_depend_on_what_shares_the_batch(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    together = subject.watch().read(TARGETS, SEEN)
    watched = subject.watch()
    order = np.random.default_rng(1).permutation(len(SEEN))
    shuffled = watched.read(TARGETS[::-1], [SEEN[i] for i in order])[::-1]
    monkeypatch.setattr("stages.models.transformers_scorer.BATCH_TOKENS", 1)  # a row a pass
    monkeypatch.setattr("stages.models.transformers_scorer.TOWER_TOKENS", 1)  # a unit a pass
    monkeypatch.setattr("stages.models.shared_prefix.LOGITS", 1)  # a token's logits at once
    alone = [subject.watch().read([target], [context])[0] for target in TARGETS for context in SEEN]
    for t, (all_at_once, mixed) in enumerate(zip(together, shuffled, strict=True)):
        assert all_at_once.token_id == mixed.token_id
        for c, logprob in enumerate(all_at_once.logprob):
            at = int(np.flatnonzero(order == c)[0])
            np.testing.assert_allclose(mixed.logprob[at], logprob, atol=FLOOR)
            np.testing.assert_allclose(alone[t * len(SEEN) + c].logprob[0], logprob, atol=FLOOR)


def test_the_same_call_gives_the_same_bits(subject: Subject) -> None:
    first, again = (subject.watch().read(TARGETS, SEEN) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.logprob, b.logprob, strict=True))


def test_each_unit_goes_through_the_tower_once(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    encode = subject.family.encode_units
    monkeypatch.setattr(subject.family, "encode_units", lambda pixels: (seen.append(len(pixels)), encode(pixels))[1])
    watched = subject.watch()
    watched.read(TARGETS[:1], SEEN)
    watched.read(TARGETS[1:], SEEN)
    distinct = {unit for context in SEEN for unit in subject.family.units(context.index)}
    assert sum(seen) == len(distinct)
    if subject.family.model.config.model_type == "llava_onevision":
        assert len(distinct) == N_FRAMES


def test_what_is_too_long_is_refused_with_its_length(subject: Subject) -> None:
    long = Target("long", "What?", "moves " * 5000)
    with pytest.raises(TooLong, match=r"long: \d+ \+ \d+ tokens > 4096"):
        subject.watch().read([long], SEEN)


def test_one_frame_plan_and_even_plan(subject: Subject) -> None:
    for n in (1, 4):
        frames, times, seen = subject.frames_THWC[:n], TIMES[:n], contexts(n, shuffles=1, key="k")
        (reading,) = subject.scorer.watch(frames, times).read(TARGETS[:1], seen)
        reference = Reference(subject.family, frames, times)
        for context, logprob in zip(seen, reading.logprob, strict=True):
            np.testing.assert_allclose(logprob, reference.logprob(context, TARGETS[0]), atol=FLOOR)


def test_texts_that_cannot_be_cut_are_refused(subject: Subject) -> None:
    read = subject.watch().read
    with pytest.raises(NotSeparable, match="take it out"):
        read([Target("x", f"{subject.family.mark} What?", "a circle")], SEEN[:1])
    with pytest.raises(ValueError, match="empty answer"):
        read([Target("x", "What?", "")], SEEN[:1])


def test_uncalibrated_has_no_thresholds(subject: Subject) -> None:
    card = subject.scorer.card(subject.frames_THWC)
    assert subject.scorer.thresholds is None
    assert subject.scorer.n_frames is None
    assert (card.scorer_domain, card.thresholds, card.skill) == ("unknown", "null", "null")
    assert card.scorer.startswith(f"{Path(card.scorer.split('@')[0]).name}@")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_under_the_floor_that_it_states(
    subject: Subject, folders: dict[str, Path], dtype: str
) -> None:
    kind = subject.family.model.config.model_type
    half = Subject(load_scorer(str(folders[kind]), dtype=dtype), subject.frames_THWC)
    readings = half.watch().read(TARGETS, SEEN)
    assert half.worst(TARGETS, SEEN, readings) <= half.scorer.floor
    assert half.scorer.card(half.frames_THWC).dtype == dtype


def test_what_cannot_be_loaded_says_what_to_do(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(NoScorer, match=r"lacks weights \(\*\.safetensors\), preprocessor_config\.json"):
        load_scorer(str(tmp_path))
    for name in ("model.safetensors", "preprocessor_config.json", "tokenizer_config.json"):
        (tmp_path / name).write_text("{}")
    find.cache_clear()
    with pytest.raises(NoScorer, match="is a bert model; supported are llava_onevision, qwen2_5_vl, qwen3_vl"):
        load_scorer(str(tmp_path))
    with pytest.raises(NoScorer, match="no such folder, and no hub id"):
        load_scorer("nothing here")
    with pytest.raises(NoScorer, match="dtype 'int8'"):
        load_scorer(str(folders["qwen3_vl"]), dtype="int8")
    with pytest.raises(NoScorer, match="leave max_pixels out"):
        load_scorer(str(folders["llava_onevision"]), max_pixels=1000)
    if not torch.cuda.is_available():
        with pytest.raises(NoScorer, match="sees no CUDA GPU"):
            load_scorer(str(folders["qwen3_vl"]), device="cuda")


def test_ready_frames_are_read_where_only_torch_and_transformers_are(folders: dict[str, Path]) -> None:
    code = f"""
import sys
for name in ("ray", "av", "cv2", "pyarrow", "torchvision", "scenedetect", "pydantic"):
    sys.modules[name] = None
import numpy as np
from stages.models.load import load_scorer
from stages.models.protocols import Target
class Context:
    index, names = (0, 1), (1, 2)
for folder in {[str(f) for f in folders.values()]!r}:
    watched = load_scorer(folder).watch(np.zeros((2, 64, 64, 3), np.uint8), ["0.00 s", "1.00 s"])
    (reading,) = watched.read([Target("a", "What?", "A circle.")], [Context()])
    assert np.isfinite(reading.logprob[0]).all()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
