"""Figures of a data set: temporal perplexity by family and length of answer, what can be guessed, density."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from pipeline.tally import Point
from stages.algorithms.density import Density
from stages.algorithms.shortcuts import WITHIN, Measured

COLOURS = {"in": "#2f6fb0", "out": "#e08a2e"}
NAMES = {"in": "scorer in its domain", "out": "scorer out of its domain"}
BLIND = {"majority": "#8fa6bd", "n-gram": "#2f6fb0"}  # question-only baselines
INK, FAINT = "#333a42", "#d8dde3"
BINS = 30
TAIL_PERCENT = 0.5  # at either end; what lies beyond is counted in the outermost bin
STYLE: dict[Any, Any] = {
    "font.size": 9, "font.family": "sans-serif", "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "svg.hashsalt": "utr", "svg.fonttype": "none",
}  # fmt: skip


def tpl_histogram(points: Sequence[Point]) -> Figure:
    """One histogram of TPL a family, stacked by domain; each family has its own axis, in nats."""
    families = sorted({p.family for p in points})
    columns = min(3, max(1, len(families)))
    lines = max(1, -(-len(families) // columns))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 0.9 + 1.75 * lines), layout="constrained")
        for k, family in enumerate(families):
            axes = figure.add_subplot(lines, columns, k + 1)
            mine = [p for p in points if p.family == family]
            domains = [d for d in COLOURS if any(p.domain == d for p in points)]
            edges, low, high = _bins([p.tpl for p in mine])
            values = [np.clip([p.tpl for p in mine if p.domain == d], low, high) for d in domains]
            axes.hist(
                values, edges, stacked=True, color=[COLOURS[d] for d in domains], label=[NAMES[d] for d in domains]
            )
            axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
            axes.set_title(f"{family}  ({len(mine)})", fontsize=10, loc="left")
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
            if k // columns == lines - 1 or k + columns >= len(families):
                axes.set_xlabel("TPL, nats")
            if k == 0:
                figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
    return figure


def tpl_by_length(points: Sequence[Point]) -> Figure:
    """TPL against the number of answer tokens: long texts are dominated by their own words."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        axes = figure.add_subplot()
        families = sorted({p.family for p in points})
        for k, (family, domain) in enumerate((f, d) for f in families for d in COLOURS):
            mine = [p for p in points if (p.family, p.domain) == (family, domain)]
            if mine:
                colour = matplotlib.colormaps["tab10"](k // 2 % 10)
                face = {"in": colour, "out": "none"}[domain]  # hollow: do not trust
                size = {"s": 18, "linewidths": 0.9, "edgecolors": [colour], "label": f"{family}, {domain}"}
                axes.scatter([p.tokens for p in mine], [p.tpl for p in mine], facecolors=face, **size)
        axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("tokens of the answer")
        axes.set_ylabel("TPL, nats")
        if points:
            figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def shortcut_bars(before: Sequence[Measured], after: Sequence[Measured]) -> Figure:
    """Accuracy of the blind baselines by question, with intervals, against chance; hollow: before balancing."""
    asks = [m.ask for m in before] + [m.ask for m in after if m.ask not in {b.ask for b in before}]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 3.4), layout="constrained")
        axes = figure.add_subplot()
        states = [(m, k) for k, several in enumerate((before, after)) for m in several]
        width = 0.2 if before else 0.36
        for m, k in states:
            for n, b in enumerate(m.blind):
                slot = n - 0.5 if not before else (2 * n + k) - 1.5
                x, face = asks.index(m.ask) + width * slot, "none" if before and not k else BLIND[b.name]
                axes.bar(x, 100 * b.accuracy, 0.9 * width, color=face, edgecolor=BLIND[b.name], linewidth=1.2)
                axes.plot([x, x], [100 * b.low, 100 * b.high], color=INK, linewidth=1)
            x, low = asks.index(m.ask), 100 * m.chance
            axes.fill_between([x - 0.45, x + 0.45], low, low + 100 * WITHIN, color="#e08a2e", alpha=0.25, linewidth=0)
            axes.plot([x - 0.45, x + 0.45], [low, low], color="#b35c00", linewidth=1.2, linestyle=":")
        axes.set_xticks(range(len(asks)), asks)
        axes.set_ylabel("right without the film, %")
        axes.set_ylim(0, 105)
        marks: list[Any] = [Patch(color=colour, label=name) for name, colour in BLIND.items()]
        marks += [Patch(facecolor="none", edgecolor=INK, label="before balancing")] if before else []
        marks += [Patch(color="#e08a2e", alpha=0.4, label=f"chance and {100 * WITHIN:g} points above")]
        figure.legend(handles=marks, loc="outside upper right", ncols=4, frameon=False)
    return figure


def density_histograms(found: Sequence[Density]) -> Figure:
    """Clips by words a second, share of planned frames cited, and longest time without a cited frame."""
    columns = (
        ("words and numbers a second", [d.tokens_per_s for d in found]),
        ("planned frames cited, %", [100 * d.cited_share for d in found]),
        ("longest uncited time, s", [d.uncited_s for d in found]),
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 2.3), layout="constrained")
        for k, (label, values) in enumerate(columns):
            axes = figure.add_subplot(1, 3, k + 1)
            most = 100.0 if "%" in label else max([*values, 0.1])
            axes.hist(values, np.linspace(0, most, BINS + 1).tolist(), color=COLOURS["in"])
            axes.set_xlabel(label)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
            if k == 0:
                axes.set_ylabel("clips")
    return figure


def to_png(figure: Figure) -> bytes:
    with matplotlib.rc_context(STYLE):
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    return file.getvalue()


def to_svg(figure: Figure) -> str:
    """An <svg> element that scales with its page."""
    with matplotlib.rc_context(STYLE):
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = file.getvalue()
    return text[text.index("<svg") :]


def _bins(values: Sequence[float]) -> tuple[list[float], float, float]:
    """Edges of BINS bins over all but the tails, and the range into which values are clipped."""
    low, high = (float(v) for v in np.percentile(values, (TAIL_PERCENT, 100 - TAIL_PERCENT)))
    low, high = min(low, 0.0), max(high, low + 1e-6, 0.0)
    return np.linspace(low, high, BINS + 1).tolist(), low, high
