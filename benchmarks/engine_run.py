"""The whole plan in three hands: a plain loop over the same stages, the local runner, Ray."""

import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.engine_child import Decoded, counted, counting
from benchmarks.engine_spent import Spent, measured, watched
from jobs.build_utr_data import build_plan, probe_plan
from jobs.recipe import load_recipe
from pipeline.collect import Finished, finished
from pipeline.plan import Plan
from pipeline.run_local import run_local
from pipeline.run_ray import local_ray, run_ray
from schemas.clip import DecodedClip
from schemas.outcome import Skip
from schemas.row import Row
from schemas.sample import SelectedClip
from schemas.video import Source
from stages.algorithms.world import random_world
from stages.base import Stage
from stages.media.world_film import write_world_film

STORE_GB = 16.0
CONFIGURATIONS = ((1, 1), (1, 2), (2, 2))  # workers a stage, cores


@dataclass(slots=True)
class Work:
    """What a plain loop did, by stage: what it cost, how many rows went in, which came out."""

    spent: dict[str, Spent] = field(default_factory=dict)
    rows_in: Counter[str] = field(default_factory=Counter)
    rows_out: defaultdict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))


def whole_plan(films: Sequence[Path], store_dir: str) -> Plan[SelectedClip]:
    """Probe and build as one plan, with the default recipe."""
    recipe = load_recipe("default").model_copy(update={"store_dir": store_dir, "store_gb": STORE_GB})
    sources = [Source(uri=film.name, location=str(film), caption=None, qa=()) for film in films]
    probe, build = probe_plan(recipe, sources), build_plan(recipe, [])
    return replace(build, source=probe.source, stages=(*probe.stages, *build.stages))


def plain(sources: Sequence[Row], stages: Sequence[tuple[str, Stage[Any, Any, Any]]]) -> Work:
    """What one writes without an engine: stage by stage, film by film, in lists; an error ends it."""
    work = Work(spent={name: Spent(0.0, 0.0) for name, _ in stages})
    states = [stage.open() for _, stage in stages]
    for source in sources:
        rows: list[Row] = [source]
        for (name, stage), state in zip(stages, states, strict=True):
            work.rows_in[name] += len(rows)
            rows, spent = measured(lambda stage=stage, state=state, rows=rows: _processed(stage, state, rows))
            work.spent[name] += spent
            work.rows_out[name] += rows
    for (_, stage), state in zip(stages, states, strict=True):
        stage.close(state)
    return work


def _processed(stage: Stage[Any, Any, Any], state: Any, rows: Sequence[Row]) -> list[Row]:
    found: list[Any] = []
    for row in rows:
        (result,) = stage.process(state, [row])
        found += result if isinstance(result, list) else [result]
    return [item for item in found if not isinstance(item, Skip)]


def build(films: Sequence[Path], repeats: int) -> tuple[dict[str, Any], list[SelectedClip]]:
    """Plain loop and local runner in turn, each with a frame store of its own; also the clips that came out."""
    with _tiny() as tiny:
        _plain_run([tiny])  # imports, weights, caches of the system
    rounds: list[tuple[Work, Spent, Decoded, Spent]] = []
    for _ in range(repeats):
        work, loop, decoded = _plain_run(films)
        rows, local = _with_store(films, lambda plan: measured(lambda: _rows(finished(plan, run_local(plan)))))
        if _by_key(rows) != _by_key(work.rows_out["SelectSamples"]):
            raise AssertionError("the plain loop and the local runner did not do the same work")
        rounds.append((work, loop, decoded, local))
    work, _, decoded, _ = rounds[0]
    clips = [row for row in work.rows_out["SelectSamples"] if isinstance(row, SelectedClip)]
    looked_at = [row for row in work.rows_out["DecodeClip"] if isinstance(row, DecodedClip)]
    return {
        "repeats": repeats,
        "loop": asdict(Spent.middle([loop for _, loop, _, _ in rounds])),
        "local": asdict(Spent.middle([local for *_, local in rounds])),
        "over_loop": median(local.cpu_s / loop.cpu_s for _, loop, _, local in rounds),
        "stages": [
            {"stage": n, "rows_in": work.rows_in[n], **asdict(Spent.middle([w.spent[n] for w, *_ in rounds]))}
            for n in work.spent
        ],
        "decodes": decodes(looked_at, decoded),
        "clips": len(clips),
    }, clips


def _plain_run(films: Sequence[Path]) -> tuple[Work, Spent, Decoded]:
    def run(plan: Plan[SelectedClip]) -> tuple[Work, Spent, Decoded]:
        sources = Source.from_arrow(plan.source)
        with tempfile.TemporaryDirectory() as folder, counting(Path(folder) / "decoded"):
            work, spent = measured(lambda: plain(sources, plan.named))
            return work, spent, counted(Path(folder) / "decoded")

    return _with_store(films, run)


def _with_store(films: Sequence[Path], run: Callable[[Plan[SelectedClip]], Any]) -> Any:
    with tempfile.TemporaryDirectory(prefix="utr-bench-") as store:
        return run(whole_plan(films, store))


def _rows(videos: Iterator[Finished]) -> list[SelectedClip]:
    found: list[SelectedClip] = []
    for video in videos:
        failed = [outcome for outcome in video.outcomes if outcome.kind == "failure"]
        if failed:
            raise AssertionError(f"{video.source_uri}: {failed[0]}")
        found += SelectedClip.from_arrow(video.rows)
    return found


def _by_key(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.key)


def decodes(clips: Sequence[DecodedClip], decoded: Decoded) -> dict[str, Any]:
    """How often the frames that the plan looks at, tracking and planned ones, were decoded, and how many came along."""
    needed = {(clip.location, tick) for clip in clips for tick in clip.track_tick}
    film = {(location, tick) for who, location, tick in decoded if who == "scan"}
    times: Counter[tuple[str, int | None]] = Counter()
    for (_, location, tick), count in decoded.items():
        times[location, tick] += count
    return {
        "needed_frames": len(needed),
        "film_frames": len(film),
        "decoded_frames": decoded.total(),
        "per_needed_frame": sum(times[frame] for frame in needed) / len(needed),
        "per_film_frame": decoded.total() / len(film),
        "all_over_needed": decoded.total() / len(needed),
    }


def on_ray(films: Sequence[Path]) -> dict[str, Any]:
    """The plain loop, then Ray by workers a stage and cores; `start` is what a film of seconds costs, workers too."""
    runs: list[dict[str, Any]] = []
    pools = [name for name, stage in whole_plan([], tempfile.gettempdir()).named if stage.keeps_state]
    with _tiny() as tiny:
        _, warm, _ = _plain_run([tiny])
        work, loop, _ = _plain_run(films)
        expected = _by_key(work.rows_out["SelectSamples"])
        for workers, cores in CONFIGURATIONS:
            sizes = dict.fromkeys(pools, workers)
            with _on_cores(cores), local_ray(num_cpus=os.cpu_count()):
                _, start = _with_store([tiny], lambda plan, n=sizes: watched(lambda: _on_ray(plan, n)))
                rows, whole = _with_store(films, lambda plan, n=sizes: watched(lambda: _on_ray(plan, n)))
            if _by_key(rows) != expected:
                raise AssertionError(f"{workers} workers on {cores} cores did not do the work of the plain loop")
            runs.append({"workers": workers, "cores": cores, "start": asdict(start), "whole": asdict(whole)})
    return {"loop": asdict(loop), "loop_start": asdict(warm), "runs": runs}


def _on_ray(plan: Plan[SelectedClip], workers: dict[str, int]) -> list[SelectedClip]:
    return _rows(finished(plan, run_ray(plan, workers=workers)))


@contextmanager
def _on_cores(count: int) -> Iterator[None]:
    """This process, and what it starts, on so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _tiny() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "tiny.mp4"
        write_world_film(film, [random_world(np.random.default_rng(1), max_shapes=1)], fps=Fraction(25))
        yield film
