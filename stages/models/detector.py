"""What stages ask of a detector, whatever runs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stages.algorithms.ssd import best


@dataclass(frozen=True, slots=True)
class Found:
    """A box in pixels of the frame that was given, clipped to it."""

    box_xyxy_px: tuple[float, float, float, float]
    label: str
    score: float


class Detector(Protocol):
    """A model that finds things it has words for."""

    def find(
        self, frames_THWC: np.ndarray, *, least_score: float, classes: Sequence[str] = ()
    ) -> list[tuple[Found, ...]]:
        """For each uint8 RGB frame what is there, best first; of these classes only, where some are named."""
        ...


def without_doubles(
    boxes_N4: np.ndarray,
    words: Sequence[str],
    scores_N: np.ndarray,
    *,
    vocabulary: Sequence[str],
    frame_size_px: tuple[int, int],
) -> tuple[Found, ...]:
    """One box for each thing, best first, clipped to a frame of (width, height); what lies outside it is dropped.

    Of equal scores the word that stands first in the vocabulary comes first.
    """
    boxes_N4 = np.clip(boxes_N4.astype(np.float64), 0.0, np.array([*frame_size_px] * 2, np.float64))
    kinds = {word: number for number, word in enumerate(dict.fromkeys(vocabulary))}
    order: list[int] = best(boxes_N4, scores_N, np.array([kinds[word] for word in words], np.int64)).tolist()
    sides_N2 = boxes_N4[:, 2:] - boxes_N4[:, :2]
    return tuple(Found(_box(boxes_N4[k]), words[k], float(scores_N[k])) for k in order if sides_N2[k].min() > 0)


def _box(sides_4: np.ndarray) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(side) for side in sides_4)
    return x1, y1, x2, y2
