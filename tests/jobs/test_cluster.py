"""A cluster that loses a node: what a plan may ask for, and a real build with a node killed in the middle."""

import time
from fractions import Fraction
from pathlib import Path

import psutil
import pytest

from jobs.cli import run_build
from pipeline.shares import lasting, shares
from stages.media.world_film import random_film, write_world_film
from tests.jobs.conftest import shards, utr
from tests.jobs.ray_nodes import ray_head, ray_worker
from tests.toys import long_plan

FILMS = 4
BIG, SMALL = {"CPU": 16.0, "memory": 64e9, "GPU": 1.0}, {"CPU": 2.0, "memory": 8e9}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([SMALL], SMALL),
        ([SMALL, SMALL], SMALL),
        ([BIG, BIG, SMALL], {"CPU": 18.0, "memory": 72e9, "GPU": 2.0}),
        ([{"memory": 8e9}, BIG], {"CPU": 16.0, "memory": 72e9, "GPU": 1.0}),  # a head that runs nothing
        ([SMALL, BIG], {"CPU": 18.0, "memory": 72e9, "GPU": 1.0}),
    ],
)
def test_what_lasts_is_what_is_left_without_the_largest_node(nodes: list[dict], expected: dict[str, float]) -> None:
    assert lasting(nodes) == expected


def test_all_pools_and_a_task_fit_on_the_node_that_is_left() -> None:
    found = shares(long_plan(), {}, lasting([SMALL, SMALL]))
    pools = [found[name].cpus for name, stage in long_plan().named if stage.keeps_state]
    tasks = [found[name].cpus for name, stage in long_plan().named if not stage.keeps_state]
    assert len(pools) == 6
    assert sum(pools) + max(tasks) <= SMALL["CPU"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_node_killed_in_the_middle_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    for seed in range(FILMS):
        write_world_film(films / f"{seed}.mp4", random_film(seed, shots=1), fps=Fraction(25))
    assert run_build(str(films), tmp_path / "expected", "default", resume=False, runner="local") == 0
    with ray_head() as head, ray_worker(head) as node:
        monkeypatch.setenv("RAY_ADDRESS", head.gcs)
        run = utr("build", "--videos", films, "--out", out)
        while not (_commits(out) and node.workers()):
            assert run.poll() is None, run.communicate()[0]
            time.sleep(0.05)
        lost = node.workers()
        node.raylet().kill()
        at_kill = _commits(out)
        text, _ = run.communicate(timeout=1200)
        assert run.returncode == 0, text
        assert not [p for p in lost if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert 0 < at_kill < FILMS, "the node was not killed in the middle"
    assert shards(out) == shards(tmp_path / "expected")


def _commits(out: Path) -> int:
    return len(list((out / "_work" / "videos").glob("*.arrow")))
