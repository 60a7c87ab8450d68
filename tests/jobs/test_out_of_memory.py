"""Ray's memory monitor kills the worker that eats the memory: its row ends by name, all others come through."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import psutil
import pytest
import ray

from pipeline.collect import finished
from pipeline.plan import Plan
from pipeline.run_ray import local_ray, run_ray
from schemas.outcome import Outcome
from stages.base import Resources, Stage
from tests.toys import Film, Scene

GB = 2**30
ROOM_GB = 3.0  # what the machine may use beyond what it uses now; the eater takes twice that, if it lives
HUNGRY = "hungry.mp4"


def eat() -> None:
    """Takes memory and holds it, until it is killed."""
    held = []
    for _ in range(int(2 * ROOM_GB * 10)):
        held.append(np.ones(GB // 10, np.uint8))
        time.sleep(0.02)
    time.sleep(10)
    raise AssertionError("nobody was killed")


def split(films: Sequence[Film]) -> list[list[Scene]]:
    for film in films:
        if film.uri == HUNGRY:
            eat()
        time.sleep(0.3)
    return [[film.extend(Scene, scene=i) for i in range(2)] for film in films]


@dataclass(frozen=True, kw_only=True)
class EatInActors(Stage[Film, Scene, int]):
    resources = Resources(cpus=0.5, batch_rows=4)

    def open(self) -> int:
        return 0

    def process(self, state: int, films: Sequence[Film], /) -> list[list[Scene]]:
        return split(films)


@dataclass(frozen=True, kw_only=True)
class EatInTasks(Stage[Film, Scene, None]):
    resources = Resources(cpus=0.5, batch_rows=4)

    def process(self, state: None, films: Sequence[Film], /) -> list[list[Scene]]:
        return split(films)


@pytest.fixture
def watched_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A local Ray that kills where the machine uses `ROOM_GB` more than it does now."""
    memory = psutil.virtual_memory()
    if memory.available < 3 * ROOM_GB * GB:
        pytest.skip(f"needs {3 * ROOM_GB:g} GB of free memory")
    threshold = (memory.total - memory.available + ROOM_GB * GB) / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{threshold:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    assert not ray.is_initialized()
    with local_ray(num_cpus=2):
        yield


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", [EatInActors(), EatInTasks()], ids=["actors", "tasks"])
def test_a_row_that_eats_the_memory_ends_by_name_and_all_others_come_through(
    watched_ray: None, stage: Stage[Film, Scene, int | None]
) -> None:
    films = [Film(uri=f"{k:02d}.mp4", n_scenes=2) for k in range(24)]
    films.insert(9, Film(uri=HUNGRY, n_scenes=2))
    name = type(stage).__name__
    plan = Plan.of(films, Film).then(stage)
    workers = {name: 2} if stage.keeps_state else None
    done = {video.source_uri: video for video in finished(plan, run_ray(plan, workers=workers))}
    (ended,) = [outcome for video in done.values() for outcome in video.outcomes]
    detail = f"{name}: its process was lost 3 times at this row alone: a crash, or the out-of-memory killer"
    assert ended == Outcome(key=HUNGRY, uri=HUNGRY, stage=name, kind="failure", reason="WorkerDied", detail=detail)
    scenes = {scene.key for video in done.values() for scene in Scene.from_arrow(video.rows)}
    assert scenes == {f"{film.uri}@{i}" for film in films if film.uri != HUNGRY for i in range(2)}
