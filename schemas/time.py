"""Time is integer presentation ticks in the stream's own time base; seconds exist at the edges only."""

from collections.abc import Sequence
from fractions import Fraction


def seconds(tick: int, time_base_num: int, time_base_den: int) -> float:
    """Seconds of a tick count: the only conversion in the house."""
    return tick * time_base_num / time_base_den


def spread(n: int, count: int) -> tuple[int, ...]:
    """`min(n, count)` distinct indices of range(n), at the midpoints of equal bins (DESIGN section 3).

    >>> spread(10, 4)
    (1, 3, 6, 8)
    """
    size = min(n, count)
    return tuple((2 * k + 1) * n // (2 * size) for k in range(size))


def grid(frame_tick: Sequence[int], rate_hz: float, time_base_num: int, time_base_den: int) -> tuple[int, ...]:
    """Indices of the frames that sample `frame_tick` at `rate_hz`, or all where the film is slower.

    Each point of the regular time grid takes the first frame at or after it; no frame is taken twice.
    """
    if not frame_tick:
        return ()
    step = Fraction(time_base_den, time_base_num) / Fraction(rate_hz).limit_denominator(1_000_000)
    taken: list[int] = []
    due = Fraction(frame_tick[0])
    for index, tick in enumerate(frame_tick):
        # Half a tick of slack: a 29.97 fps film has rounded ticks, which would otherwise miss each third point.
        if tick + Fraction(1, 2) >= due:
            taken.append(index)
            due += step * ((Fraction(tick) + Fraction(1, 2) - due) // step + 1)
    return tuple(taken)
