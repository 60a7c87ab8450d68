"""`utr evaluate --model M --tasks local --set SET --out OUT`: held-out samples or benchmarks, by lmms-eval."""

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from jobs.arguments import local_folder
from jobs.console import Console
from jobs.ending import exit_code, refused
from jobs.evaluate_tables import say, show
from pipeline.build import NotOurs
from pipeline.lmms import command as lmms
from pipeline.lmms.local_set import SPLITS, TASK, write_task
from pipeline.lmms.published import LOCAL, published
from pipeline.lmms.results import Answer, NoResults, answers, means, numbers
from pipeline.storage import place, write, writing
from pipeline.verify import NotADataSet
from stages.models.checkpoint import find, revision

ACCOUNT, ANSWERS, LOG = "evaluation.json", "answers.jsonl", "lmms.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line says; what lmms-eval is told of it is in `asked`."""

    model: str
    names: tuple[str, ...]  # of tasks, as published.yaml and the command line call them
    folder: Path
    data: str | None
    split: str
    python: Path
    asked: lmms.Asked


@dataclass(frozen=True, slots=True)
class Part:
    """One run of lmms-eval."""

    asked: lmms.Asked
    line: list[str]
    variables: dict[str, str]

    def __str__(self) -> str:
        return lmms.written(self.line, self.variables)


def evaluate_command(
    model: Annotated[str, typer.Option(help='Checkpoint folder, hub id (org/name), or "embedded".')] = "embedded",
    tasks: Annotated[str, typer.Option(help="local, seed (the list of Video-UTR), or names with commas.")] = LOCAL,
    out: Annotated[Path, typer.Option(parser=local_folder, help="Folder of the results.")] = Path("evaluation"),
    data: Annotated[str | None, typer.Option("--set", help="For local: a data set with packed frames.")] = None,
    split: Annotated[
        str, typer.Option(help="For local: validation, or all of a set that nothing was trained on.")
    ] = "validation",
    python: Annotated[
        Path, typer.Option(help="An interpreter with lmms-eval; make lmms-eval makes one.")
    ] = lmms.PYTHON,
    through: Annotated[
        str, typer.Option(help="For local: engine (prompt and pixels as in training) or lmms (lmms-eval's model).")
    ] = "engine",
    frames: Annotated[int, typer.Option(min=1, help="Of a video, in tasks other than local.")] = 32,
    prompt: Annotated[str, typer.Option(help="For local: frames says which are shown, paper does not.")] = "frames",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    max_pixels: Annotated[int | None, typer.Option(help="Of a frame, where the family reads many sizes.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Samples of a task, at most; of local drawn by id.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="One a GPU.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands only.")] = False,
) -> None:
    """Evaluate a checkpoint with lmms-eval; its numbers beside published ones."""
    console = Console()

    def job() -> int:
        try:
            names = published().chosen(tasks)
        except ValueError as error:
            return refused(console, f"--tasks {tasks}: {error}")
        asked = lmms.Asked(
            model=find(model), tasks=(), out=out / "lmms", through=through, device=device, dtype=dtype, prompt=prompt,
            frames=frames, max_pixels=max_pixels, limit=limit, processes=processes,
        )  # fmt: skip
        request = Request(model=model, names=names, folder=out, data=data, split=split, python=python, asked=asked)
        if why := refusal(request):
            return refused(console, why)
        try:
            if not dry_run:
                return _evaluate(console, request)
            for part in parts(request):
                console.out.print(str(part), highlight=False, soft_wrap=True, markup=False)
            return 0
        except (lmms.NoHarness, NotADataSet) as error:
            return refused(console, str(error))
        except NoResults as error:
            console.err.print(f"the run broke: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
            return 6

    raise typer.Exit(exit_code(console, job))


def refusal(request: Request) -> str | None:
    """Why these options do not go together; None where they do."""
    if LOCAL in request.names and request.data is None:
        return "--tasks local: give the data set with --set"
    for option, value, known in (
        ("split", request.split, SPLITS), ("through", request.asked.through, lmms.THROUGH),
        ("prompt", request.asked.prompt, lmms.PROMPTS),
    ):  # fmt: skip
        if value not in known:
            return f"--{option} {value}: {', '.join(known)}"
    return None


def parts(request: Request) -> list[Part]:
    """The local task and the others are read by different models, so each has its run. Raises NoHarness."""
    runs, asked = [], request.asked
    if LOCAL in request.names:
        runs.append(replace(asked, tasks=(TASK,), include=request.folder / "task", out=asked.out / LOCAL))
    if others := tuple(published().tasks[name].run for name in request.names if name != LOCAL):
        runs.append(replace(asked, tasks=others, out=asked.out / "benchmarks"))
    return [Part(run, lmms.command(request.python, run), lmms.settings(run)) for run in runs]


def _evaluate(console: Console, request: Request) -> int:
    todo, versions, folder = parts(request), lmms.check(request.python), request.folder
    _make_room(folder)
    if LOCAL in request.names and request.data is not None:
        asked = request.asked
        made = write_task(
            place(request.data), folder / "task", split=request.split, limit=asked.limit, prompt=asked.prompt
        )
        out = "".join(f"; {n:,} left out: {why}" for why, n in made.left_out.items())
        say(console, f"local: {made.samples:,} samples of {made.videos:,} videos{out}")
    found = {task: values for part in todo for task, values in _run(console, part, folder / LOG).items()}
    own = answers(request.asked.out / LOCAL, folder / "task") if LOCAL in request.names else []
    values = {name: published().tasks[name].value(found) for name in request.names if name != LOCAL}
    account = {
        "engine": f"utr-engine {version('utr-engine')}",
        "model": request.asked.model.name,
        "revision": revision(request.model),
        "set": request.data,
        "split": request.split,
        "commands": [str(part) for part in todo],
        "versions": versions,
        "local": [asdict(mean) for mean in means(own)],
        "benchmarks": values,
    }
    _write(folder, account, own)
    show(console, request.asked, means(own), values)
    return 0 if own or any(v is not None for v in values.values()) else 4


def _run(console: Console, part: Part, log: Path) -> dict[str, dict[str, object]]:
    say(console, f"{', '.join(part.asked.tasks)}: lmms-eval runs, its words are in {log}")
    with writing(log), log.open("ab") as file:
        environment = lmms.environment(part.variables)
        subprocess.run(part.line, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
    shutil.rmtree(part.asked.out / lmms.CACHE, ignore_errors=True)
    return numbers(part.asked.out, log)


def _make_room(folder: Path) -> None:
    """An empty folder, or that of an earlier evaluation, whose files go; raises NotOurs."""
    if folder.exists() and any(folder.iterdir()) and not (folder / ACCOUNT).is_file():
        first = sorted(p.name for p in folder.iterdir())[0]
        raise NotOurs(f"{folder} holds {first} and is no evaluation; choose another --out")
    with writing(folder):
        for name in ("lmms", "task"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in (LOG, ANSWERS):
            (folder / name).unlink(missing_ok=True)
        write(folder / ACCOUNT, b"{}\n")  # so that a killed one is known as ours


def _write(folder: Path, account: dict[str, object], own: list[Answer]) -> None:
    with writing(folder):
        if own:
            lines = [json.dumps(asdict(a), ensure_ascii=False) + "\n" for a in own]
            write(folder / ANSWERS, "".join(lines).encode())
        write(folder / ACCOUNT, (json.dumps(account, indent=1) + "\n").encode())
