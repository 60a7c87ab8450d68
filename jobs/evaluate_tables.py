"""How `utr evaluate` shows what it found: ours beside what was published, and what keeps them from being compared."""

import os
from collections.abc import Mapping, Sequence

from rich.table import Table

from jobs.console import Console
from pipeline.lmms.command import Asked
from pipeline.lmms.published import published
from pipeline.lmms.results import Mean

JUDGE_KEY = "OPENAI_API_KEY"  # what lmms-eval's judges need


def show(console: Console, asked: Asked, local: Sequence[Mean], values: Mapping[str, float | None]) -> None:
    """Tables to standard output, sources and caveats to standard error."""
    if local:
        console.out.print(local_table(local))
    if not values:
        return
    table, names = published(), list(values)
    console.out.print(benchmark_table(asked.model.name, values))
    for source in dict.fromkeys(row.source for row in table.beside(names)):
        say(console, f"{source}: {table.sources[source]}")
    for caveat in table.caveats(names, limit=asked.limit, frames=asked.frames):
        say(console, caveat, style="yellow")
    if any(table.tasks[name].judge for name in names) and not os.environ.get(JUDGE_KEY):
        say(console, f"{JUDGE_KEY} is not set: what a judge model marks has no marks", style="yellow")


def local_table(local: Sequence[Mean]) -> Table:
    """A row a family, then all; closed by the verifier, open by F1 of words."""
    table = Table(title="local: held-out samples", title_justify="left", header_style="bold")
    for name in ("family", "rule"):
        table.add_column(name)
    for name in ("mean", "± s.e.", "samples", "videos"):
        table.add_column(name, justify="right")
    for m in local:
        table.add_row(m.family, m.rule, f"{m.value:.3f}", f"{m.error:.3f}", f"{m.samples:,}", f"{m.videos:,}")
    return table


def benchmark_table(model: str, values: Mapping[str, float | None]) -> Table:
    """Ours first, then what was published; "-" where nothing is said."""
    table = Table(title="benchmarks", title_justify="left", header_style="bold")
    table.add_column("model")
    for name in values:
        table.add_column(published().tasks[name].title, justify="right")
    table.add_column("source")
    table.add_row(model, *(_cell(v) for v in values.values()), "this run", style="bold")
    for row in published().beside(list(values)):
        table.add_row(row.model, *(_cell(row.values.get(name)) for name in values), row.source)
    return table


def say(console: Console, text: str, *, style: str = "dim") -> None:
    console.err.print(text, style=style, highlight=False, soft_wrap=True, markup=False)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
