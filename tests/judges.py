"""Judges with known answers, for the hooks of FilterClips."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Bright:
    """How bright the planned frames are."""

    id: str = "bright"
    version: str = "2"

    def judge(self, frames_THWC: np.ndarray) -> float:
        return float(frames_THWC.mean()) / 255


@dataclass
class Constant:
    """Says the same of everything, sensible or not."""

    score: float
    id: str = "constant"
    version: str = "1"

    def judge(self, frames_THWC: np.ndarray) -> float:
        return self.score


def nan() -> Constant:
    return Constant(float("nan"))


def percent() -> Constant:
    return Constant(93.0)


def text() -> Constant:
    return Constant("0.5")  # type: ignore[arg-type]


def number() -> float:
    """No judge at all."""
    return 0.5
