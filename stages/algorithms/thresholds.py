"""From which size on a gain is a gain, and what that makes of a text: the verdict (DESIGN section 4, docs/tpl.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NUMERIC_FLOOR = 1e-5  # nats a token: fp32, shared prefix against brute force; a scorer states its own
ORDERS = 4  # random orders whose mean gain was calibrated, where a card does not say
SHARE = 0.9  # of the gain from no frame to all: a set of frames that reaches it tells nearly all
UNGROUNDED, ONE_FRAME, FEW_FRAMES, TEMPORAL, ORDER_DEPENDENT = (
    "ungrounded", "one-frame", "few-frames", "temporal", "order-dependent",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What controls of a length reach by chance, nats over the target: a gain up to it is no gain."""

    max_tokens: int | None  # of targets that these are for; null: of any length beyond the bin before
    text_gain: float  # captions of other films, and texts that the question gives away
    tpl_key: float  # texts that one frame gives away, on films that move and on frozen ones
    order_gain: float | None  # texts that any order gives away; null where it was not calibrated
    controls: int | None = None  # behind the quantity that has fewest; null where the card does not say


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds by length of the target, for one scorer and one number of frames. Shortest first, the last bin is open.

    The bound on order_gain holds for the mean over so many random orders: that of fewer scatters more.
    """

    bins: tuple[Bounds, ...]
    orders: int = ORDERS

    def __post_init__(self) -> None:
        ends = [b.max_tokens for b in self.bins]
        closed = [end for end in ends[:-1] if end is not None]
        if not ends or ends[-1] is not None or len(closed) != len(ends) - 1 or closed != sorted(set(closed)):
            raise ValueError(f"thresholds: max_tokens are {ends}; they must rise and end in null: calibrate the scorer")

    @classmethod
    def from_card(cls, values: Mapping[str, Any]) -> "Thresholds":
        """Those of a card's `thresholds`: {"bins": [...]}, or one pair for all lengths as in cards of version 0.1."""
        old = {"max_tokens": None, "order_gain": None, **values}
        bins = tuple(_never_under_the_floor(Bounds(**one)) for one in values.get("bins", [old]))
        return cls(bins, values.get("orders", ORDERS))

    def of(self, n_tokens: int) -> Bounds:
        """The bounds for a target of that many tokens."""
        return next(b for b in self.bins if b.max_tokens is None or n_tokens <= b.max_tokens)


def few(n_frames: int) -> int:
    """How many frames are few: a quarter of the plan, and two at least."""
    return max(2, n_frames // 4)


def verdict(
    bounds: Bounds | None,
    *,
    n_frames: int,
    text_gain: float,
    tpl_key: float,
    order_gain: float | None,
    certificate: Sequence[int] | None,
    certificate_share: float | None,
) -> str | None:
    """What a reader must do for this text; the first of these that holds, null where the scorer is not calibrated.

    - ungrounded: text_gain <= bound. The video does not make the text likelier, so nothing else can be said of it.
    - one-frame: tpl_key <= bound. One glance gives all of it.
    - order-dependent: order_gain > bound. No set of frames gives it: the order in which they come is needed.
    - few-frames: a certificate of at most few(T) frames has SHARE of the gain. A sparse sampler gives nearly all of it,
      also where that is a single frame and only the rest, which is more than chance, needs others.
    - temporal: none of these; without order or certificate measured, all that is not one of the first two.

    Order comes before few: "moves right" has a certificate of two frames, but two frames without their order say
    "left" as loudly. The other way round nothing is lost, since the certificate stands beside the verdict.
    """
    if bounds is None:
        return None
    if text_gain <= bounds.text_gain:
        return UNGROUNDED
    if tpl_key <= bounds.tpl_key:
        return ONE_FRAME
    if order_gain is not None and bounds.order_gain is not None and order_gain > bounds.order_gain:
        return ORDER_DEPENDENT
    reached = certificate_share is not None and certificate_share >= SHARE
    if certificate is not None and reached and len(certificate) <= few(n_frames):
        return FEW_FRAMES
    return TEMPORAL


def _never_under_the_floor(b: Bounds) -> Bounds:
    """A percentile of controls may be negative; numbers under the floor are not told apart."""
    return Bounds(
        max_tokens=b.max_tokens,
        text_gain=max(NUMERIC_FLOOR, b.text_gain),
        tpl_key=max(NUMERIC_FLOOR, b.tpl_key),
        order_gain=None if b.order_gain is None else max(NUMERIC_FLOOR, b.order_gain),
        controls=b.controls,
    )
