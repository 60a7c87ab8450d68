"""`utr submit -- ARGS`: what `utr build ARGS` does, as a job of a Ray cluster (docs/cluster.md)."""

import asyncio
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import Console
from jobs.ending import EXIT, exit_code, refused
from jobs.recipe import load_recipe

if TYPE_CHECKING:
    from pipeline.ray_jobs import Ended, JobServer

ROOT = Path(__file__).resolve().parents[1]  # a checkout, or the folder that a wheel was installed into
PACKAGES = ("schemas", "stages", "pipeline", "jobs")
# What they read beside their code.
DATA = ("stages/models/checkpoints", "stages/prompts", "pipeline/templates", "pipeline/lmms/data", "jobs/recipes")
MAX_BYTES = 100 * 2**20  # Ray's dashboard takes no larger upload
RECIPE = "recipe.yaml"
POLL_S = 1.0
OF_A_BUILD = EXIT.keys() - {1}  # Python's own code for an error that nobody caught; in EXIT it is verify's

Address = Annotated[
    str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="Of the cluster's dashboard: http://HEAD:8265.")
]


class CannotSubmit(ValueError):
    """The cluster could not run this; the message names the argument or file, and the remedy."""


def submit_command(
    context: typer.Context,
    arguments: Annotated[list[str], typer.Argument(help="Those of `utr build`, after --.")],
    address: Address = "http://127.0.0.1:8265",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
) -> None:
    """Build on a Ray cluster: sends the code, follows the log, ends with the build's exit code."""
    build = context.parent.command.commands["build"]  # type: ignore[union-attr]
    options = build.make_context("build", list(arguments), parent=context.parent).params
    console = Console()

    def job() -> int:
        try:
            with tempfile.TemporaryDirectory(prefix="utr-submit-") as folder:
                command = prepare(Path(folder), options, list(arguments))
                console.err.print(sent(Path(folder)), highlight=False)
                if dry_run:
                    console.out.print(command, highlight=False, soft_wrap=True, markup=False)
                    return 0
                return _run(Path(folder), command, address, console)
        except CannotSubmit as error:
            return refused(console, str(error))

    raise typer.Exit(exit_code(console, job))


def prepare(folder: Path, options: dict[str, Any], arguments: list[str]) -> str:
    """Writes the job's working directory; the job's command. Raises CannotSubmit and RecipeError."""
    for name in ("videos", "out"):
        given = str(options[name])
        if "://" not in given and not PurePosixPath(given).is_absolute():
            raise CannotSubmit(
                f"--{name} {given}: the job runs in another folder, maybe on another machine; give the absolute path "
                "under which all nodes of the cluster see it, or a URL"
            )
    load_recipe(options["recipe"])
    for file in shipped(ROOT):
        to = folder / file.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)
    _write_version(folder)
    if options["recipe"].endswith((".yaml", ".yml")):
        shutil.copyfile(options["recipe"], folder / RECIPE)
        arguments = [*arguments, "--recipe", RECIPE]  # the last one counts
    return shlex.join(["python", "jobs/build_utr_data.py", *arguments])


def shipped(root: Path) -> Iterator[Path]:
    """The files that a job needs: code of the four packages and what it reads, and nothing else that lies there."""
    for package in PACKAGES:
        yield from sorted((root / package).rglob("*.py"))
    for folder in DATA:
        yield from sorted(p for p in (root / folder).rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc"))


def sent(folder: Path) -> str:
    """What is sent, in words; raises CannotSubmit where Ray would not take it."""
    sizes = {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    total = sum(sizes.values())
    if total > MAX_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        raise CannotSubmit(
            f"the code to send is {_mb(total)}, Ray takes {_mb(MAX_BYTES)}; the largest file is {largest} with "
            f"{_mb(sizes[largest])}: move it out of {ROOT}"
        )
    return f"working directory: {len(sizes)} files, {_mb(total)}"


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


def _write_version(folder: Path) -> None:
    """What the job's manifest calls this engine: an engine that is installed on the nodes may be another."""
    release = version("utr-engine")
    info = folder / f"utr_engine-{release}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: utr-engine\nVersion: {release}\n")


def _run(folder: Path, command: str, address: str, console: Console) -> int:
    if not address.startswith(("http://", "https://")):
        raise CannotSubmit(f"--address {address}: that of the cluster's dashboard is wanted, like http://HEAD:8265")
    # Ray prefers it to the address that it is given, and run_ray leaves authentication to a cluster that is named here.
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    from pipeline.ray_jobs import JobServer, NoCluster

    try:
        server = JobServer(address)
    except NoCluster as error:
        raise CannotSubmit(
            f"{error}\n`ray start --head` prints the address of its dashboard; give it as --address"
        ) from error
    job_id = server.submit(folder, command)
    at = f"--address {address} {job_id}"
    again = f"  follow it: ray job logs --follow {at}\n  stop it:   ray job stop {at}"
    console.err.print(f"job {job_id}\n{again}", highlight=False, soft_wrap=True)
    try:
        return _code(_follow(server, job_id, console), console)
    except KeyboardInterrupt:
        console.err.print(f"\nthe job goes on without you\n{again}", style="yellow", highlight=False, soft_wrap=True)
        return 130
    except NoCluster as error:
        console.err.print(f"{error}\nIf the job goes on:\n{again}", style="red", highlight=False, soft_wrap=True)
        return 6


def _follow(server: "JobServer", job_id: str, console: Console) -> "Ended":
    from pipeline.ray_jobs import NoCluster

    async def log() -> None:
        async for text in server.follow(job_id):
            typer.echo(text, nl=False)

    try:
        asyncio.run(log())
    except NoCluster as error:
        console.err.print(f"the log broke off ({error}); waiting for the job to end", style="yellow", highlight=False)
    while (ended := server.ended(job_id)) is None:
        time.sleep(POLL_S)
    return ended


def _code(ended: "Ended", console: Console) -> int:
    """The job's exit code where it is one of a build's; 130 for a job that was stopped, 6 for one that broke."""
    if ended.stopped:
        console.err.print("the job was stopped: the same command goes on where it stopped", style="yellow")
        return 130
    if ended.exit_code in OF_A_BUILD:
        return ended.exit_code
    what = "never ran" if ended.exit_code is None else f"ended with code {ended.exit_code}"
    text = f"the job {what}: {ended.message}"
    console.err.print(text, style="red", highlight=False, soft_wrap=True, markup=False)
    return 6
