"""The paper in miniature, on a CPU: `python jobs/experiment_hacking.py [--setting smoke|small] [--out DIR]`.

One base goes on learning from one-frame texts, from UTR targets, and from halves of a pool chosen by TPL; then all are
measured on films that none of them saw. Finished parts lie in --out/work and are not done again; the report is
--out/hacking.{md,json,png}.
"""

import json
import os
import platform
import re
import sys
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if __name__ == "__main__":  # a script: its folder is jobs/, the packages lie beside it
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: an arm is a process of one thread

from pipeline.shapes.hacking import ARMS, BASE, SETTINGS, Place, prepare, run

OUT = Path("out") / "hacking"


def main(
    setting: Annotated[str, typer.Option(help=f"How large: {' or '.join(SETTINGS)}.")] = "small",
    out: Annotated[Path, typer.Option(help="Folder of the report and, in work/, of finished parts.")] = OUT,
    workers: Annotated[int, typer.Option(help="Arms at a time, a process and a thread each.")] = 2,
) -> None:
    """One-frame texts against UTR targets and TPL-chosen halves. small: under 40 minutes on two idle cores."""
    if setting not in SETTINGS:
        raise typer.BadParameter(f"{setting!r} is none of {', '.join(SETTINGS)}", param_hint="--setting")
    place = Place(out / "work", setting)
    place.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool, _progress() as progress:
        try:
            _do_all(pool, place, progress)
        finally:
            pool.shutdown(cancel_futures=True)  # after a failure nothing new is begun
    _report(place, out)


def _do_all(pool: ProcessPoolExecutor, place: Place, progress: Progress) -> None:
    """What is not finished, a seed's arms as soon as its films are; the first failure ends the command."""
    seeds = range(place.setting.seeds)
    bar = progress.add_task("bases and arms", total=len(seeds) * (2 + len(ARMS)))
    prepared = {pool.submit(prepare, place, seed): seed for seed in seeds if not place.is_prepared(seed)}
    ready = [seed for seed in seeds if place.is_prepared(seed)]
    progress.advance(bar, len(ready))
    arms = [future for seed in ready for future in _arms(pool, place, seed)]
    for done in as_completed(prepared):
        done.result()
        progress.advance(bar)
        arms += _arms(pool, place, prepared[done])
    progress.advance(bar, len(seeds) * (1 + len(ARMS)) - len(arms))
    for done in as_completed(arms):
        done.result()
        progress.advance(bar)


def _arms(pool: ProcessPoolExecutor, place: Place, seed: int) -> list[Future[None]]:
    return [pool.submit(run, place, arm, seed) for arm in (BASE, *ARMS) if not place.result(arm, seed).exists()]


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _report(place: Place, out: Path) -> None:
    from pipeline.shapes.hacking_plot import plot
    from pipeline.shapes.hacking_report import markdown, summary

    seeds = range(place.setting.seeds)
    results: dict[str, list[dict[str, Any]]] = {
        arm: [json.loads(place.result(arm, seed).read_text()) for seed in seeds] for arm in (BASE, *ARMS)
    }
    prepared = [json.loads(place.prepared(seed).read_text()) for seed in seeds]
    parts = [*prepared, *(run for own in results.values() for run in own)]
    facts = {
        "machine": _machine(),
        "command": f"python jobs/experiment_hacking.py --setting {place.name}",
        "cpu_s": sum(part["cpu_s"] for part in parts),
        "pools": [part["account"] for part in prepared],
    }
    text = markdown(results, place.setting, facts)
    (out / "hacking.md").write_text(text)
    (out / "hacking.json").write_text(json.dumps({**facts, **summary(results)}, indent=1) + "\n")
    plot(out / "hacking.png", results, facts["machine"])
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    cpu = found.group(1) if found else platform.processor() or platform.machine()
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    typer.run(main)
