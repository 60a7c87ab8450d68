"""What people see of a training run: the plan, a bar that follows the journal, and what came of it."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from jobs.console import Console
from pipeline.train.curves import funnel
from pipeline.train.journal import probes_of, steps_of
from pipeline.train.plan_file import Plan, read_rejected
from pipeline.train.recipe import Batch
from schemas.train import StepFacts

POLL_S = 0.5
SHOWN = ("loss", "tpl", "accuracy", "shuffled", "held", "neighbour")  # probes of the last table


def plan_table(plan: Plan, out: Path, batch: Batch) -> Table:
    """What a plan holds: samples, tokens, packs, and how full they are; what it leaves out, and why."""
    rows = pl.DataFrame(pl.from_arrow(plan.table))
    placed = rows.filter(pl.col("step").is_not_null())
    packs = placed.group_by("step", "pack").agg(pl.col("n_tokens", "n_tiles").sum())
    tokens = packs["n_tokens"].sum()
    table = Table(title="Plan", title_justify="left", show_header=False)
    table.add_row("steps", f"{plan.n_steps:,} of {batch.samples:,} samples")
    for source, count in placed.group_by("source").len().sort("source").iter_rows():
        table.add_row(f"samples of {source}", f"{count:,}")
    table.add_row("reserves", f"{plan.n_reserves:,}")
    table.add_row(
        "tokens", f"{tokens:,}, of which {placed['n_visual'].sum():,} visual, {placed['n_labels'].sum():,} labels"
    )
    a_step, full, tiles = packs.height / plan.n_steps, tokens / packs.height, packs["n_tiles"].mean()
    table.add_row("packs", f"{packs.height:,}, {a_step:.1f} a step")
    table.add_row(
        "of a pack", f"{full:,.0f} of {batch.micro_tokens:,} tokens, {tiles:.1f} of {batch.micro_tiles} pictures"
    )
    for reason, count in sorted(Counter(r.reason for r in read_rejected(out)).items()):
        table.add_row(f"rejected: {reason}", f"{count:,}")
    return table


@contextmanager
def following(out: Path, total: int, console: Console) -> Iterator[None]:
    """A bar of steps with loss, speed and time left, as the run writes them, whoever runs it."""
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(out, total, console, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(run: Path, total: int, console: Console, ended: threading.Event) -> None:
    if not console.err.is_terminal:
        _lines(run, total, console, ended)
        return
    columns = (
        TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console.err) as bars:
        task = bars.add_task("", total=total)
        last = False
        while not last:
            last = ended.wait(POLL_S)
            if steps := steps_of(run):
                bars.update(task, completed=steps[-1].step + 1, description=_said(steps[-1]))


def _lines(run: Path, total: int, console: Console, ended: threading.Event) -> None:
    """A line whenever another tenth of the steps is done."""
    tenth, last = -1, False
    while not last:
        last = ended.wait(POLL_S)
        steps = steps_of(run)
        if steps and (now := 10 * (steps[-1].step + 1) // max(total, 1)) != tenth:
            tenth = now
            done = f"training: step {steps[-1].step + 1} of {total}"
            console.err.print(f"{done}, {_said(steps[-1])}", highlight=False, soft_wrap=True)


def _said(facts: StepFacts) -> str:
    mfu = f", MFU {facts.mfu:.0%}" if facts.mfu is not None else ""
    return f"loss {facts.loss:.4f}, {facts.tokens_per_s:,.0f} tokens/s{mfu}"


def result_table(out: Path) -> Table:
    """What was planned, what was read, what was not, and what was learned."""
    steps = steps_of(out)
    table = Table(title="Training", title_justify="left", show_header=False)
    told = funnel(out)
    for what, count in (*told["counts"], *((f"rejected: {reason}", count) for reason, count in told["reasons"])):
        table.add_row(what, f"{count:,}")
    if not steps:
        return table
    table.add_row("loss", f"{steps[0].loss:.4f} -> {steps[-1].loss:.4f} in {len(steps):,} steps")
    wall_s = sum(s.wall_s for s in steps)
    waited = sum(s.data_wait_s for s in steps) / wall_s
    table.add_row("speed", f"{sum(s.tokens for s in steps) / wall_s:,.0f} tokens/s, {waited:.1%} of the time for data")
    probes = [probe for probe in probes_of(out) if probe.family == "all"]
    for name in SHOWN:
        found = [p for p in probes if p.name == name]
        if found:
            table.add_row(f"held out: {name}", f"{found[0].value:.4f} -> {found[-1].value:.4f} ({found[-1].n} samples)")
    return table
