"""Scores of texts about one clip, through any scorer: what is read, in which order, and what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.sample import TargetScore
from stages.algorithms.certificate import Frames, certificate
from stages.algorithms.thresholds import NUMERIC_FLOOR, Thresholds
from stages.algorithms.tpl import (
    FRAME,
    HELD,
    TEXT,
    VIDEO,
    WITHOUT,
    Context,
    contexts,
    held,
    nats,
    segments,
    target_score,
)
from stages.models.protocols import Reading, Target, Watched

Read = dict[Context, np.ndarray]


@dataclass(frozen=True, slots=True)
class Measures:
    """What is read beyond all frames, none, and each alone."""

    shuffles: int = 0  # random orders of all frames; with any, the reversed order too
    segments: bool = False  # all frames, each segment in turn replaced by its neighbour: SEGMENTS reads at most
    certificate: bool = False  # films of 2 to 8 frames, each held, target by target: at most certificate.most_reads

    def __post_init__(self) -> None:
        if self.shuffles < 0:
            raise ValueError(f"shuffles={self.shuffles} is no count")


def measure(
    watched: Watched,
    targets: Sequence[Target],
    *,
    n_frames: int,
    key: str,
    thresholds: Thresholds | None,
    measures: Measures,
    floor: float = NUMERIC_FLOOR,
) -> tuple[TargetScore, ...]:
    """One score a target; `key` draws the random orders, `floor` is the scorer's, nats a token.

    Raises TooLong, and FloatingPointError (see target_score).
    """
    seen = contexts(n_frames, shuffles=measures.shuffles, key=key, segments=measures.segments)
    scores: list[TargetScore] = []
    for target, reading in zip(targets, watched.read(targets, seen), strict=True):
        read = dict(zip(seen, reading.logprob, strict=True))
        if measures.certificate:
            read |= _certified(watched, target, reading, read, thresholds, floor)
        scores.append(target_score(target.target_id, reading.token_id, read, thresholds, floor))
    return tuple(scores)


def _certified(
    watched: Watched, target: Target, reading: Reading, read: Read, thresholds: Thresholds | None, floor: float
) -> Read:
    """The HELD context of the target's certificate; nothing where the video tells nothing that frames could tell.

    It names a frame where that frame alone was read, and no film that holds it.
    """
    token_id = reading.token_id
    nll = {c: nats(target.target_id, token_id, c, v) for c, v in read.items()}
    by_kind = {c.kind: value for c, value in nll.items()}
    bound = thresholds.of(len(token_id)).text_gain if thresholds else 0.0
    if by_kind[TEXT] - by_kind[VIDEO] <= max(bound, floor * len(token_id)):
        return {}
    n_frames = sum(c.kind == FRAME for c in read)
    known = {c.index: (c, v) for c, v in read.items() if c.kind in (VIDEO, FRAME)}

    def more(sets: Sequence[Frames]) -> list[float]:
        shown = [Context(HELD, None, held(n_frames, frames)) for frames in sets]
        (again,) = watched.read([target], shown)
        known.update(zip(sets, zip(shown, again.logprob, strict=True), strict=True))
        return [nats(target.target_id, token_id, c, v) for c, v in zip(shown, again.logprob, strict=True)]

    single = [nll[c] for c in read if c.kind == FRAME]
    found = certificate(text=by_kind[TEXT], video=by_kind[VIDEO], single=single, rank=_rank(nll, single), read=more)
    context, logprob = known[found.frames]
    return {Context(HELD, context.frame, context.index): logprob}


def _rank(nll: dict[Context, float], single: Sequence[float]) -> list[float]:
    """Which frames may be needed most: those that are missed, where that was measured, else those that tell most."""
    missed = [value for c, value in nll.items() if c.kind == WITHOUT]
    if not missed:
        return [-value for value in single]
    return [gain for part, gain in zip(segments(len(single)), missed, strict=True) for _ in part]
