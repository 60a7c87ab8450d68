"""The validation as a picture: who separates, and what tpl_key is by kind of text."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

from benchmarks.validation_stats import Figure

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SHOWN = ("all visible + mismatched", "length-matched", "mixed visibility + mismatched")


def plot(
    path: Path, needs_time: Mapping[str, Mapping[str, Figure]], by_kind: Mapping[str, Sequence[float]], machine: str
) -> None:
    """Left: AUC of needs-time with intervals. Right: tpl_key, nats, where every frame shows every subject."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.2), constrained_layout=True)
    names = list(needs_time)
    at = np.arange(len(names))[::-1]
    for k, column in enumerate(SHOWN):
        values = np.array([[f.value, f.low, f.high] for f in (needs_time[n][column] for n in names)])
        spread = np.clip(np.abs(values[:, 1:] - values[:, :1]), 0, None).T
        left.errorbar(values[:, 0], at + 0.22 * (1 - k), xerr=spread, fmt="o", ms=4, capsize=2, label=column)
    left.axvline(0.5, color="grey", lw=0.8)
    left.set_yticks(at, names)
    left.set_xlabel("AUC of needs-time, 95 % interval over films")
    left.legend(loc="center left", fontsize=8)
    kinds = list(by_kind)
    right.boxplot([by_kind[k] for k in kinds], orientation="horizontal", showfliers=False)
    right.set_yticks(range(1, len(kinds) + 1), [f"{k} ({len(by_kind[k])})" for k in kinds], fontsize=8)
    right.axvline(0, color="grey", lw=0.8)
    right.set_xlabel("tpl_key, nats")
    figure.suptitle(machine, fontsize=8, color="grey")
    figure.savefig(path, dpi=110)
    plt.close(figure)
