"""`utr`: one command line, thin over the jobs. Exit codes are in EXIT."""

import os
from pathlib import Path
from typing import Annotated

import typer

from jobs.build_utr_data import Result, build
from jobs.console import Console
from jobs.demo import write_demo_manifest
from jobs.recipe import Recipe, RecipeError, load_recipe
from pipeline.block import SchemaError
from pipeline.build import NotOurs
from pipeline.collect import CreditError
from pipeline.ledger import LedgerBusy, PlanChanged
from pipeline.publish import PublishError
from pipeline.report import funnel_table
from pipeline.sources import SourceError
from pipeline.verify import NotADataSet, verify
from pipeline.worker import StageError
from stages.media.child import ReadError
from stages.models.checkpoint import NoScorer

EXIT = {
    0: "done; skipped and failed rows, if any, are listed in failures/",
    1: "verify: something does not follow",
    2: "the command, the recipe or the input cannot be used; nothing was written",
    3: "sealed, but more videos failed than the recipe's max_failed_share",
    4: "sealed, but no sample came of it",
    5: "the output cannot be written; the same command goes on when it can",
    6: "the run broke: a fault of the engine or the machine; finished videos are kept",
    130: "interrupted; the same command goes on where this one stopped",
}
USAGE_ERRORS = (RecipeError, SourceError, NotOurs, LedgerBusy, PlanChanged, NoScorer)
BROKEN = (CreditError, SchemaError, StageError, ReadError, RuntimeError)  # RuntimeError: Ray's, and a worker that died

app = typer.Typer(
    help="UTR engine: videos become verified training data that one frame cannot answer.",
    epilog="Exit codes: " + "; ".join(f"{code} {what}" for code, what in EXIT.items()),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Videos = Annotated[
    str, typer.Option(help="Folder (mp4, mkv, webm, mov, avi, ts) or manifest (.jsonl, .csv, .parquet).")
]
Out = Annotated[Path, typer.Option(help="Folder of the data set.")]
RecipeName = Annotated[str, typer.Option(help="A .yaml file, or the name of a recipe that comes with the project.")]
RunnerName = Annotated[
    str, typer.Option(help="ray: Ray Data, own local Ray or the cluster of RAY_ADDRESS; local: this process.")
]
PackFrames = Annotated[bool, typer.Option("--pack-frames", help="Put the planned frames into clips/ as JPEGs.")]
Resume = Annotated[bool, typer.Option("--resume", help="Insist that there is a build to go on with.")]


@app.command("build")
def build_command(
    videos: Videos,
    out: Out,
    recipe: RecipeName = "default",
    resume: Resume = False,
    runner: RunnerName = "ray",
    pack_frames: PackFrames = False,
) -> None:
    """Build a data set. The same command again goes on where it stopped."""
    raise typer.Exit(run_build(videos, out, recipe, resume=resume, runner=runner, pack_frames=pack_frames))


@app.command("verify")
def verify_command(out: Annotated[Path, typer.Argument(help="Folder of the data set.")]) -> None:
    """Recompute every answer from the shards alone: no model, no video."""
    console = Console()
    try:
        verdict = verify(out)
    except NotADataSet as error:
        console.err.print(f"error: {error}", style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    for problem in verdict.problems[:50]:
        console.out.print(f"{problem.key}: {problem.what}", style="red", highlight=False, soft_wrap=True)
    if len(verdict.problems) > 50:
        console.out.print(f"... and {len(verdict.problems) - 50} more", style="red")
    console.out.print(
        f"{verdict.proved} of {verdict.samples - verdict.given} answers proved, {verdict.given} given with the videos, "
        f"{verdict.scores} token score rows, {len(verdict.problems)} problems",
        highlight=False,
    )
    raise typer.Exit(1 if verdict.problems else 0)


@app.command("demo")
def demo_command(out: Out = Path("demo-out"), runner: RunnerName = "ray") -> None:
    """Build from two real films and generated ones, then verify. No GPU, no download."""
    manifest = write_demo_manifest(out.parent / f"{out.name}-videos")
    code = run_build(str(manifest), out, "demo", resume=False, runner=runner)
    if code:
        raise typer.Exit(code)
    verify_command(out)


def run_build(videos: str, out: Path, recipe_name: str, *, resume: bool, runner: str, pack_frames: bool = False) -> int:
    """Builds and prints; the exit code."""
    console = Console()
    if runner not in ("ray", "local"):
        return _refused(console, f"--runner {runner}: ray or local")
    try:
        recipe: Recipe = load_recipe(recipe_name)
        result = build(videos, out, recipe, runner=runner, resume=resume, pack_frames=pack_frames, console=console)
    except USAGE_ERRORS as error:
        return _refused(console, str(error))
    except (PublishError, OSError) as error:
        console.err.print(
            f"error: {error}. The same command goes on from here.", style="red", highlight=False, soft_wrap=True
        )
        return 5
    except BROKEN as error:
        what = f"{type(error).__name__}: {error}"
        console.err.print(f"the run broke: {what}", style="red", highlight=False, soft_wrap=True)
        return 6
    except KeyboardInterrupt:
        console.err.print("\ninterrupted: finished videos are kept, the same command goes on from here", style="yellow")
        return 130
    return _print_result(console, out, result, recipe)


def _print_result(console: Console, out: Path, result: Result, recipe: Recipe) -> int:
    console.out.print(funnel_table(result.funnel))
    samples = sum(s.rows for s in result.manifest.shards if s.table == "data")
    clips = sum(s.rows for s in result.manifest.shards if s.table == "clips")
    console.out.print(f"{samples} samples of {clips} clips in {out / 'data'}", highlight=False)
    console.out.print(f"report: {(out / 'report.html').absolute()}", highlight=False, soft_wrap=True)
    if result.failed_share > recipe.max_failed_share:
        console.err.print(f"{result.failed_share:.0%} of the videos failed: see {out / 'failures'}", style="red")
        return 3
    return 0 if samples else 4


def _refused(console: Console, why: str) -> int:
    console.err.print(f"error: {why}", style="red", highlight=False, soft_wrap=True)
    return 2


def main() -> None:
    """The entry point of `utr`."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread an actor: two stall each other on two cores (5x, pilot)
    app()


if __name__ == "__main__":
    main()
