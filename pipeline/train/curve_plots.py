"""Figures of a training run: one panel a quantity, families in the same colours in all."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from pipeline.plots import FAINT, INK, STYLE
from pipeline.train.probes import ALL, WatchedSample, by_family, ratio, standard_error
from schemas.train import StepFacts

BLUE, ORANGE = "#2f6fb0", "#e08a2e"
PROBED = {
    "loss": ("held-out loss", "nats a token"),
    "tpl": ("temporal perplexity (TPL)", "nats an answer"),
    "accuracy": ("closed questions, likeliest option", "right, %"),
    "shuffled": ("frame use: frames shuffled", "nats lost"),
    "held": ("frame use: one frame held still", "nats lost"),
    "neighbour": ("frame use: every 2nd frame = its neighbour", "nats lost"),
}
SMOOTHED = 20  # parts of the run over which the loss is averaged


def curves(steps: Sequence[StepFacts], watched: Sequence[WatchedSample]) -> Figure:
    """Three panels of the training steps above six of the held-out samples."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(13, 9.5), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
        grid = figure.subplots(3, 3)
        _loss(grid[0, 0], steps)
        _rate(grid[0, 1], steps)
        _speed(grid[0, 2], steps)
        at = {step: [s for s in watched if s.step == step] for step in sorted({s.step for s in watched})}
        families = [f for f in by_family(watched) if f != ALL]
        for axes, name in zip(grid[1:].flat, PROBED, strict=True):
            _probe(axes, name, at, families)
        handles, labels = grid[1, 0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(10, len(labels)), frameon=False)
        for axes in grid.flat:
            axes.grid(axis="y", color=FAINT, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        for axes in grid[2]:
            axes.set_xlabel("updates")
    return figure


def _loss(axes: Axes, steps: Sequence[StepFacts]) -> None:
    axes.set_title("training loss, nats a token", loc="left", fontsize=10)
    x, y = [s.step for s in steps], [s.loss for s in steps]
    axes.plot(x, y, color=BLUE, linewidth=0.8, alpha=0.35)
    if len(steps) > 1:
        parts = [p for p in np.array_split(np.arange(len(steps)), SMOOTHED) if len(p)]
        axes.plot([np.mean([x[i] for i in p]) for p in parts], [np.mean([y[i] for i in p]) for p in parts], color=BLUE)


def _rate(axes: Axes, steps: Sequence[StepFacts]) -> None:
    axes.set_title("learning rate, and gradient norm before clipping", loc="left", fontsize=10)
    axes.plot([s.step for s in steps], [s.lr for s in steps], color=BLUE)
    axes.set_ylim(0, 1.1 * max([*(s.lr for s in steps), 1e-9]))
    axes.yaxis.set_major_formatter("{x:.2g}")
    _axis(axes, "learning rate", BLUE)
    norms = [(s.step, s.grad_norm) for s in steps if s.grad_norm is not None]
    if norms:
        other = _twin(axes, "gradient norm", ORANGE)
        other.plot([x for x, _ in norms], [y for _, y in norms], color=ORANGE, linewidth=0.9)


def _speed(axes: Axes, steps: Sequence[StepFacts]) -> None:
    axes.set_title("tokens a second, and shares of time", loc="left", fontsize=10)
    axes.plot([s.step for s in steps], [s.tokens_per_s for s in steps], color=BLUE)
    axes.set_ylim(bottom=0)
    _axis(axes, "tokens a second", BLUE)
    if not steps:
        return
    other = _twin(axes, "share, %", INK)
    waits = [100 * s.data_wait_s / s.wall_s if s.wall_s else 0.0 for s in steps]
    other.plot([s.step for s in steps], waits, color=ORANGE, linewidth=0.9, label="waiting for data")
    used = [(s.step, 100 * s.mfu) for s in steps if s.mfu is not None]
    if used:
        other.plot([x for x, _ in used], [y for _, y in used], color=INK, linewidth=0.9, label="MFU")
    other.set_ylim(0, max(10.0, 1.15 * max([*waits, *(y for _, y in used)])))
    other.legend(loc="lower right", frameon=False, fontsize=8)


def _probe(axes: Axes, name: str, at: dict[int, list[WatchedSample]], families: Sequence[str]) -> None:
    title, unit = PROBED[name]
    scale = 100.0 if name == "accuracy" else 1.0
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_ylabel(unit)
    for k, family in enumerate([*families, ALL]):
        points = _points(name, at, family)
        if not points:
            continue
        look: dict[str, Any] = {"color": matplotlib.colormaps["tab10"](k % 10), "linewidth": 1.2, "markersize": 3}
        if family == ALL:
            look |= {"color": INK, "linewidth": 2.2}
        x, y, se = np.array([(step, scale * v, scale * (e or 0.0)) for step, v, e in points]).T
        axes.plot(x, y, marker="o" if len(x) < 30 else None, label=family, **look)
        axes.fill_between(x, y - se, y + se, color=look["color"], alpha=0.18 if family == ALL else 0.1, linewidth=0)
        if name == "accuracy" and (guessed := _points("chance", at, family)):
            axes.axhline(100 * guessed[-1][1], color=look["color"], linewidth=1, linestyle=":")
    if name == "accuracy":
        axes.set_ylim(0, 102)
    elif name != "loss":
        axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")


def _points(name: str, at: dict[int, list[WatchedSample]], family: str) -> list[tuple[int, float, float | None]]:
    """Step, value and standard error."""
    found = []
    for step, samples in at.items():
        mine = [s for s in samples if family in (ALL, s.family)]
        value, n = ratio(name, mine)
        if n:
            found.append((step, value, standard_error(name, mine)))
    return found


def _axis(axes: Axes, label: str, colour: str) -> None:
    axes.set_ylabel(label, color=colour)
    axes.tick_params(axis="y", colors=colour)


def _twin(axes: Axes, label: str, colour: str) -> Axes:
    other = axes.twinx()
    other.spines["right"].set_visible(True)
    _axis(other, label, colour)
    return other
