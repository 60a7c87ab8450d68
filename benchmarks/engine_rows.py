"""What a row costs in a stage that does nothing, through either runner."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.engine_spent import Spent, measured, watched
from pipeline.plan import Plan
from pipeline.run_local import run_local
from pipeline.run_ray import local_ray, run_ray
from schemas.sample import SelectedClip
from schemas.video import Video
from stages.base import Stage

ROWS, PASSES, RAY_PASSES = 100, 10, 3


@dataclass(frozen=True, kw_only=True)
class PassVideo(Stage[Video, Video, None]):
    """Does nothing to a small row."""

    def process(self, _: None, videos: Sequence[Video], /) -> Sequence[Video]:
        return videos


@dataclass(frozen=True, kw_only=True)
class PassClip(Stage[SelectedClip, SelectedClip, None]):
    """Does nothing to the row that a build ends with."""

    def process(self, _: None, clips: Sequence[SelectedClip], /) -> Sequence[SelectedClip]:
        return clips


def row_cost(clips: Sequence[SelectedClip]) -> dict[str, Any]:
    """Microseconds that a row spends in a stage that does nothing, through either runner."""
    found: dict[str, Any] = {}
    kinds = (("Video", some_videos(), PassVideo()), ("SelectedClip", _clips(clips), PassClip()))
    for name, rows, stage in kinds:
        one, many = (empty_plan(rows, stage, times) for times in (1, PASSES + 1))
        _, short = measured(lambda plan=one: list(run_local(plan)))
        _, long = measured(lambda plan=many: list(run_local(plan)))
        found[name] = {"row_bytes": one.source.nbytes / len(rows), "local": _each(long - short, PASSES * len(rows))}
    with local_ray(num_cpus=os.cpu_count()):
        for name, rows, stage in kinds:
            list(run_ray(empty_plan(rows[:10], stage, 1)))  # starts the workers
            _, short = watched(lambda r=rows, s=stage: list(run_ray(empty_plan(r, s, 1))))
            _, long = watched(lambda r=rows, s=stage: list(run_ray(empty_plan(r, s, RAY_PASSES + 1))))
            found[name]["ray"] = _each(long - short, RAY_PASSES * len(rows))
    return {"cost": found}


def _each(spent: Spent, count: int) -> dict[str, float]:
    return {"cpu_us": spent.cpu_s / count * 1e6, "wall_us": spent.wall_s / count * 1e6}


def empty_plan(rows: Sequence[Any], stage: Stage[Any, Any, Any], times: int) -> Plan[Any]:
    plan: Plan[Any] = Plan.of(list(rows), type(rows[0]))
    for _ in range(times):
        plan = plan.then(stage)
    return plan


def some_videos() -> list[Video]:
    return [
        Video(
            video_id=f"{k:064x}", uri=f"{k}.mp4", location=f"/films/{k}.mp4", id_kind="sha256", n_bytes=10**6,
            container="mov", codec="h264", width_px=640, height_px=272, rotation_deg=0, time_base_num=1,
            time_base_den=12800, n_frames=250, start_tick=0, end_tick=128000, is_vfr=False, n_promised=None,
            damage=None, caption=None, qa=(),
        )
        for k in range(ROWS)
    ]  # fmt: skip


def _clips(clips: Sequence[SelectedClip]) -> list[SelectedClip]:
    return [replace(clips[k % len(clips)], uri=f"{k}.mp4") for k in range(ROWS)]
