"""Fewer frames than all: estimates of a text's TPL for corpora that are too big for the full curve.

- "full": every frame; exact.
- "k=4": four frames drawn without replacement by the clip's key, the same for all its texts, so that they share their
  prefixes. `tpl` is unbiased, `tpl_se` is its standard error.
- "coarse": every few frames, then nearer and nearer around the best one. For `tpl_key`; `tpl` stays null, because
  frames around the best one are no sample of the clip.
- "early": frames in drawn order until what matters is certain: nothing at all where the video tells nothing
  (`ungrounded`), until one frame tells all (`one-frame`), or until the 95 % interval of `tpl` is narrow enough.

What was not read is null, never filled in. The minimum over the frames read cannot be under the true one, so
`tpl_key_most` is an upper bound of `tpl_key`, and a verdict is given where that bound or `text_gain` decides it. Where
a budget came to read every frame, its text has a score like any other.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from scipy.special import stdtrit

from schemas.row import Float32
from schemas.sample import ContextScore, TargetEstimate, TargetScore
from stages.algorithms.draws import draws
from stages.algorithms.thresholds import NUMERIC_FLOOR, ONE_FRAME, UNGROUNDED, Bounds, Thresholds
from stages.algorithms.tpl import FRAME, TEXT, VIDEO, Context, nats, target_score
from stages.models.protocols import Target, Watched

FULL, RANDOM, COARSE, EARLY = "full", "random", "coarse", "early"
FIRST, NEXT = 4, 2  # frames that "early" reads at first and then: fewer than four give no useful interval
CONFIDENCE = 0.95
WIDTH = 0.1  # of text_gain: half of the interval of tpl that is narrow enough for "early"


@dataclass(frozen=True, slots=True)
class Budget:
    """Which estimate; `frames` where it is so many random ones."""

    kind: str = FULL
    frames: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Of "full", "k=4", "coarse" or "early"; raises ValueError for any other."""
        if text in (FULL, COARSE, EARLY):
            return cls(text)
        found = re.fullmatch(r"k=([1-9]\d*)", text)
        if not found:
            raise ValueError(f'budget {text!r}: give "full", "coarse", "early", or "k=4" for four random frames')
        return cls(RANDOM, int(found[1]))

    def __str__(self) -> str:
        return f"k={self.frames}" if self.kind == RANDOM else self.kind


@dataclass(slots=True)
class _Known:
    """One text while it is read."""

    target: Target
    n_frames: int
    thresholds: Thresholds | None
    floor: float  # nats a token
    read: dict[Context, np.ndarray] = field(default_factory=dict)
    token_id: tuple[int, ...] = ()
    curve: dict[int, float] = field(default_factory=dict)

    @property
    def bounds(self) -> Bounds | None:
        return self.thresholds.of(len(self.token_id)) if self.thresholds else None

    def nll(self, kind: str) -> float:
        (value,) = [nats(self.target.target_id, self.token_id, c, v) for c, v in self.read.items() if c.kind == kind]
        return value

    @property
    def text_gain(self) -> float:
        return self.nll(TEXT) - self.nll(VIDEO)

    @property
    def told(self) -> bool:
        """Whether the video tells more than chance, or the number format, does."""
        return self.text_gain > (self.bounds.text_gain if self.bounds else self.floor * len(self.token_id))

    @property
    def decided(self) -> str | None:
        """A verdict that no further frame changes."""
        if self.bounds and not self.told:
            return UNGROUNDED
        if self.bounds and min(self.curve.values(), default=np.inf) <= self.bounds.tpl_key:
            return ONE_FRAME
        return None


def estimates(
    watched: Watched,
    targets: Sequence[Target],
    budget: Budget,
    *,
    n_frames: int,
    key: str,
    thresholds: Thresholds | None,
    floor: float = NUMERIC_FLOOR,
) -> list[TargetScore | TargetEstimate]:
    """One a target: a score where all its frames were read. `key` draws the frames, `floor` is the scorer's, nats a
    token. Raises what the scorer raises, and FloatingPointError (see tpl.nats)."""
    order = [int(t) for t in draws(0, f"{key}/budget").permutation(n_frames)]
    known = [_Known(target, n_frames, thresholds, floor) for target in targets]
    _read(watched, known, [Context(VIDEO, None, tuple(range(n_frames))), Context(TEXT, None, ())])
    plans = [(one, _plan(budget, one, order)) for one in known]
    while plans:
        asked: dict[tuple[int, ...], list[_Known]] = defaultdict(list)
        going = []
        for one, plan in plans:
            frames = next(plan, None)
            if frames is not None:
                asked[frames].append(one)
                going.append((one, plan))
        for frames, group in asked.items():
            _read(watched, group, [Context(FRAME, t, (t,)) for t in frames])
        plans = going
    return [_found(budget, one) for one in known]


def _read(watched: Watched, group: Sequence[_Known], contexts: Sequence[Context]) -> None:
    """Adds these contexts to what is known of each text of the group."""
    for one, reading in zip(group, watched.read([k.target for k in group], contexts), strict=True):
        one.token_id = reading.token_id
        one.read |= dict(zip(contexts, reading.logprob, strict=True))
        video = one.nll(VIDEO)
        for c, logprob in zip(contexts, reading.logprob, strict=True):
            if c.kind == FRAME and c.frame is not None:
                one.curve[c.frame] = nats(one.target.target_id, one.token_id, c, logprob) - video


def _plan(budget: Budget, one: _Known, order: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Frames to read, step by step; each step sees what the one before it found."""
    if budget.kind == FULL:
        yield tuple(range(one.n_frames))
    elif budget.kind == RANDOM:
        yield tuple(sorted(order[: budget.frames]))
    elif budget.kind == COARSE:
        yield from _coarse(one)
    else:
        yield from _early(one, order)


def _coarse(one: _Known) -> Iterator[tuple[int, ...]]:
    """About sqrt(T) frames evenly, then two neighbours of the best one at half the distance, down to one."""
    stride = 1
    while (2 * stride) ** 2 <= one.n_frames:
        stride *= 2
    yield tuple(range(stride // 2, one.n_frames, stride))
    while stride > 1:
        stride //= 2
        best = min(one.curve, key=lambda t: (one.curve[t], t))
        near = [t for t in (best - stride, best + stride) if 0 <= t < one.n_frames and t not in one.curve]
        if near:
            yield tuple(near)


def _early(one: _Known, order: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """In drawn order, until a verdict is decided or tpl is known well enough."""
    at, step = 0, FIRST
    while at < len(order) and one.told and one.decided is None:
        yield tuple(sorted(order[at : at + step]))
        at, step = at + step, NEXT
        if _half_width(list(one.curve.values()), one.n_frames) <= _enough(one):
            return


def _enough(one: _Known) -> float:
    return max(one.bounds.tpl_key if one.bounds else one.floor * len(one.token_id), WIDTH * one.text_gain)


def _half_width(values: Sequence[float], n_frames: int) -> float:
    """Half of the 95 % interval of the mean over all frames."""
    error = _standard_error(values, n_frames)
    if error is None:
        return float("inf")
    return float(stdtrit(max(1, len(values) - 1), (1 + CONFIDENCE) / 2)) * error


def _standard_error(values: Sequence[float], n_frames: int) -> float | None:
    """Of the mean of a sample without replacement; null for one frame of several."""
    k = len(values)
    if k == n_frames:
        return 0.0
    return float(np.std(values, ddof=1)) / sqrt(k) * sqrt(1 - k / n_frames) if k > 1 else None


def _found(budget: Budget, one: _Known) -> TargetScore | TargetEstimate:
    target_id, values = one.target.target_id, list(one.curve.values())
    read = dict(sorted(one.read.items(), key=lambda item: (item[0].kind == FRAME, item[0].frame or 0)))
    if len(values) == one.n_frames:
        return target_score(target_id, one.token_id, read, one.thresholds, one.floor)
    # What ended because of the frames that it saw is no sample of the clip.
    sample = bool(values) and budget.kind != COARSE and not (budget.kind == EARLY and one.decided)
    return TargetEstimate(
        target_id=target_id,
        token_id=one.token_id,
        contexts=tuple(
            ContextScore(context=c.kind, frame=c.frame, token_logprob=tuple(Float32(float(x)) for x in v))
            for c, v in read.items()
        ),
        nll_video=one.nll(VIDEO),
        nll_text=one.nll(TEXT),
        text_gain=one.text_gain,
        curve=tuple(one.curve.get(t) for t in range(one.n_frames)),
        tpl=float(np.mean(values)) if sample else None,
        tpl_se=_standard_error(values, one.n_frames) if sample else None,
        tpl_key_most=min(values, default=None),
        best_read=min(one.curve, key=lambda t: (one.curve[t], t), default=None),
        verdict=one.decided,
    )
