"""Temporal perplexity: how much of a text one frame would have given away (DESIGN section 4; Video-UTR, Eq. 6).

L(y|C) is the negative log-likelihood of the target y in context C, summed over the target's tokens, in nats.
The paper's TPL is L(y|one random frame) - L(y|V), divided by |y|; here sums are kept, and tokens beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.row import Float32
from schemas.sample import ContextScore, TargetScore
from stages.algorithms.draws import draws

VIDEO, TEXT, FRAME, SHUFFLED, REVERSED = "video", "text", "frame", "shuffled", "reversed"


@dataclass(frozen=True, slots=True)
class Context:
    """Which frames a target is read with. `frame` numbers single frames and shuffles."""

    kind: str
    frame: int | None
    index: tuple[int, ...]  # planned frames in the order shown, 0-based


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What controls reach by chance, nats: a gain under it is no gain. Never under the numeric floor.

    Each is the 95th percentile over held-out controls, for one scorer and one number of frames.
    """

    text_gain: float  # on captions of other videos
    tpl_key: float  # on texts that any frame gives away: static films and frozen ones


NUMERIC_FLOOR = 1e-5  # nats: fp32, shared prefix against brute force


def contexts(n_frames: int, *, shuffles: int, key: str) -> list[Context]:
    """All frames, none, each alone; and `shuffles` random orders and the reversed one where order is asked for."""
    every = tuple(range(n_frames))
    found = [Context(VIDEO, None, every), Context(TEXT, None, ()), *(Context(FRAME, t, (t,)) for t in every)]
    if shuffles and n_frames > 1:
        rng = draws(0, f"{key}/shuffle")
        orders = [tuple(int(i) for i in rng.permutation(n_frames)) for _ in range(shuffles)]
        found += [Context(SHUFFLED, k, order) for k, order in enumerate(orders)]
        found.append(Context(REVERSED, None, every[::-1]))
    return found


def target_score(
    target_id: str,
    token_id: Sequence[int],
    read: Mapping[Context, np.ndarray],
    thresholds: Thresholds,
) -> TargetScore:
    """Every quantity of one target from its tokens' log-probabilities in each context.

    Raises FloatingPointError where a log-probability is not finite: such a score is no score.
    """
    for context, logprob in read.items():
        if len(logprob) != len(token_id) or not np.isfinite(logprob).all():
            raise FloatingPointError(
                f"{target_id}: log-probabilities in context {context.kind} {context.frame}: {logprob}"
            )
    nll = {c: -float(np.sum(v, dtype=np.float64)) for c, v in read.items()}
    video = _only(nll, VIDEO)
    single = [value for c, value in nll.items() if c.kind == FRAME]
    curve = [value - video for value in single]
    text_gain = _only(nll, TEXT) - video
    static_gain = _only(nll, TEXT) - min(single)
    shuffled = [value - video for c, value in nll.items() if c.kind == SHUFFLED]
    backward = [value - video for c, value in nll.items() if c.kind == REVERSED]
    hackability, flags = _hackability(text_gain, static_gain, min(curve), thresholds.text_gain)
    return TargetScore(
        target_id=target_id,
        token_id=tuple(token_id),
        contexts=tuple(
            ContextScore(context=c.kind, frame=c.frame, token_logprob=tuple(Float32(float(x)) for x in v))
            for c, v in read.items()
        ),
        nll_video=video,
        nll_text=_only(nll, TEXT),
        curve=tuple(curve),
        tpl=float(np.mean(curve)),
        tpl_key=min(curve),
        tpl_random=curve[int(draws(0, f"{target_id}/random-frame").integers(len(curve)))],
        text_gain=text_gain,
        static_gain=static_gain,
        order_gain=float(np.mean(shuffled)) if shuffled else None,
        reverse_gain=backward[0] if backward else None,
        hackability=hackability,
        flags=flags,
        verdict=_verdict(text_gain, min(curve), thresholds),
    )


def _hackability(
    text_gain: float, static_gain: float, tpl_key: float, floor: float
) -> tuple[float | None, tuple[str, ...]]:
    """static_gain / text_gain in 0..1, with a flag wherever a bound and not the ratio spoke (DESIGN section 4)."""
    if text_gain <= floor:
        return None, ("ungrounded",)
    flags = [f for f, there in (("frame_misleads", static_gain < 0), ("frame_beats_video", tpl_key < 0)) if there]
    return min(1.0, max(0.0, static_gain / text_gain)), tuple(flags)


def _verdict(text_gain: float, tpl_key: float, thresholds: Thresholds) -> str:
    if text_gain <= thresholds.text_gain:
        return "ungrounded"
    return "temporal" if tpl_key > thresholds.tpl_key else "one-frame"


def _only(nll: Mapping[Context, float], kind: str) -> float:
    (value,) = [v for c, v in nll.items() if c.kind == kind]
    return value
