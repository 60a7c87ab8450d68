"""What the jobs over pairs share: their folder, their runner, their facts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.console import Console
from pipeline.build import NotOurs, check_folder
from pipeline.funnel import Funnel
from pipeline.pair_run import PairRun, Runner
from pipeline.plan import Plan
from pipeline.publish import RunFacts
from pipeline.run_local import run_local
from pipeline.score_publish import INPUT
from schemas.pair import InputFacts

RUNNERS = ("ray", "local")


def open_folder(out: Path, work: PairRun, resume: bool, given: InputFacts) -> None:
    """Raises NotOurs or PlanChanged where the run may not write to `out`."""
    check_folder(out)
    _check_input(out, given)
    work.check_sealed(out)
    if resume and not (work.work_dir / "plan.json").exists():
        raise NotOurs(f"--resume: {out} holds no unfinished run; leave the flag out to begin one")


def _check_input(out: Path, given: InputFacts) -> None:
    """Raises NotOurs where `out` holds what was found of another input: it would be replaced. One that grew may."""
    path = out / INPUT
    if not path.is_file():
        return
    old = InputFacts.from_json(path.read_text(encoding="utf-8"))
    if (old.format, Path(old.path).resolve()) != (given.format, Path(given.path).resolve()):
        raise NotOurs(
            f"{out} holds the scores of {old.path} ({old.format}); those of {given.path} ({given.format}) would take "
            "their place. Choose another --out."
        )


@contextmanager
def runner_of(runner: str, workers: dict[str, int], console: Console) -> Iterator[Runner]:
    """The runner by name; Ray lives as long as it is used."""
    if runner == "local":
        yield run_local
        return
    from pipeline.run_ray import local_ray, run_ray

    def on_ray(plan: Plan[Any]) -> Iterator[pa.Table]:
        return run_ray(plan, workers=workers)

    console.phase("ray")
    with local_ray():
        yield on_ray


def run_facts(
    work: PairRun, root: str, began: tuple[datetime, float], runner: str, workers: int
) -> RunFacts:  # fmt: skip
    """What the manifest says of a run; `began` is the date and the monotonic clock of its start."""
    started, clock = began
    return RunFacts(
        engine=f"utr-engine {version('utr-engine')}",
        plan_fingerprint=work.fingerprint,
        plan=work.lines,
        packages=dict(work.packages),
        videos_root=root,
        funnel=Funnel(),  # counted in texts when all are read
        started=started.isoformat(timespec="seconds"),
        wall_s=round(time.monotonic() - clock, 1),
        runner=runner,
        workers=workers,
    )


def now() -> tuple[datetime, float]:
    """Date and monotonic clock."""
    return datetime.now(UTC), time.monotonic()
