"""What mutations are drawn with: other items, words, risks and times, far enough from the old ones to be others."""

import string
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from stages.algorithms.describe import COLOURS, COMPASS, SHAPES, SIZES
from stages.algorithms.events import CHANGES, ENDS, MEETINGS, STARTS

T = TypeVar("T")
Rng = np.random.Generator
LEAST_SHIFT = 0.01  # of the frame side: ten units of the boxes in texts
LEAST_S = 0.02  # seconds: two units of the times in texts
LEAST_RISK = 0.05
TICKS_A_SECOND = 90_000
EVENT_KINDS = (*STARTS, *ENDS, *CHANGES, *MEETINGS)


def pick(rng: Rng, items: Sequence[T]) -> T | None:
    return items[int(rng.integers(len(items)))] if items else None


def other(rng: Rng, items: Sequence[T], than: T) -> T | None:
    return pick(rng, [item for item in items if item != than])


def put(items: Sequence[T], at: int, *new: T) -> tuple[T, ...]:
    """With the item at an index replaced by none, one or several."""
    return (*items[:at], *new, *items[at + 1 :])


def swapped(items: Sequence[T], rng: Rng) -> tuple[T, ...] | None:
    """Two different items exchanged."""
    pairs = [(i, j) for i in range(len(items)) for j in range(i) if items[i] != items[j]]
    pair = pick(rng, pairs)
    if pair is None:
        return None
    changed = list(items)
    changed[pair[0]], changed[pair[1]] = changed[pair[1]], changed[pair[0]]
    return tuple(changed)


def off(rng: Rng, least: float, most: float) -> float:
    return float(rng.uniform(least, most)) * (1 if rng.random() < 0.5 else -1)


def risk_changed(value: float, rng: Rng) -> float:
    """Another risk, 0..1, that differs by at least LEAST_RISK."""
    while True:
        new = round(float(rng.random()), 3)
        if abs(new - value) >= LEAST_RISK:
            return new


def ticks_off(rng: Rng) -> int:
    return round(off(rng, LEAST_S, 0.3) * TICKS_A_SECOND)


def word_changed(text: str, rng: Rng) -> str | None:
    """One word of a text becomes another word that such texts hold."""
    words = text.split(" ")
    able = [i for i, word in enumerate(words) if word.strip(string.punctuation).isalpha()]
    at = pick(rng, able)
    if at is None:
        return None
    old = words[at].strip(string.punctuation)
    pool = next((p for p in (COLOURS, SHAPES, SIZES, COMPASS) if old in p), ("left", "red", "never", "circle", "then"))
    words[at] = words[at].replace(old, other(rng, [w for w in pool if " " not in w], old) or "never")
    return " ".join(words)
