"""From recipe to plan: read where it was made before, else made from the lengths of all samples of the mix."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.train.lengths import Ruler, measure
from pipeline.train.mix import candidates, open_sets
from pipeline.train.plan import make_plan
from pipeline.train.plan_file import Plan, is_planned, plan_lines, read_plan, write_plan
from pipeline.train.recipe import TrainRecipe


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
