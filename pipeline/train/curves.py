"""curves.png and report.html of a run: what was learned, what it cost, what was read. From the run's files alone."""

import base64
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.plots import to_png
from pipeline.report import REPORT, environment
from pipeline.storage import write, writing
from pipeline.train.curve_plots import curves
from pipeline.train.journal import UNREADABLE, WATCHED_UNREADABLE, steps_of, watched_of
from pipeline.train.losses import LOSSES, Parts
from pipeline.train.probes import WatchedSample, by_family, ratio, standard_error
from schemas.train import RejectedSample, SampleLoss, StepFacts

CURVES = "curves.png"
PLAN, REJECTED = "plan.parquet", "rejected.parquet"  # of the planner
SHOWN = {
    "loss": "loss, nats a token",
    "ppl": "perplexity",
    "tpl": "TPL, nats",
    "accuracy": "accuracy",
    "chance": "chance",
    "shuffled": "shuffled, nats",
    "held": "held still, nats",
    "neighbour": "neighbours, nats",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A measure of a family at the first and at the last step that was watched."""

    first: float
    last: float
    last_se: float | None
    change_se: float | None
    n: int

    @property
    def change(self) -> float:
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Line:
    """Of the table by family."""

    family: str
    n: int
    cells: dict[str, Cell | None]


def write_curves(run: Path) -> tuple[Path, Path]:
    """Writes curves.png and report.html into the run's folder, also of a run that has not ended."""
    steps, watched = steps_of(run), watched_of(run)
    png = to_png(curves(steps, watched))
    page = environment().get_template("train_report.html.j2").render(
        run=run.resolve().name,
        png=base64.b64encode(png).decode() if steps or watched else None,
        steps=steps,
        facts=facts(steps),
        shown=SHOWN,
        lines=table(watched),
        ends=(watched[0].step, watched[-1].step) if watched else None,
        clips=len({s.clip_id for s in watched}),
        funnel=funnel(run),
        losses=loss_lines(run),
    )  # fmt: skip
    with writing(run):
        write(run / CURVES, png)
        write(run / REPORT, page.encode())
    return run / CURVES, run / REPORT


def facts(steps: list[StepFacts]) -> dict[str, float | None]:
    """Totals and medians over a run's steps; a median because the first step warms up."""
    mfu = [s.mfu for s in steps if s.mfu is not None]
    wall_s = sum(s.wall_s for s in steps)
    return {
        "samples": sum(s.samples for s in steps),
        "tokens": sum(s.tokens for s in steps),
        "wall_s": wall_s,
        "tokens_per_s": float(np.median([s.tokens_per_s for s in steps])) if steps else None,
        "mfu": float(np.median(mfu)) if mfu else None,
        "wait": sum(s.data_wait_s for s in steps) / wall_s if wall_s else None,
    }


def table(watched: list[WatchedSample]) -> list[Line]:
    """A line a family, all samples first."""
    if not watched:
        return []
    first, last = ([s for s in watched if s.step == step] for step in (watched[0].step, watched[-1].step))
    before = by_family(first)
    return [
        Line(family, len(mine), {name: cell(name, before.get(family, []), mine) for name in SHOWN})
        for family, mine in by_family(last).items()
    ]


def cell(name: str, first: list[WatchedSample], last: list[WatchedSample]) -> Cell | None:
    value, n = ratio(name, last)
    if not n:
        return None
    both = {s.sample_id for s in first} & {s.sample_id for s in last}
    pairs = [[s for s in several if s.sample_id in both] for several in (last, first)]
    return Cell(ratio(name, first)[0], value, standard_error(name, last), standard_error(name, *pairs), n)


def funnel(run: Path) -> dict[str, list[tuple[str, int]]]:
    """Samples by what became of them, and those left out by reason."""
    plan = pl.read_parquet(run / PLAN, columns=["step"]) if (run / PLAN).exists() else None
    read = Parts(run, LOSSES, SampleLoss, 0).read()
    counts = [("read", read.height), ("different samples read", read.n_unique(["source", "sample_id"]))]
    if plan is not None:
        n_reserves = plan["step"].null_count()
        counts = [("planned", plan.height - n_reserves), ("reserves", n_reserves), *counts]
    trained, watched = (Parts(run, name, RejectedSample, 0).read() for name in (UNREADABLE, WATCHED_UNREADABLE))
    if trained.height:
        counts.append(("replaced by a reserve", trained.height - trained["reserve"].null_count()))
    rejected = pl.read_parquet(run / REJECTED) if (run / REJECTED).exists() else trained.clear()
    by_place = {"planner": rejected, "read": trained, "held out": watched.unique("sample_id")}
    reasons = [Counter(f"{reason} ({name})" for reason in rows["reason"]) for name, rows in by_place.items()]
    return {"counts": counts, "reasons": [pair for counter in reasons for pair in counter.most_common()]}


def loss_lines(run: Path) -> list[dict[str, object]]:
    """Nats a token by source and family, over the first and the last quarter of the steps."""
    rows = Parts(run, LOSSES, SampleLoss, 0).read()
    if rows.is_empty():
        return []
    low, high = (rows["step"].quantile(share, interpolation="linear") for share in (0.25, 0.75))
    mean = [
        (pl.col("nll").filter(part).sum() / pl.col("n_labels").filter(part).sum()).alias(name)
        for name, part in (("first", pl.col("step") <= low), ("last", pl.col("step") >= high))
    ]
    grouped = rows.group_by("source", "family").agg(pl.len().alias("n"), pl.col("n_labels").sum(), *mean)
    return grouped.sort("source", "family").to_dicts()
