"""Verdicts counted: accuracy by risk, by family and under a threshold, with 95 % intervals, and what is wrong."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks.label_rows import Row
from benchmarks.validation_stats import interval, mean

RISKS = (0.0, 0.25, 0.5, 0.75, 1.0)  # 0 and 1 are bins of their own, the others go from one of them to the next
THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(21))


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many are right, with Wilson's interval, as if samples were independent; None where there are none."""

    n: int
    right: int
    accuracy: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Share":
        right, n = sum(row.is_right for row in rows), len(rows)
        if not n:
            return cls(n=0, right=0, accuracy=None, low=None, high=None)
        low, high = binomtest(right, n).proportion_ci(method="wilson")
        return cls(n=n, right=right, accuracy=right / n, low=float(low), high=float(high))

    def __str__(self) -> str:
        if self.accuracy is None or self.low is None or self.high is None:
            return "-"
        return f"{100 * self.accuracy:.1f} ({100 * self.low:.1f} to {100 * self.high:.1f})"


def over_clips(rows: Sequence[Row]) -> tuple[float, float]:
    """The interval of the accuracy by bootstrap over clips: the samples of one are no strangers."""
    right = np.array([row.is_right for row in rows], dtype=float)
    _, clip = np.unique([row.clip for row in rows], return_inverse=True)
    figure = interval(lambda weights: mean(right, weights), clip.tolist())
    return figure.low, figure.high


def by_risk(rows: Sequence[Row]) -> list[tuple[str, float, Share]]:
    """By bin: its name, the mean risk in it, and how many are right. Empty bins are left out."""
    bins: dict[str, list[Row]] = {"0": []} | {f"{a:g} to {b:g}": [] for a, b in pairwise(RISKS)} | {"1": []}
    names = list(bins)
    for row in rows:
        place = 0 if row.risk <= 0 else len(names) - 1 if row.risk >= 1 else int(np.searchsorted(RISKS, row.risk))
        bins[names[place]].append(row)
    return [(name, float(np.mean([r.risk for r in own])), Share.of(own)) for name, own in bins.items() if own]


def by_family(rows: Sequence[Row], threshold: float) -> dict[str, tuple[int, Share, Share]]:
    """By family: composed, how many of the kept are right, how many of the dropped would be."""
    found: dict[str, tuple[int, Share, Share]] = {}
    for family in sorted({row.family for row in rows}):
        own = [row for row in rows if row.family == family]
        kept, dropped = kept_dropped(own, threshold)
        found[family] = (len(own), Share.of(kept), Share.of(dropped))
    return found


def curve(rows: Sequence[Row]) -> list[tuple[float, float, Share]]:
    """Threshold, share of the samples that it keeps, and how many of these are right."""
    kept = [(t, [row for row in rows if row.risk <= t]) for t in THRESHOLDS]
    return [(t, len(own) / max(1, len(rows)), Share.of(own)) for t, own in kept]


def causes(rows: Sequence[Row], threshold: float) -> dict[str, Counter[str]]:
    """By family: of the kept samples that are wrong, how many for each cause. One sample may have several."""
    found: dict[str, Counter[str]] = {}
    for row in kept_dropped(rows, threshold)[0]:
        found.setdefault(row.family, Counter()).update(row.verdict.causes)
    return {family: count for family, count in sorted(found.items()) if count}


def kept_dropped(rows: Sequence[Row], threshold: float) -> tuple[list[Row], list[Row]]:
    return [row for row in rows if row.risk <= threshold], [row for row in rows if row.risk > threshold]


def summary(rows: Sequence[Row], threshold: float) -> dict[str, Any]:
    """All figures of one set of samples as JSON; those that are not judged are counted by reason, and else left out."""
    known = [row for row in rows if row.is_judged]
    kept, dropped = kept_dropped(known, threshold)
    low, high = over_clips(kept) if kept else (None, None)
    unknown = Counter(row.verdict.not_judged for row in rows if not row.is_judged)
    return {
        "clips": len({row.clip for row in rows}),
        "composed": len(rows),
        "judged": len(known),
        "not_judged": dict(unknown),
        "threshold": threshold,
        "coverage": len(kept) / max(1, len(known)),
        "kept": asdict(Share.of(kept)) | {"clips_low": low, "clips_high": high},
        "dropped": asdict(Share.of(dropped)),
        "by_risk": [{"bin": name, "mean_risk": risk, **asdict(share)} for name, risk, share in by_risk(known)],
        "by_family": {
            family: {"composed": n, "kept": asdict(a), "dropped": asdict(b)}
            for family, (n, a, b) in by_family(known, threshold).items()
        },
        "curve": [{"threshold": t, "coverage": c, **asdict(share)} for t, c, share in curve(known)],
        "causes": causes(known, threshold),
    }
