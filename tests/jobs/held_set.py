"""A packed set of the generated world with held-out videos, its frames in the size that the tiny checkpoint reads."""

from pathlib import Path

import numpy as np

from pipeline.publish import publish, split_of
from schemas.sample import SelectedClip
from tests.publish.builders import DEN, facts, make_video, video_id_of, world_of

SIDE_PX = 56  # so that no filter comes between


def frames_of(clip: SelectedClip) -> np.ndarray:
    world = world_of(clip.video_id, clip.shot_index)
    return np.stack([world.render(tick / DEN, SIDE_PX) for tick in clip.plan_tick])


def names(split: str, count: int) -> list[str]:
    """Videos that fall into that split."""
    return [n for n in (f"v{k}" for k in range(1000)) if split_of(video_id_of(n)) == split][:count]


def write_set(folder: Path) -> Path:
    """Three videos that are held out, one of them with somebody's own words, and two that are not."""
    held = [make_video(n, given=k == 0) for k, n in enumerate(names("validation", 3))]
    videos = sorted([*held, *map(make_video, names("train", 2))], key=lambda v: v.video_id)
    publish(folder, videos, facts(), load_frames=frames_of)
    return folder
