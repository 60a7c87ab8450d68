"""Figures of a scored set: TPL a token by sub-dataset, and against the length of the text."""

from collections import defaultdict
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from pipeline.plots import FAINT, INK, STYLE
from pipeline.score_table import Measured
from stages.algorithms.draws import draws

MAX_BOXES = 30  # sub-datasets that are drawn: those with the most texts
MAX_DOTS = 4_000
BLUE = "#2f6fb0"
WHISKERS = (5, 95)  # percentiles


def tpl_boxes(rows: Sequence[Measured]) -> Figure:
    """A box a sub-dataset, highest mean on top; whiskers reach from the 5th to the 95th percentile.

    Every row must have a TPL."""
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        groups[row.subset].append(_tpl(row))
    largest = sorted(groups, key=lambda name: (-len(groups[name]), name))[:MAX_BOXES]
    shown = sorted(largest, key=lambda name: (np.mean(groups[name]), name))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 1.1 + 0.34 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        axes.boxplot(
            [groups[name] for name in shown], orientation="horizontal", widths=0.6, whis=WHISKERS, showfliers=False,
            showmeans=True, patch_artist=True, tick_labels=[f"{name}  ({len(groups[name])})" for name in shown],
            boxprops={"facecolor": "#c9dcf0", "edgecolor": BLUE}, medianprops={"color": INK},
            whiskerprops={"color": BLUE}, capprops={"color": BLUE},
            meanprops={"marker": "D", "markerfacecolor": INK, "markeredgecolor": INK, "markersize": 4},
        )  # fmt: skip
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("TPL, nats a token")
    return figure


def tpl_against_length(rows: Sequence[Measured]) -> Figure:
    """A dot a text, coloured by sub-dataset; a uniform draw where there are many. Every row must have a TPL."""
    chosen = list(rows)
    if len(chosen) > MAX_DOTS:
        picks = draws(0, "tpl-against-length").permutation(len(chosen))[:MAX_DOTS]
        chosen = [chosen[i] for i in sorted(picks)]
    names = sorted({row.subset for row in chosen})
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 3.8), layout="constrained")
        axes = figure.add_subplot()
        for k, name in enumerate(names):
            mine = [row for row in chosen if row.subset == name]
            colour = matplotlib.colormaps["tab20"](k % 20)
            axes.scatter(
                [row.n_tokens for row in mine], [_tpl(row) for row in mine], s=14, color=[colour], alpha=0.7,
                linewidths=0, label=name,
            )  # fmt: skip
        axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("tokens of the answer")
        axes.set_ylabel("TPL, nats a token")
        if 1 < len(names) <= MAX_BOXES:
            figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _tpl(row: Measured) -> float:
    if row.tpl_per_token is None:
        raise ValueError("a text without a TPL has no place in a figure of it")
    return row.tpl_per_token
