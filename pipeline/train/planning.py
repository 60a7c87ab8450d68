"""From recipe to plan: read where it was made before, else made from the lengths of all samples of the mix.

One process plans. The others look for its file before they join: a collective that waits for hours would be ended.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.storage import write, writing
from pipeline.train.lengths import Ruler, measure
from pipeline.train.limits import PLAN_S
from pipeline.train.mix import candidates, open_sets
from pipeline.train.plan import make_plan
from pipeline.train.plan_file import Plan, is_planned, plan_lines, read_plan, write_plan
from pipeline.train.recipe import TrainRecipe

FAILED = "not-planned"  # lies in the folder where the process that planned ended without a plan
POLL_S = 1.0


class NotPlanned(RuntimeError):
    """There is no plan, and none will come."""


def prepare(folder: Path, recipe: TrainRecipe, ruler: Ruler, encoder: Sequence[str]) -> Plan:
    """The plan of a run's folder; one process calls it, the others then `prepared`.

    `encoder` says "name = value" of all that `ruler` gives lengths by. Raises PlanChanged where the folder holds the
    plan of other data, recipe or encoder; SourceError where a set cannot be read; TooFewSamples.
    """
    sets = open_sets(recipe.data)
    lines = plan_lines(recipe, sets, encoder)
    if is_planned(folder):
        return read_plan(folder, lines)
    found = candidates(recipe.data, recipe.seed)
    measured, rejected = measure(found, sets, ruler, recipe.data, recipe.text.max_length)
    return write_plan(folder, make_plan(measured, recipe.batch, recipe.seed), rejected, lines)


def prepared(folder: Path, recipe: TrainRecipe, encoder: Sequence[str]) -> Plan:
    """The plan that another process has made."""
    return read_plan(folder, plan_lines(recipe, open_sets(recipe.data), encoder))


@contextmanager
def told_others(folder: Path) -> Iterator[None]:
    """Planning; where it ends without a plan, those that wait for one hear of it."""
    try:
        yield
    finally:
        with writing(folder):
            if is_planned(folder):
                (folder / FAILED).unlink(missing_ok=True)
            else:
                write(folder / FAILED, b"")


def wait_for_plan(folder: Path, *, limit_s: float = PLAN_S, poll_s: float = POLL_S) -> None:
    """Returns when another process has made the plan; raises NotPlanned where it could not, or took too long.

    A mark that lay there before is of an earlier start. Whether the plan is the wanted one, `prepared` sees.
    """
    before, until_s = _stamp(folder / FAILED), time.monotonic() + limit_s
    while not is_planned(folder):
        if (now := _stamp(folder / FAILED)) and now != before:
            raise NotPlanned(f"{folder}: the first rank ended without a plan, and said why")
        if time.monotonic() > until_s:
            raise NotPlanned(f"{folder}: no plan after {limit_s / 3600:g} hours; make it with --plan-only, then train")
        time.sleep(poll_s)


def _stamp(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:  # not there; nor may the folder be
        return None
