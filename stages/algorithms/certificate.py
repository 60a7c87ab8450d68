"""The fewest frames that tell nearly all of a text, found by adding and then by leaving out.

Adding alone keeps what it took first, and the best single frame is often none of the needed ones: of "from the left to
the right" the middle frame tells most, then both ends are added. Leaving out takes the middle away again. Leaving out
alone would need a read of nearly all frames at each step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stages.algorithms.thresholds import SHARE

MAX_FRAMES = 8  # of a certificate: beyond it a text needs the video
CANDIDATES = 8  # frames that are tried at each step, of those that are left

Frames = tuple[int, ...]  # planned frames, 0-based, in temporal order
Read = Callable[[Sequence[Frames]], Sequence[float]]  # sets of frames -> nats of the target given each


@dataclass(frozen=True, slots=True)
class Certificate:
    frames: Frames
    nll: float  # of the target given these frames, nats; more than the goal where MAX_FRAMES do not reach it


def certificate(
    *, text: float, video: float, single: Sequence[float], rank: Sequence[float], read: Read
) -> Certificate:
    """A set that has SHARE of the gain text - video, and of which each frame was missed when it was left out last.

    `text`, `video` and `single[t]` are nats of the target given no, all, and one frame. Frames of high `rank` are
    tried where not all are, and together: two that tell nothing alone are not found one by one. Calls `read` for at
    most `most_reads` sets.
    """
    n = len(single)
    goal = text - SHARE * (text - video)
    by_rank = sorted(range(n), key=lambda t: -rank[t])
    first = min(by_rank, key=lambda t: single[t])
    found = Certificate((first,), single[first])
    while found.nll > goal and len(found.frames) < min(MAX_FRAMES, n):
        if len(found.frames) == n - 1:
            found = Certificate(tuple(range(n)), video)
        else:
            together = tuple(sorted(by_rank[: len(found.frames) + 1]))
            more = [tuple(sorted((*found.frames, t))) for t in _candidates(found.frames, by_rank)]
            found = _best([together, *(frames for frames in more if frames != together)], read)
    return _thinned(found, goal, read) if found.nll <= goal else found


def most_reads(n_frames: int) -> int:
    """How many sets a certificate of a plan of that length reads at most."""
    sizes = range(1, min(MAX_FRAMES, n_frames - 1))
    return sum(1 + min(CANDIDATES, n_frames - size) for size in sizes) + min(MAX_FRAMES, n_frames)


def _candidates(chosen: Frames, by_rank: Sequence[int]) -> list[int]:
    """The frames left; of many the half that ranks highest and others evenly over time, since a rank may be blind."""
    left = [t for t in by_rank if t not in chosen]
    if len(left) <= CANDIDATES:
        return left
    high, rest = left[: CANDIDATES // 2], sorted(left[CANDIDATES // 2 :])
    count = CANDIDATES - len(high)
    return [*high, *(rest[(2 * k + 1) * len(rest) // (2 * count)] for k in range(count))]


def _thinned(found: Certificate, goal: float, read: Read) -> Certificate:
    """Leaves out what is not missed, one frame after the other in time, each once: what stays was missed then."""
    for t in found.frames:
        if len(found.frames) == 1:
            break
        without = _best([tuple(k for k in found.frames if k != t)], read)
        if without.nll <= goal:
            found = without
    return found


def _best(sets: Sequence[Frames], read: Read) -> Certificate:
    return min((Certificate(*pair) for pair in zip(sets, read(sets), strict=True)), key=lambda c: c.nll)
