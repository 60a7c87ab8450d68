"""What verify knows of the grid and of motion holds for honest sets, however odd: else it would call a build a lie."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.publish import FinishedVideo
from pipeline.verify import verify
from schemas.clip import Affine, Track, TrackedClip
from schemas.time import grid
from stages.algorithms.draws import draws
from stages.algorithms.gaps import filled
from stages.algorithms.world import World, random_world
from tests.publish.world_set import DEN, GRID_FPS, even_ticks, finished, seal, tracked

Change = Callable[[TrackedClip, np.random.Generator], TrackedClip]


def _as_it_is(clip: TrackedClip, rng: np.random.Generator) -> TrackedClip:
    return clip


def _labelled(clip: TrackedClip, rng: np.random.Generator) -> TrackedClip:
    """A detector's tracks, which begin and end where it happens to find and to lose them."""
    cut = [
        track.observations[int(rng.integers(3)) : len(track.observations) - int(rng.integers(6))]
        for track in clip.tracks
    ]
    pairs = zip(clip.tracks, cut, strict=True)
    tracks = (Track(track_id=t.track_id, label=str(rng.choice(["car", "person"])), observations=o) for t, o in pairs)
    return replace(clip, tracks=tuple(tracks))


def _with_gaps(clip: TrackedClip, rng: np.random.Generator) -> TrackedClip:
    """Every subject is lost now and then; half of the clips have what was filled in."""
    tracks: list[Track] = []
    is_filled = rng.random() < 0.5
    for track in clip.tracks:
        inner = [o for o in track.observations[1:-1] if rng.random() < 0.8]
        seen = (track.observations[0], *inner, *track.observations[1:][-1:])
        times_s = [(tick - clip.start_tick) / DEN for tick in clip.track_tick]
        if is_filled:
            seen = filled(seen, times_s, clip.camera_path, patience_s=0.5)
        tracks.append(replace(track, observations=seen))
    return replace(clip, tracks=tuple(tracks))


def _moving(clip: TrackedClip, rng: np.random.Generator) -> TrackedClip:
    """The camera stands at first, then pans."""
    begins = len(clip.track_tick) // 2
    path: list[Affine] = [(1.0, 0.0, 1.7 * max(0, k - begins), 0.0, 1.0, 0.0) for k in range(len(clip.track_tick))]
    return replace(clip, camera="moving", camera_path=tuple(path))


CHANGES = {"as it is": _as_it_is, "labelled": _labelled, "with gaps": _with_gaps, "a moving camera": _moving}


def _uneven(world: World, rng: np.random.Generator) -> tuple[int, ...]:
    """The grid of a film of a changing frame rate."""
    frames = np.cumsum(rng.choice([1800, 3003, 3600, 9009, 22_000], 400))
    inside = [int(tick) for tick in frames if tick - frames[0] < world.duration_s * DEN]
    return tuple(inside[i] for i in grid(inside, GRID_FPS, 1, DEN))


@pytest.mark.parametrize("is_even", [True, False], ids=["even", "uneven"])
@pytest.mark.parametrize("what", CHANGES)
def test_an_honest_set_has_no_problems(what: str, is_even: bool, tmp_path: Path) -> None:
    videos: list[FinishedVideo] = []
    rng = draws(0, f"{what}/{is_even}")
    while len(videos) < 5:
        video_id = hashlib.sha256(f"{what} {is_even} {len(videos)}".encode()).hexdigest()
        world = random_world(rng, max_shapes=3, still_share=0.1)
        ticks = even_ticks(world) if is_even else _uneven(world, rng)
        clip = CHANGES[what](tracked(video_id, 0, world, ticks), rng)
        if len(clip.tracks) > 1 and all(len(track.observations) > 1 for track in clip.tracks):
            videos.append(FinishedVideo(video_id, [finished(clip)], []))
    data = seal(tmp_path, sorted(videos, key=lambda video: video.video_id))
    assert verify(tmp_path).problems == ()
    assert len(data.samples) > 30
