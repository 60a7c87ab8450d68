"""Both runners give the same rows and the same outcomes; Ray ends with all its processes."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from pipeline.collect import finished
from pipeline.plan import Plan
from pipeline.quarantine import WorkerDied
from pipeline.run_local import run_local
from pipeline.run_ray import local_ray, run_ray, shares
from stages.base import Resources, Stage
from tests.toys import FILMS, LOSSES, N_ROWS, EngineDead, Film, Keep, RatedBeat, long_plan, plan

ROOT = Path(__file__).resolve().parents[2]
BIG = {"CPU": 64.0, "memory": 256e9}


def contents(plan: Plan[RatedBeat], blocks: Iterator[pa.Table]) -> dict[str, Any]:
    """Everything that a run says, sorted, without the seconds."""
    return {
        video.source_uri: (
            sorted(map(repr, RatedBeat.from_arrow(video.rows))),
            sorted(map(repr, video.outcomes)),
            {name: (count.rows_in, count.rows_out) for name, count in video.funnel.stages.items()},
        )
        for video in finished(plan, blocks)
    }


def test_local_gives_the_known_rows_and_losses():
    videos = list(finished(plan(), run_local(plan())))
    rows = [row for video in videos for row in RatedBeat.from_arrow(video.rows)]
    assert len(rows) == N_ROWS
    assert all(row.rating == 0.5 * (row.scene + row.beat) for row in rows)
    assert Counter((o.stage, o.kind, o.reason) for video in videos for o in video.outcomes) == LOSSES
    (corrupt,) = [video for video in videos if video.source_uri == "corrupt.mp4"]
    assert [(o.key, o.uri, o.detail) for o in corrupt.outcomes] == [
        ("corrupt.mp4", "corrupt.mp4", "cannot read corrupt.mp4")
    ]


@pytest.mark.usefixtures("ray_up")
def test_ray_gives_what_local_gives():
    assert contents(plan(), run_ray(plan())) == contents(plan(), run_local(plan()))


@pytest.mark.usefixtures("ray_up")
@pytest.mark.timeout(120)
def test_ten_stages_with_six_pools_run_on_two_cpus():
    long = long_plan()
    assert len(long.stages) == 10
    assert sum(stage.keeps_state for stage in long.stages) == 6
    assert contents(long, run_ray(long)) == contents(long, run_local(long))


@pytest.mark.usefixtures("ray_up")
def test_clips_of_one_video_go_to_two_workers():
    one = plan([Film(uri="a.mp4", n_scenes=5)], with_pid=True, delay_s=0.2)
    (video,) = finished(one, run_ray(one, workers={"RateBeats": 2}))
    assert len({row.worker_pid for row in RatedBeat.from_arrow(video.rows)}) == 2


@pytest.mark.usefixtures("ray_up")
def test_videos_complete_before_the_run_ends():
    many = plan([Film(uri=f"{i}.mp4", n_scenes=1) for i in range(24)], delay_s=0.1)
    began = time.monotonic()
    times = [time.monotonic() - began for _ in finished(many, run_ray(many))]
    assert len(times) == 24
    assert times[0] < times[-1] - 0.3, "all videos came out together"


@pytest.mark.usefixtures("ray_up")
def test_a_fatal_error_comes_out_as_itself():
    with pytest.raises(EngineDead, match="no engine"):
        list(run_ray(plan([Film(uri="dead.mp4", n_scenes=1)])))


@pytest.mark.usefixtures("ray_up")
def test_closing_the_iterator_stops_the_run():
    slow = plan([Film(uri=f"{i}.mp4", n_scenes=1) for i in range(200)], delay_s=0.2, with_pid=True)
    blocks = run_ray(slow)
    pids = {row["worker_pid"] for _ in range(3) for row in next(blocks).to_pylist() if row["worker_pid"]}
    assert pids
    blocks.close()
    (pid,) = pids
    deadline = time.monotonic() + 60  # on a busy machine Ray took over 20 s to end
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not psutil.pid_exists(pid), "the worker goes on after its run was closed"


@dataclass(frozen=True, kw_only=True)
class Die(Keep):
    """Killed as by the out-of-memory killer: at one row each time, at one film once."""

    note: str
    resources = Resources(cpus=0.5, memory_gb=0.1, batch_rows=4)

    def process(self, state: dict[str, int], beats: Sequence[RatedBeat], /) -> Sequence[RatedBeat]:
        return _killed_at(beats, Path(self.note))


@dataclass(frozen=True, kw_only=True)
class DieAsTask(Stage[RatedBeat, RatedBeat, None]):
    """The same without a state to keep."""

    note: str

    def process(self, _: None, beats: Sequence[RatedBeat], /) -> Sequence[RatedBeat]:
        return _killed_at(beats, Path(self.note))


def _killed_at(beats: Sequence[RatedBeat], note: Path) -> Sequence[RatedBeat]:
    once = any(beat.uri == "once.mp4" for beat in beats) and not note.exists()
    if once:
        note.touch()
    if once or any(beat.uri == "poison.mp4" and beat.beat == 1 for beat in beats):
        os.kill(os.getpid(), signal.SIGKILL)
    return beats


@pytest.mark.usefixtures("ray_up")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind", [pytest.param(Die, id="actor", marks=pytest.mark.slow), pytest.param(DieAsTask, id="task")]
)
def test_a_row_that_kills_its_worker_ends_by_name_and_no_other_row_is_lost(kind: Any, tmp_path: Path):
    """Among them: rows beside it in its batch, blocks that wait for its worker, a row whose worker is killed once."""
    stage = kind(note=str(tmp_path / "died"))
    deadly = plan([Film(uri=f"{name}.mp4", n_scenes=1) for name in ("a", "once", "poison", "b")]).then(stage)
    done = {video.source_uri: video for video in finished(deadly, run_ray(deadly))}
    lost = [(o.key, o.stage, o.reason) for video in done.values() for o in video.outcomes if o.kind == "failure"]
    assert lost == [("poison.mp4@0.1", kind.__name__, "WorkerDied")]
    counts = {uri: video.rows.num_rows for uri, video in done.items()}
    assert counts == {"a.mp4": 2, "once.mp4": 2, "poison.mp4": 1, "b.mp4": 2}


@dataclass(frozen=True, kw_only=True)
class NoWeights(Keep):
    def open(self) -> dict[str, int]:
        raise FileNotFoundError("no weights at x.safetensors")


@pytest.mark.usefixtures("ray_up")
def test_a_stage_that_cannot_open_ends_the_run():
    with pytest.raises(WorkerDied, match=r"FileNotFoundError: no weights at x\.safetensors"):
        list(run_ray(plan(FILMS[:1]).then(NoWeights())))


def test_workers_of_an_unknown_stage_are_refused():
    with pytest.raises(ValueError, match="workers for CutBeats, Score: no stage of that name keeps state"):
        list(run_ray(plan(), workers={"Score": 2, "CutBeats": 2}))


def test_a_plan_of_no_sources_gives_no_blocks():
    assert list(run_ray(plan([]))) == list(run_local(plan([]))) == []


def test_shares_are_as_declared_where_there_is_room():
    found = shares(plan(), {"RateBeats": 8}, BIG)
    assert (found["RateBeats"].cpus, found["RateBeats"].memory_bytes // 10**6) == (1.0, 100)
    assert found["CutScenes"].cpus == 1.0


def test_shares_shrink_so_that_all_pools_and_two_tasks_fit():
    found = shares(long_plan(), {"Keep": 3}, {"CPU": 2.0, "memory": 1e9})
    counts = {name: 3 if name == "Keep" else 1 for name, stage in long_plan().named if stage.keeps_state}
    tasks = [share for name, share in found.items() if name not in counts]
    assert sum(found[name].cpus * n for name, n in counts.items()) + 2 * max(s.cpus for s in tasks) <= 2.0
    held = sum(found[name].memory_bytes * n for name, n in counts.items()) + 2 * max(s.memory_bytes for s in tasks)
    assert held <= 1e9 + 100  # a byte apart
    assert all(share.cpus > 0 for share in found.values())


@dataclass(frozen=True, kw_only=True)
class OnGpu(Keep):
    resources = Resources(gpus=1)


def test_a_plan_that_needs_a_gpu_is_refused_where_there_is_none():
    with pytest.raises(ValueError, match="the plan holds 1 GPUs, the cluster has 0"):
        shares(plan().then(OnGpu()), {}, BIG)


def test_local_ray_joins_what_is_initialised(ray_up: None):
    with local_ray(num_cpus=1):
        pass
    assert len(list(run_ray(plan(FILMS[1:2])))) == 1, "ray was ended by somebody who did not start it"


DRIVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pipeline.run_ray import local_ray, run_ray
from tests.toys import Film, plan

with local_ray(num_cpus=2):
    films = [Film(uri=f"{i}.mp4", n_scenes=1) for i in range(500)]
    for block in run_ray(plan(films, delay_s=0.5)):
        print("block", flush=True)
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_after(number: signal.Signals, tmp_path: Path):
    """Also shows that workers find our packages when the driver runs elsewhere."""
    mark = f"UTR_TEST_MARK={tmp_path}"
    env = {**os.environ, "UTR_TEST_MARK": str(tmp_path)}
    env.pop("PYTHONPATH", None)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(ROOT)], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "block\n"
    assert len(_marked(mark)) > 3
    driver.send_signal(number)
    driver.wait(timeout=60)
    driver.stdout.close()
    deadline = time.monotonic() + 60  # on a busy machine Ray took over 20 s to end
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == []


def _marked(mark: str) -> list[str]:
    """Command lines of living processes that inherited this test's environment."""
    found = []
    for process in psutil.process_iter():
        try:
            name, _, value = mark.partition("=")
            if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:120])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
