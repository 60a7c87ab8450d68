"""Label risk as a picture: what a risk means, what a threshold keeps, and which families are right."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

ASKED_ACCURACY, ASKED_COVERAGE = 0.98, 0.5


def plot(path: Path, sources: Mapping[str, Mapping[str, Any]], note: str) -> None:
    """`sources`: the summaries of label_curves by name, the generated world first."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.8), constrained_layout=True)
    for k, (name, found) in enumerate(sources.items()):
        _reliability(left, found["by_risk"], name, k)
    left.plot([0, 1], [0, 1], color="grey", lw=0.8, ls=":", label="share that is wrong = risk")
    left.set(xlabel="label risk, mean of the bin", ylabel="share of answers that is wrong", xlim=(-0.04, 1.04))
    left.set_ylim(bottom=-0.05)
    left.set_title("Reliability (95 % Wilson, number of samples)", fontsize=10)
    left.legend(fontsize=8, loc="upper left")
    for k, (name, found) in enumerate(sources.items()):
        _curve(middle, found["curve"], name, f"C{k}")
    threshold = next(iter(sources.values()))["threshold"]
    middle.axvline(threshold, color="grey", lw=0.8, label=f"default threshold {threshold:g}")
    middle.axhline(
        ASKED_ACCURACY, color="grey", lw=0.8, ls=":", label=f"asked: right {ASKED_ACCURACY:g}, kept {ASKED_COVERAGE:g}"
    )
    middle.axhline(ASKED_COVERAGE, color="grey", lw=0.8, ls=":")
    middle.set(xlabel="threshold: samples of a greater risk are dropped", ylabel="share", ylim=(0, 1.02))
    middle.set_title("What a threshold keeps", fontsize=10)
    middle.legend(fontsize=8, loc="lower left")
    first = next(iter(sources.values()))["by_family"]
    ranked = sorted(first, key=lambda family: (first[family]["kept"]["accuracy"] or 0.0, family))
    names = list(dict.fromkeys([*ranked, *(family for found in sources.values() for family in found["by_family"])]))
    for k, (name, found) in enumerate(sources.items()):
        shift = 0.16 * (k - (len(sources) - 1) / 2)
        _families(right, found["by_family"], names, shift, name, f"C{k}")
    right.axvline(ASKED_ACCURACY, color="grey", lw=0.8, ls=":")
    right.set_yticks(range(len(names)), names)
    right.invert_yaxis()
    right.set(xlabel=f"accuracy under the threshold {threshold:g}")
    right.set_title("By family", fontsize=10)
    right.legend(fontsize=8, loc="lower left")
    figure.suptitle(note, fontsize=8, color="grey")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _reliability(axes: Axes, bins: Sequence[Mapping[str, Any]], name: str, k: int) -> None:
    """Sources stand side by side, their numbers above and below the points, so that none hides another."""
    colour, at = f"C{k}", (5, 5 if k == 0 else -11)
    risk, wrong = np.array([b["mean_risk"] for b in bins]), np.array([1 - b["accuracy"] for b in bins])
    spread = np.clip([[w - (1 - b["high"]), (1 - b["low"]) - w] for w, b in zip(wrong, bins, strict=True)], 0, None)
    risk = risk + 0.012 * k
    axes.errorbar(risk, wrong, yerr=spread.T, fmt="o-", ms=4, capsize=2, color=colour, label=name)
    for x, y, b in zip(risk, wrong, bins, strict=True):
        axes.annotate(f"{b['n']:,}", (x, y), at, textcoords="offset points", fontsize=7, color=colour)


def _curve(axes: Axes, points: Sequence[Mapping[str, Any]], name: str, colour: str) -> None:
    at = [p["threshold"] for p in points]
    axes.plot(at, [p["accuracy"] for p in points], color=colour, label=f"{name}: right of the kept")
    axes.plot(at, [p["coverage"] for p in points], color=colour, ls="--", label=f"{name}: kept of all")


def _families(axes: Axes, found: Mapping[str, Any], names: Sequence[str], shift: float, name: str, colour: str) -> None:
    own = [(names.index(family), f["kept"]) for family, f in found.items() if f["kept"]["n"]]
    at, share = np.array([k + shift for k, _ in own]), np.array([f["accuracy"] for _, f in own])
    spread = np.clip([[f["accuracy"] - f["low"], f["high"] - f["accuracy"]] for _, f in own], 0, None)
    axes.errorbar(share, at, xerr=spread.T, fmt="o", ms=4, capsize=2, color=colour, label=name)
