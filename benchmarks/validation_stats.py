"""Figures with 95 % intervals. The bootstrap draws films again, not texts: those of one film are no strangers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

RESAMPLES = 400
LENGTH_BIN = 1  # tokens


@dataclass(frozen=True, slots=True)
class Figure:
    value: float
    low: float
    high: float
    n: int  # texts behind it

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.2f} .. {self.high:.2f})" if np.isfinite(self.value) else "-"


def auc(values: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> float:
    """Weighted share of (positive, negative) pairs in which the positive has the higher value; ties count half."""
    order = np.argsort(values, kind="stable")
    v, p, w = values[order], positive[order], weights[order]
    up, down = np.where(p, w, 0.0), np.where(p, 0.0, w)
    if not up.sum() or not down.sum():
        return float("nan")
    starts = np.flatnonzero(np.r_[True, v[1:] != v[:-1]])
    up_at, down_at = np.add.reduceat(up, starts), np.add.reduceat(down, starts)
    below = np.cumsum(down_at) - down_at
    return float((up_at * (below + down_at / 2)).sum() / (up.sum() * down.sum()))


def matched(n_tokens: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights under which positives and negatives have one distribution of lengths; nothing where one is missing."""
    found = np.zeros(len(weights))
    bins = n_tokens // LENGTH_BIN
    for b in np.unique(bins):
        here = bins == b
        up, down = weights[here & positive].sum(), weights[here & ~positive].sum()
        if up and down:
            found[here & positive] = weights[here & positive] * min(up, down) / up
            found[here & ~positive] = weights[here & ~positive] * min(up, down) / down
    return found


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; nan where one side does not vary."""
    if len(a) < 3 or not np.ptp(a) or not np.ptp(b):
        return float("nan")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def interval(statistic: Callable[[np.ndarray], float], film: Sequence[int], seed: int = 0) -> Figure:
    """`statistic(weights of the rows)`, with the percentile interval over films drawn with replacement."""
    films, row = np.unique(np.asarray(film), return_inverse=True)
    again = [statistic(count[row].astype(float)) for count in _draws(len(films), seed)]
    finite = [value for value in again if np.isfinite(value)] or [float("nan")]
    low, high = np.percentile(finite, [2.5, 97.5])
    return Figure(statistic(np.ones(len(row))), float(low), float(high), len(row))


def mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(np.average(values, weights=weights)) if weights.sum() else float("nan")


def repeated(weights: np.ndarray) -> np.ndarray:
    """Row numbers as often as their whole-numbered weights say."""
    return np.repeat(np.arange(len(weights)), weights.astype(int))


def _draws(n_films: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield rng.multinomial(n_films, np.full(n_films, 1 / n_films))
