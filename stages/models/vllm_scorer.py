"""A checkpoint as a Scorer through vLLM: the transformers scorer's prompts, one engine request a target and context.

Nothing is shared between requests: vLLM encodes and reads a clip again for each of them (benchmarks/results/engines.md
has the price). Prompts, ids, pixels and limits are those of the transformers scorer, whose model stays without weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stages.models.family import Family, Shown
from stages.models.prefix import Prefix
from stages.models.protocols import OtherPositions, Reading, Target, TooLong
from stages.models.transformers_scorer import TransformersScorer, WatchedFrames
from stages.models.vllm_engine import Engine, Request, refuse_order
from stages.models.vllm_process import EngineDied

if TYPE_CHECKING:
    from schemas.sample import ScorerCard
    from stages.algorithms.tpl import Context

FLOOR = 5e-4  # nats a token, float32, against transformers: 5e-6 on small random weights, 2e-4 the embedded on noise


class Engines:
    """One engine at a time: a fresh one where it is worn, or where it died, once for the same requests."""

    def __init__(self, start: Callable[[], Engine]) -> None:
        self._start = start
        self._engine: Engine | None = start()
        self.started = 1

    def answer(self, requests: Sequence[Request]) -> list[np.ndarray]:
        """Log-probabilities of each request's target, all from one engine, in order.

        Raises EngineDied where two engines in a row died over them: the next requests get a fresh one.
        """
        if self._engine is not None and self._engine.worn():
            self.close()
        try:
            return self._answered(requests)
        except EngineDied:
            self._engine = None
        try:
            return self._answered(requests)
        except EngineDied as error:
            self._engine = None
            raise EngineDied(f"{error}; so did a fresh one: these {len(requests)} requests are given up") from error

    def close(self) -> None:
        """Ends the engine; the next request starts another."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _answered(self, requests: Sequence[Request]) -> list[np.ndarray]:
        if self._engine is None:
            self._engine = self._start()
            self.started += 1
        return [self._engine.answer(request) for request in requests]


class VllmScorer(TransformersScorer):
    """Deterministic: one request at a time, in the order of targets, then contexts."""

    def __init__(
        self,
        family: Family,
        card: Mapping[str, Any] | None,
        name: str,
        *,
        prompt: str,
        start: Callable[[], Engine],
        max_tokens: int,
        version: str,
    ) -> None:
        super().__init__(family, card, name, prompt=prompt)
        self.floor = max(self.floor, FLOOR)
        self._version = version
        self._max_tokens = max_tokens
        self.engines = Engines(lambda: self._trusted(start))

    def card(self, frames_THWC: np.ndarray) -> ScorerCard:
        return replace(super().card(frames_THWC), engine=f"vllm/{self._version}")

    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> VllmFrames:
        if len(times) != len(frames_THWC):
            raise ValueError(f"{len(frames_THWC)} frames, {len(times)} times")
        small_THWC = self.family.pixel.resize(frames_THWC)
        return VllmFrames(
            self.family, _shape_only(small_THWC), tuple(times), self._headed, small_THWC=small_THWC, scorer=self
        )

    @property
    def max_tokens(self) -> int:
        """Of a prompt with its answer: one less than the engine reads, which must be able to write one token."""
        return self._max_tokens - 1

    def close(self) -> None:
        """Ends the engine's processes. They also end with this process."""
        self.engines.close()

    def _trusted(self, start: Callable[[], Engine]) -> Engine:
        """A started engine that has shown that order does not matter to it."""
        engine = start()
        try:
            refuse_order(engine, *self._probe())
        except BaseException:
            engine.close()
            raise
        return engine

    def _probe(self) -> list[Request]:
        """Two requests of different length that begin alike: what a cache between requests would confuse."""
        from stages.algorithms.tpl import FRAME, VIDEO, Context

        frames_THWC = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
        watched = self.watch(frames_THWC, [f"{0.1 * i:.2f} s" for i in range(4)])
        contexts = [Context(VIDEO, None, (0, 1, 2, 3)), Context(FRAME, 0, (0,))]
        (requests,) = watched.requests([Target("probe", "What is shown?", "Noise, and nothing else.")], contexts)
        return requests


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmFrames(WatchedFrames):
    """A clip's frames in the size that the model reads, and the scorer that reads them."""

    small_THWC: np.ndarray
    scorer: VllmScorer

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        asked = self.requests(targets, contexts)
        found = self.scorer.engines.answer([request for row in asked for request in row])
        rows = [found[i : i + len(contexts)] for i in range(0, len(found), len(contexts))]
        return [Reading(r[0].token_id[-r[0].n_target :], tuple(v)) for r, v in zip(asked, rows, strict=True)]

    def requests(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[list[Request]]:
        """`[target][context]`; raises TooLong, NotSeparable, OtherPositions."""
        rows, columns = self.family.grid(self.pixels_TCHW)
        shown = [self.shown(c) for c in contexts]
        prefixes = [self.family.prefix(s, rows * columns, columns) for s in shown]
        for seen, prefix in zip(shown, prefixes, strict=True):
            _refuse_other_positions(self.family, seen, prefix, (rows, columns))
        branches = [self.family.branch(t.question, t.answer, history=t.history, headed=self.headed) for t in targets]
        longest = max(map(len, prefixes))
        for target, branch in zip(targets, branches, strict=True):
            if longest + len(branch.token_id) > self.scorer.max_tokens:
                raise TooLong(
                    f"{target.target_id}: {longest} + {len(branch.token_id)} tokens > {self.scorer.max_tokens}"
                )
        videos = [self._video(s) for s in shown]
        return [
            [
                Request((*p.token_id, *b.token_id), b.n_target, self.family.video_id, v)
                for p, v in zip(prefixes, videos, strict=True)
            ]
            for b in branches
        ]

    def _video(self, shown: Shown) -> Any:
        """The engine's video item: frames in the order shown, and for families that tell time the metadata."""
        if not shown.index:
            return None
        frames_THWC = self.small_THWC[list(shown.index)]
        if not self.family.tells_time:
            return frames_THWC
        n = len(frames_THWC)
        return frames_THWC, {
            "fps": 1 / shown.spacing_s,
            "duration": n * shown.spacing_s,
            "total_num_frames": n,
            "frames_indices": list(range(n)),
            "video_backend": "ready",
            "do_sample_frames": False,
        }


def _shape_only(small_THWC: np.ndarray) -> torch.Tensor:
    count, height, width, channels = small_THWC.shape
    return torch.empty((count, channels, height, width), device="meta")


def _refuse_other_positions(family: Family, shown: Shown, prefix: Prefix, grid_HW: tuple[int, int]) -> None:
    """Raises OtherPositions where vLLM would give the prompt's tokens other positions than transformers.

    Text after a video goes on behind its largest position in vLLM 0.32, the time axis included; transformers 5.18
    counts rows and columns only. They agree while the time axis is the shorter one.
    """
    if not family.tells_time or not shown.index:
        return
    at = prefix.token_id.index(family.video_id)
    units = len(family.units(shown.index))
    second_per_unit = float(np.float32(2 / (1 / shown.spacing_s)))
    pace = second_per_unit * getattr(family.model.config.vision_config, "tokens_per_second", 1.0)
    video = np.indices((units, *grid_HW)).reshape(3, -1)
    video[0] = (video[0] * pace).astype(np.int64)
    after = np.arange(len(prefix) - at - video.shape[1]) + at + video.max() + 1
    theirs = np.concatenate([np.tile(np.arange(at), (3, 1)), video + at, np.tile(after, (3, 1))], axis=1)
    if not np.array_equal(theirs, prefix.position_AN.numpy()):
        raise OtherPositions(
            f"vLLM and transformers place the tokens after {units} pairs of frames, {shown.spacing_s:g} s apart, at "
            f"other positions ({theirs[0, -1]} against {int(prefix.position_AN[0, -1])}): score such clips with "
            "--engine transformers, or with frames that are nearer in time"
        )
