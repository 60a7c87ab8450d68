"""`utr`: one command line, thin over the jobs. Exit codes are in jobs/ending.py."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.arguments import local_folder
from jobs.ask import ask_command
from jobs.build_utr_data import Result, build
from jobs.calibrate import calibrate
from jobs.cli_score import import_command, score_command, select_command
from jobs.console import Console
from jobs.demo import write_demo_manifest
from jobs.doctor import doctor_command
from jobs.ending import EXIT, exit_code, refused
from jobs.evaluate import evaluate_command
from jobs.export import export_command
from jobs.recipe import Recipe, load_recipe
from jobs.submit import submit_command
from jobs.train import train_command
from pipeline.report import funnel_table
from pipeline.storage import NoStore, Place, place
from pipeline.verify import NotADataSet, verify

app = typer.Typer(
    help="UTR engine: videos become verified training data that one frame cannot answer.",
    epilog="Exit codes: " + "; ".join(f"{code} {what}" for code, what in EXIT.items()),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Videos = Annotated[
    str,
    typer.Option(help="Folder (mp4, mkv, webm, mov, avi, ts) or manifest (.jsonl, .csv, .parquet), by path or URL."),
]
Out = Annotated[str, typer.Option(help="Folder of the data set, by path or URL (s3://bucket/folder).")]
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
def verify_command(out: Annotated[str, typer.Argument(help="Folder of the data set, by path or URL.")]) -> None:
    """Recompute every answer from the shards alone: no model, no video."""
    console = Console()
    try:
        verdict = verify(place(out))
    except (NoStore, NotADataSet) as error:
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
def demo_command(
    out: Annotated[Path, typer.Option(parser=local_folder, help="Folder of the data set.")] = Path("demo-out"),
    runner: RunnerName = "ray",
) -> None:
    """Build from two real films and generated ones, then verify. No GPU, no download."""
    manifest = write_demo_manifest(out.parent / f"{out.name}-videos")
    code = run_build(str(manifest), out, "demo", resume=False, runner=runner)
    if code:
        raise typer.Exit(code)
    verify_command(str(out))


app.command("submit")(submit_command)
app.command("score")(score_command)
app.command("select")(select_command)
app.command("import")(import_command)
app.command("export")(export_command)
app.command("calibrate")(calibrate)
app.command("train")(train_command)
app.command("doctor")(doctor_command)
app.command("ask")(ask_command)
app.command("evaluate")(evaluate_command)


def run_build(
    videos: str, out: str | Path, recipe_name: str, *, resume: bool, runner: str, pack_frames: bool = False
) -> int:
    """Builds and prints; the exit code."""
    console = Console()
    if runner not in ("ray", "local"):
        return refused(console, f"--runner {runner}: ray or local")

    def job() -> int:
        recipe, to = load_recipe(recipe_name), place(out)
        result = build(videos, to, recipe, runner=runner, resume=resume, pack_frames=pack_frames, console=console)
        return _print_result(console, to, result, recipe)

    return exit_code(console, job)


def _print_result(console: Console, out: Place, result: Result, recipe: Recipe) -> int:
    console.out.print(funnel_table(result.funnel))
    samples = sum(s.rows for s in result.manifest.shards if s.table == "data")
    clips = sum(s.rows for s in result.manifest.shards if s.table == "clips")
    console.out.print(f"{samples} samples of {clips} clips in {out / 'data'}", highlight=False)
    console.out.print(f"report: {(out / 'report.html').absolute()}", highlight=False, soft_wrap=True)
    if result.failed_share > recipe.max_failed_share:
        console.err.print(f"{result.failed_share:.0%} of the videos failed: see {out / 'failures'}", style="red")
        return 3
    return 0 if samples else 4


def main() -> None:
    """The entry point of `utr`."""
    app()


if __name__ == "__main__":
    main()
