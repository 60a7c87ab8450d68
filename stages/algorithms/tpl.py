"""Temporal perplexity: how much of a text one frame would have given away (DESIGN section 4; Video-UTR, Eq. 6).

L(y|C) is the negative log-likelihood of the target y in context C, summed over the target's tokens, in nats.
The paper's TPL is L(y|one random frame) - L(y|V), divided by |y|; here sums are kept, and tokens beside them.
docs/tpl.md has every quantity with its formula.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from schemas.row import Float32
from schemas.sample import ContextScore, TargetScore
from stages.algorithms.draws import draws
from stages.algorithms.thresholds import NUMERIC_FLOOR, UNGROUNDED, Thresholds, verdict

VIDEO, TEXT, FRAME, SHUFFLED, REVERSED, WITHOUT, HELD = (
    "video", "text", "frame", "shuffled", "reversed", "without", "held",
)  # fmt: skip
SEGMENTS = 8  # that are left out one at a time; of single frames in plans up to this length
TOP = 3  # tokens: a direction is one or two of them


@dataclass(frozen=True, slots=True)
class Context:
    """Which frames a target is read with. `frame` numbers single frames, shuffles and segments."""

    kind: str
    frame: int | None
    index: tuple[int, ...]  # planned frames in the order shown, 0-based

    @property
    def names(self) -> tuple[int, ...]:
        """What the prompt calls the frames shown: 1-based indices of the plan.

        A film in another order, or with frames replaced, is a film of its own: its first frame is called frame1. The
        true numbers would give away what was changed, to any reader that can sort.
        """
        whole = self.kind in (SHUFFLED, REVERSED, WITHOUT, HELD)
        return tuple(k + 1 for k in (range(len(self.index)) if whole else self.index))


def contexts(n_frames: int, *, shuffles: int, key: str, segments: bool = False) -> list[Context]:
    """All frames, none, each alone; random orders and the reversed one, and films without one segment, where asked."""
    every = tuple(range(n_frames))
    found = [Context(VIDEO, None, every), Context(TEXT, None, ()), *(Context(FRAME, t, (t,)) for t in every)]
    if shuffles and n_frames > 1:
        rng = draws(0, f"{key}/shuffle")
        orders = [tuple(int(i) for i in rng.permutation(n_frames)) for _ in range(shuffles)]
        found += [Context(SHUFFLED, k, order) for k, order in enumerate(orders)]
        found.append(Context(REVERSED, None, every[::-1]))
    if segments and n_frames > 1:
        found += [Context(WITHOUT, k, index) for k, index in enumerate(_films_without(n_frames))]
    return found


def target_score(
    target_id: str,
    token_id: Sequence[int],
    read: Mapping[Context, np.ndarray],
    thresholds: Thresholds | None,
    floor: float = NUMERIC_FLOOR,
) -> TargetScore:
    """Every quantity of one target from its tokens' log-probabilities in each context; null where one was not read.

    The certificate is the frames of the HELD context, if there is one. `floor` is what the scorer's number format does
    to a log-probability, nats a token: without thresholds a gain up to it is none. Raises FloatingPointError where a
    log-probability is not finite: such a score is no score.
    """
    nll = {c: nats(target_id, token_id, c, v) for c, v in read.items()}
    video, text = _only(nll, VIDEO), _only(nll, TEXT)
    curve = [value - video for _, value in _numbered(nll, FRAME)]
    best = int(np.argmin(curve))
    text_gain, static_gain, tpl_key = text - video, text - video - curve[best], curve[best]
    drawn = curve[int(draws(0, f"{target_id}/random-frame").integers(len(curve)))]
    shuffled = [value - video for _, value in _numbered(nll, SHUFFLED)]
    backward = [value - video for c, value in nll.items() if c.kind == REVERSED]
    missed = [value - video for _, value in _numbered(nll, WITHOUT)]
    kept = next(((tuple(sorted(set(c.index))), text - value) for c, value in nll.items() if c.kind == HELD), None)
    order_gain = float(np.mean(shuffled)) if shuffled else None
    share = kept[1] / text_gain if kept else None
    bounds = thresholds.of(len(token_id)) if thresholds else None
    n = len(token_id)
    hackability, flags = _hackability(text_gain, static_gain, tpl_key, bounds.text_gain if bounds else floor * n)
    by_token = token_gains(read, best)
    return TargetScore(
        target_id=target_id,
        token_id=tuple(token_id),
        contexts=tuple(
            ContextScore(context=c.kind, frame=c.frame, token_logprob=tuple(Float32(float(x)) for x in v))
            for c, v in read.items()
        ),
        nll_video=video,
        nll_text=text,
        curve=tuple(curve),
        best_frame=best,
        tpl=float(np.mean(curve)),
        tpl_key=tpl_key,
        tpl_random=drawn,
        text_gain=text_gain,
        static_gain=static_gain,
        tpl_per_token=float(np.mean(curve)) / n,
        tpl_key_per_token=tpl_key / n,
        tpl_random_per_token=drawn / n,
        text_gain_per_token=text_gain / n,
        top3=float(np.sort(by_token)[-TOP:].mean()),
        order_gain=order_gain,
        order_gain_sd=float(np.std(shuffled, ddof=1)) if len(shuffled) > 1 else None,
        reverse_gain=backward[0] if backward else None,
        segment_gain=tuple(missed) if missed else None,
        effective_frames=effective_frames(missed, floor * n) if missed else None,
        certificate=kept[0] if kept else None,
        certificate_share=share,
        hackability=hackability,
        flags=flags,
        verdict=verdict(
            bounds,
            n_frames=len(curve),
            text_gain=text_gain,
            tpl_key=tpl_key,
            order_gain=order_gain if thresholds and len(shuffled) == thresholds.orders else None,
            certificate=kept[0] if kept else None,
            certificate_share=share,
        ),
    )


def nats(target_id: str, token_id: Sequence[int], context: Context, logprob: np.ndarray) -> float:
    """L(y|C), the sum over the target's tokens; raises FloatingPointError where it is none."""
    if len(logprob) != len(token_id) or not np.isfinite(logprob).all():
        raise FloatingPointError(f"{target_id}: log-probabilities in context {context.kind} {context.frame}: {logprob}")
    return -float(np.sum(logprob, dtype=np.float64))


def token_gains(read: Mapping[Context, np.ndarray], frame: int) -> np.ndarray:
    """By token: how much likelier all frames make it than that one does, nats."""
    (video,) = [v for c, v in read.items() if c.kind == VIDEO]
    (single,) = [v for c, v in read.items() if c.kind == FRAME and c.frame == frame]
    return np.asarray(video, np.float64) - np.asarray(single, np.float64)


def effective_frames(segment_gain: Sequence[float], floor: float = NUMERIC_FLOOR) -> float | None:
    """How many segments share what is missed: the exponential of the entropy of their gains, 1 to their number.

    Negative gains count as none. Null where no segment is missed by more than `floor`, nats: then the others tell all
    that each one tells.
    """
    gains = np.maximum(np.asarray(segment_gain, np.float64), 0.0)
    if gains.sum() <= floor:
        return None
    shares = gains[gains > 0] / gains.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def segments(n_frames: int) -> list[range]:
    """The frames of each segment, in order."""
    count = min(SEGMENTS, n_frames)
    ends = [k * n_frames // count for k in range(count + 1)]
    return [range(a, b) for a, b in pairwise(ends)]


def _films_without(n_frames: int) -> list[tuple[int, ...]]:
    """For each segment the film in which its frames are copies of their nearest neighbour outside."""
    return [held(n_frames, [t for t in range(n_frames) if t not in part]) for part in segments(n_frames)]


def held(n_frames: int, kept: Sequence[int]) -> tuple[int, ...]:
    """The film of `n_frames` in which each frame that is not kept is a copy of the nearest one that is, or the earlier.

    Not a blank, which misleads (a track lost 18 nats to one, pilot), and not a shorter film: a reader may never have
    seen one, and thresholds hold for one length.
    """
    return tuple(min(kept, key=lambda k: (abs(k - t), k)) for t in range(n_frames))


def _hackability(
    text_gain: float, static_gain: float, tpl_key: float, floor: float
) -> tuple[float | None, tuple[str, ...]]:
    """static_gain / text_gain in 0..1, with a flag wherever a bound and not the ratio spoke (DESIGN section 4)."""
    if text_gain <= floor:
        return None, (UNGROUNDED,)
    flags = [f for f, there in (("frame_misleads", static_gain < 0), ("frame_beats_video", tpl_key < 0)) if there]
    return min(1.0, max(0.0, static_gain / text_gain)), tuple(flags)


def _only(nll: Mapping[Context, float], kind: str) -> float:
    (value,) = [v for c, v in nll.items() if c.kind == kind]
    return value


def _numbered(nll: Mapping[Context, float], kind: str) -> list[tuple[int, float]]:
    """Number and nats of the contexts of a kind, ascending."""
    return sorted((c.frame or 0, v) for c, v in nll.items() if c.kind == kind)
