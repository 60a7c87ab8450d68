"""Shots from boundaries, whichever detector found them: all of them speak in frame numbers, gradual or not.

A shot is first <= k < last; frames between `end` and `start` of a boundary belong to no shot.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

THUMBNAIL_SHAPE = (27, 48, 3)  # height, width in pixels, RGB: what TransNetV2 looks at
BLACK_LEVEL = 12.0  # of 255, mean of a frame: the default of PySceneDetect's ThresholdDetector


@dataclass(frozen=True, slots=True, order=True)
class Boundary:
    """One shot ends before frame `end`, the next begins with frame `start`; equal at a hard cut."""

    end: int
    start: int


def hard_cuts(frames: Iterable[int]) -> list[Boundary]:
    """Boundaries at the first frames of shots."""
    return [Boundary(frame, frame) for frame in frames]


def fades(luminance_N: np.ndarray, black_level: float = BLACK_LEVEL) -> list[Boundary]:
    """Black stretches, at the film's ends too; luminance is 0..1, the level of 255.

    The rule of PySceneDetect's ThresholdDetector, which looks at one number a frame, that pass 1 measures anyway, but
    tells one frame of a fade, and nothing of a film that ends in black.
    """
    return [Boundary(first, last) for first, last in _runs(luminance_N * 255 < black_level)]


def transitions(single_N: np.ndarray, many_N: np.ndarray, threshold: float) -> list[Boundary]:
    """Cuts and gradual transitions from TransNetV2's two probabilities a frame.

    The first says that a boundary is here, of a cut at the last frame of the old shot, else in the middle; the second
    that a frame belongs to a transition. A boundary is a run of marked frames; one frame of the second kind is none,
    more are: of a fade through black the first kind often marks one ramp alone (2 of 7, measured).
    """
    is_here_N = single_N > threshold
    found: list[Boundary] = []
    for first, last in _runs(is_here_N | (many_N > threshold)):
        if is_here_N[first:last].any() or last - first > 1:
            found.append(Boundary(first + 1 if is_here_N[first] else first, last))
    return [boundary for boundary in found if boundary.end < len(single_N)]


def strides(ticks: Sequence[int], stride_ticks: float) -> list[Boundary]:
    """Cuts at the first frame of each stretch of `stride_ticks`, counted from the first frame."""
    # Half a tick of slack: the rounded ticks of a 29.97 fps film would otherwise put some cuts a frame late.
    stretch_N = (np.asarray(ticks) - ticks[0] + 0.5) // stride_ticks
    return hard_cuts(int(k) for k in np.flatnonzero(np.diff(stretch_N)) + 1)


def united(boundaries: Iterable[Boundary], shortest_frames: int) -> list[Boundary]:
    """The boundaries in order; of those with fewer than `shortest_frames` between them, one from first to last.

    So what several detectors found of one transition is one boundary, and no shot holds what any of them found.
    """
    found: list[Boundary] = []
    for boundary in sorted(boundaries):
        if found and boundary.end - found[-1].start < shortest_frames:
            found[-1] = Boundary(found[-1].end, max(found[-1].start, boundary.start))
        else:
            found.append(boundary)
    return found


def spans(n_frames: int, boundaries: Sequence[Boundary]) -> list[tuple[tuple[int, int], bool]]:
    """All frames in order, as spans [first, last): shots (True) and what lies between them (False)."""
    edges = [Boundary(0, 0), *boundaries, Boundary(n_frames, n_frames)]
    found: list[tuple[tuple[int, int], bool]] = []
    for before, after in pairwise(edges):
        found += [((before.start, after.end), True), ((after.end, after.start), False)]
    return [(span, is_shot) for span, is_shot in found if span[0] < span[1]]


def _runs(mask_N: np.ndarray) -> list[tuple[int, int]]:
    """Stretches [first, last) where it holds."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], mask_N, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in steps.reshape(-1, 2)]
