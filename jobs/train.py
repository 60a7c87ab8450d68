"""Trains a video MLLM on sets of this engine: `utr train --recipe R --out RUN`, or a rank a process:
`torchrun --nproc-per-node 8 jobs/train.py --recipe R --out RUN`. docs/training.md has all of it.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console as Rich

if __name__ == "__main__":  # a script of torchrun: its folder is jobs/, the packages lie beside it
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.arguments import local_folder
from jobs.console import Console
from jobs.ending import exit_code, refused
from jobs.train_folder import check_run, held
from jobs.train_recipe import load_train_recipe, with_sets
from pipeline.train.recipe import TrainRecipe

EXTRA = ("deepspeed", "tensorboardX")  # what training needs beside the engine

RecipeName = Annotated[str, typer.Option(help="A .yaml file, or stage1_align, stage2_utr or tiny_cpu.")]
OutDir = Annotated[Path, typer.Option(parser=local_folder, help="Folder of the run: all ranks see it.")]


class _OfRank(Console):
    """Of a rank that is not the first, which shows plan, progress and result: what stops this one, with its number."""

    def __init__(self, rank: int) -> None:
        super().__init__(quiet=True)
        self.err = _Numbered(rank)


class _Numbered(Rich):
    def __init__(self, rank: int) -> None:
        super().__init__(stderr=True)
        self._rank = rank

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(f"rank {self._rank}:", *objects, **how)


def train_command(
    recipe: RecipeName,
    out: OutDir,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=PATH of a set of the mix; PATH where it is one set.")
    ] = None,
    data: Annotated[Path, typer.Option(parser=local_folder, help="Where relative paths of the recipe lie.")] = Path(),
    ray: Annotated[bool, typer.Option("--ray", help="Ranks on Ray, its own or that of RAY_ADDRESS.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Ranks on Ray.")] = 1,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many; the schedule stays.")] = None,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Write and print the plan, train nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Insist that there is a run to go on with.")] = False,
) -> None:
    """Train. The same command again goes on from the newest checkpoint."""
    rank, world = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    console = _OfRank(rank) if rank else Console()

    def job() -> int:
        if workers > 1 and not ray:
            return refused(console, f"--workers {workers}: with --ray; else torchrun --nproc-per-node {workers}")
        if ray and world > 1:
            return refused(console, "--ray starts its ranks itself: leave torchrun out")
        wanted = with_sets(load_train_recipe(recipe), sets or [], data)
        if steps:
            wanted = wanted.model_copy(update={"max_steps": steps})
        if rank:
            return 0 if plan_only else _follow_the_first(wanted, out.absolute(), console)
        check_run(out, wanted, resume=resume)
        with held(out, wanted):
            return _train(wanted, out.absolute(), console, workers=workers if ray else 0, plan_only=plan_only)

    raise typer.Exit(exit_code(console, lambda: _ended(job, console)))


def _ended(job: Callable[[], int], console: Console) -> int:
    """How a job ends that `exit_code` does not know."""
    try:
        return job()
    except KeyboardInterrupt:
        console.err.print("\ninterrupted: the same command goes on from the newest checkpoint", style="yellow")
        return 130
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        return refused(console, f"{error.name} is not installed: pip install 'utr-engine[train]'")


def _follow_the_first(recipe: TrainRecipe, out: Path, console: Console) -> int:
    """A rank that is not the first."""
    from pipeline.train.run import CannotTrain, train_rank

    try:
        train_rank(recipe, out)
    except CannotTrain as error:
        return refused(console, str(error))
    return 0


def _train(recipe: TrainRecipe, out: Path, console: Console, *, workers: int, plan_only: bool) -> int:
    """Plans, trains and prints; `workers` on Ray, 0: this process is a rank, the first one."""
    from jobs.train_show import following, plan_table, result_table
    from pipeline.train.plan import TooFewSamples
    from pipeline.train.run import CannotTrain, plan_run, train_rank

    console.err.print("planning", style="bold")
    try:
        plan = plan_run(recipe, out)
        console.out.print(plan_table(plan, out, recipe.batch))
        if plan_only:
            return 0
        with following(out, min(plan.n_steps, recipe.max_steps or plan.n_steps), console):
            if not workers:
                train_rank(recipe, out)
            elif code := _on_ray(recipe, out, workers, console):
                return code
    except (TooFewSamples, CannotTrain) as error:
        return refused(console, str(error))
    console.out.print(result_table(out))
    for what, name in (("checkpoint", "export"), ("report", "report.html")):
        console.out.print(f"{what}: {out / name}", highlight=False, soft_wrap=True)
    return 0


def _on_ray(recipe: TrainRecipe, out: Path, workers: int, console: Console) -> int:
    from pipeline.ray_train import Share, TooFewResources, train_on_ray
    from pipeline.run_ray import local_ray
    from pipeline.train.run import train_with

    console.phase("ray")
    with local_ray():
        try:
            share = Share.of(workers, recipe.data.workers)
        except TooFewResources as error:
            return refused(console, str(error))
        settings = {"recipe": recipe.model_dump(mode="json"), "out": str(out)}
        train_on_ray(train_with, settings, share, workers, out / "ray")
    return 0


if __name__ == "__main__":
    typer.run(train_command)
