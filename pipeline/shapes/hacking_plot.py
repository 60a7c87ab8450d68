"""The hacking experiment as a picture: accuracy by skill, TPL, and what frames are worth, for every arm."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Canvas

from pipeline.plots import INK, STYLE
from pipeline.shapes.hacking_choices import TEMPORAL
from pipeline.shapes.hacking_figures import Drawn, Table, figure
from pipeline.shapes.hacking_measures import NONE, TAMPERED

COLOURS = {
    "base": "#8a929b", "course": "#333a42", "one_frame": "#e08a2e", "one_frame_2x": "#b3541e", "utr": "#2f6fb0",
    "tpl_top": "#2e8b57", "tpl_random": "#8fbf9f", "tpl_low": "#c2a83e",
}  # fmt: skip


def plot(path: Path, results: Mapping[str, Sequence[Mapping[str, Any]]], machine: str) -> None:
    """Three panels, 95 % intervals: choices by skill, TPL of true texts, nats that tampering costs."""
    table = Table({arm: [run["sums"] for run in runs] for arm, runs in results.items()})
    arms = list(results)
    skills = (*TEMPORAL, "temporal", "asked", "static")
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(13, 8.2), layout="constrained")
        grid = canvas.add_gridspec(2, 2, height_ratios=[1.15, 1], width_ratios=[1, 1.4])
        accuracy = canvas.add_subplot(grid[0, :])
        _groups(accuracy, arms, skills, lambda arm, skill: table.right(arm, skill))
        for k, skill in enumerate(skills):
            for value, style in ((table.chance(skill), ":"), (table.right("base", skill, NONE)[0], "--")):
                accuracy.plot([k - 0.45, k + 0.45], [value] * 2, style, color=INK, lw=0.9)
        accuracy.set_ylabel("share of right choices")
        accuracy.set_title("Held-out films. Dotted: chance; dashed: the base without frames", loc="left")
        left, right = canvas.add_subplot(grid[1, 0]), canvas.add_subplot(grid[1, 1])
        _groups(left, arms, ("temporal", "static"), lambda arm, kind: table.tpl(arm, kind))
        left.set_ylabel("nats a token")
        left.set_title("TPL of true texts", loc="left")
        _groups(right, arms, TAMPERED, lambda arm, shown: table.rise(arm, shown))
        right.set_ylabel("nats a token")
        right.set_title("What tampering costs true temporal texts", loc="left")
        canvas.legend(*accuracy.get_legend_handles_labels(), loc="outside lower center", ncols=len(arms), frameon=False)
        canvas.suptitle(machine, fontsize=7, color="grey", ha="right", x=0.99)
        canvas.savefig(path, dpi=110)


def _groups(axes: Any, arms: Sequence[str], names: Sequence[str], drawn: Callable[[str, str], Drawn]) -> None:
    """A group of points a name, an arm a point beside the others."""
    for j, arm in enumerate(arms):
        found = [figure(drawn(arm, name)) for name in names]
        at = np.arange(len(names)) + 0.8 * ((j + 0.5) / len(arms) - 0.5)
        value, low, high = np.array([[f.value, f.low, f.high] for f in found]).T
        spread = np.clip([value - low, high - value], 0, None)
        axes.errorbar(at, value, yerr=spread, fmt="o", ms=5, capsize=2, color=COLOURS[arm], label=arm)
    axes.set_xticks(range(len(names)), names)
    axes.grid(axis="y", color="#eceff2", lw=0.8)
