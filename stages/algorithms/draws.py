"""Randomness that belongs to a row: the same on any worker, in any order, after any restart."""

import hashlib

import numpy as np


def stable_hash(text: str) -> int:
    """64 bits of a text; `hash` differs from process to process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def draws(seed: int, key: str) -> np.random.Generator:
    """The generator of one row for one purpose."""
    return np.random.default_rng([seed, stable_hash(key)])
