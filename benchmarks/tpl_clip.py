"""A clip of random frames and texts, scored by the engine and by naive calls; needs torch, transformers, numpy only."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from benchmarks.tpl_cost import Cost, counted
from benchmarks.tpl_models import TOKENS_A_FRAME
from stages.algorithms.prompt import header
from stages.models.family import Shown
from stages.models.onevision import OneVision
from stages.models.protocols import Target
from stages.models.transformers_scorer import TransformersScorer

QUESTION_WORDS = 20
WORDS = 8000

T = TypeVar("T")
Logprobs = list[list[np.ndarray]]  # [target][context]


@dataclass(frozen=True, slots=True)
class Shows:
    """What an engine reads of a Context of stages.algorithms.tpl, which is not imported: it needs Arrow."""

    index: tuple[int, ...]

    @property
    def names(self) -> tuple[int, ...]:
        return tuple(i + 1 for i in self.index)


@dataclass(frozen=True, slots=True)
class Timed:
    """The least of several runs."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Clip:
    """Random frames and their times; read with all frames, none, and each alone."""

    family: OneVision
    frames_THWC: np.ndarray
    times: tuple[str, ...]

    @classmethod
    def draw(cls, family: OneVision, n_frames: int, seed: int) -> "Clip":
        side = family.pixel.side_px
        frames = np.random.default_rng(seed).integers(0, 256, (n_frames, side, side, 3), dtype=np.uint8)
        return cls(family, frames, tuple(f"{0.4 * k:.2f} s" for k in range(n_frames)))

    @property
    def contexts(self) -> list[Shows]:
        n = len(self.frames_THWC)
        return [Shows(tuple(range(n))), Shows(()), *(Shows((t,)) for t in range(n))]

    def engine(self, targets: Sequence[Target]) -> Callable[[], Logprobs]:
        """A fresh clip with its pixels ready; called, it encodes and reads."""
        watched = TransformersScorer(self.family, None, "random").watch(self.frames_THWC, self.times)
        shown: Any = self.contexts
        return lambda: [list(r.logprob) for r in watched.read(targets, shown)]

    def naive(self, targets: Sequence[Target]) -> Callable[[], Logprobs]:
        """One call a text and context, of the model's own forward, pixels and ids ready."""
        model = self.family.model
        pixels = self.family.pixel.tensor(self.frames_THWC).to(model.device, model.dtype)
        calls = [[self._call(t, c.index, pixels) for c in self.contexts] for t in targets]
        return lambda: [[call() for call in row] for row in calls]

    def _call(self, target: Target, index: tuple[int, ...], pixels: torch.Tensor) -> Callable[[], np.ndarray]:
        branch = self.family.branch(target.question, target.answer)
        ids = torch.tensor([[*self._prefix(index), *branch.token_id]], device=pixels.device)
        own = pixels[list(index)][None] if index else None
        answer = ids[0, -branch.n_target :, None]

        @torch.inference_mode()
        def call() -> np.ndarray:
            keep = branch.n_target + 1
            out = self.family.model(input_ids=ids, pixel_values_videos=own, logits_to_keep=keep, use_cache=False)
            return out.logits[0, :-1].float().log_softmax(-1).gather(1, answer)[:, 0].cpu().numpy()

        return call

    def minimum(self, cost: Cost, targets: Sequence[Target]) -> float:
        """FLOPs that no way of reading these texts saves."""
        branches = [self.family.branch(t.question, t.answer) for t in targets]
        prefixes = [len(self._prefix(c.index)) for c in self.contexts]
        lengths, scored = [len(b.token_id) for b in branches], [b.n_target for b in branches]
        return cost.minimum(len(self.frames_THWC), prefixes, lengths, scored)

    def _prefix(self, index: tuple[int, ...]) -> tuple[int, ...]:
        shown = Shown(index, header(Shows(index).names, self.times))
        return self.family.prefix(shown, TOKENS_A_FRAME).token_id


def draw_targets(family: OneVision, length: int, count: int, seed: int = 0) -> list[Target]:
    """Texts of random words; question, template and answer have exactly `length` tokens."""
    rng = np.random.default_rng([seed, length])
    bare = len(family.branch(" ".join(["w0"] * QUESTION_WORDS), "w0").token_id) - 1

    def words(n: int) -> str:
        return " ".join(f"w{i}" for i in rng.integers(0, WORDS, n))

    return [Target(f"text{k}", words(QUESTION_WORDS), words(length - bare)) for k in range(count)]


@dataclass(frozen=True, slots=True)
class Run:
    """What a way of scoring computes, how long it takes, and what comes out."""

    flops: float
    timed: Timed
    peak_mb: float  # of the process above what it held before; NaN where the system does not tell
    found: Logprobs


def watched_run(make: Callable[[], Callable[[], Logprobs]], runs: int) -> Run:
    """The first run is counted, too, which costs it a thousandth; `make` prepares each one outside the clock."""
    kept: list[Logprobs] = []

    def first() -> None:
        kept.append(run())

    run = make()
    with counted() as flops:
        timing, peak = peak_mb(lambda: timed(lambda: first, 1))
    again = [timed(make, runs - 1)] if runs > 1 else []
    least = Timed(min(t.cpu_s for t in (timing, *again)), min(t.wall_s for t in (timing, *again)))
    return Run(float(flops.get_total_flops()), least, peak, kept[0])


def timed(make: Callable[[], Callable[[], object]], runs: int, wait: Callable[[], None] = lambda: None) -> Timed:
    """The least of `runs`; `wait` ends what runs beside the caller."""
    found: list[tuple[float, float]] = []
    for _ in range(runs):
        run = make()
        wait()
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        wait()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return Timed(min(c for c, _ in found), min(w for _, w in found))


def peak_mb(run: Callable[[], T]) -> tuple[T, float]:
    """What a run gives, and the most memory of the process during it above what it held before, in MB."""
    status = Path("/proc/self/status")
    if not status.exists():
        return run(), float("nan")
    gc.collect()  # else garbage that is freed during the run hides what the run holds
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is held now
    before = _kb(status, "VmRSS")
    found = run()
    return found, (_kb(status, "VmHWM") - before) / 1024


def _kb(status: Path, key: str) -> int:
    (line,) = [text for text in status.read_text().splitlines() if text.startswith(f"{key}:")]
    return int(line.split()[1])
