"""Films of the generated world through the whole chain of eyes, against the truth of the world."""

from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.collect import Finished, finished
from pipeline.plan import Plan
from pipeline.run_local import run_local
from pipeline.sources import read_sources
from schemas.clip import Box, DescribedClip, Trajectory
from schemas.time import seconds
from schemas.video import Source, Video
from stages.algorithms.describe import phases
from stages.algorithms.world import Shape
from stages.decode_clip import DecodeClip
from stages.describe_tracks import DescribeTracks
from stages.detect_objects import DetectObjects
from stages.media.reader import Reader
from stages.media.world_film import WorldShot, random_film, write_world_film
from stages.probe_video import ProbeVideo
from stages.split_shots import SplitShots
from stages.track_objects import TrackObjects
from tests.scenes import iou

FILMS = {
    "25.mp4": (4114, Fraction(25)),
    "30.mp4": (4101, Fraction(30)),
    "23.mp4": (706, Fraction(24000, 1001)),
    "50.mp4": (4115, Fraction(50)),
}
SIDE_PX = 256
MIN_PHASE_S = 0.5  # a shorter leg is not asked for


@dataclass(frozen=True)
class Seen:
    """A clip, its shot, and the track found for each shape that moves."""

    clip: DescribedClip
    shot: WorldShot
    time_s: list[float]

    def truth(self, shape: Shape) -> dict[int, Box]:
        """Boxes in pixels by tracking frame, cut at the frame's edge, also where less than half is in view."""
        boxes: dict[int, Box] = {}
        for k, now_s in enumerate(self.time_s):
            x, y = shape.centre(now_s)
            sides = (x - shape.radius, y - shape.radius, x + shape.radius, y + shape.radius)
            x1, y1, x2, y2 = (SIDE_PX * min(1.0, max(0.0, v)) for v in sides)
            if shape.appears_s <= now_s < shape.disappears_s and min(x2 - x1, y2 - y1) > 1:
                boxes[k] = (x1, y1, x2, y2)
        return boxes

    def tracks_of(self, shape: Shape) -> list[Trajectory]:
        return [path for path in self.clip.trajectories if self.overlap(path, shape) > 0.5]

    def overlap(self, path: Trajectory, shape: Shape) -> float:
        """Median IoU with the truth."""
        truth = self.truth(shape)
        frames = [self.clip.track_tick.index(moment.tick) for moment in path.moments]
        pairs = [(truth.get(k), moment.box_xyxy_px) for k, moment in zip(frames, path.moments, strict=True)]
        return float(np.median([iou(box, found) if box else 0.0 for box, found in pairs]))

    def subjects(self) -> list[Shape]:
        """Shapes that move and are whole and in view at every tracking frame."""
        return [shape for shape in self.shot.world.shapes if moves(shape) and self._is_whole(shape)]

    def _is_whole(self, shape: Shape) -> bool:
        truth = self.truth(shape)
        side_px = 2 * shape.radius * SIDE_PX
        return len(truth) == len(self.time_s) and all(
            min(x2 - x1, y2 - y1) > side_px - 0.1 for x1, y1, x2, y2 in truth.values()
        )


def moves(shape: Shape) -> bool:
    return any(leg.word != "still" for leg in shape.legs)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Finished], dict[str, tuple[WorldShot, ...]], Path]:
    folder = tmp_path_factory.mktemp("films")
    store = str(tmp_path_factory.mktemp("store"))
    shots = {
        name: write_world_film(folder / name, random_film(seed, shots=3), fps=fps, side_px=SIDE_PX)
        for name, (seed, fps) in FILMS.items()
    }
    probe = Plan.of(read_sources(str(folder)), Source).then(ProbeVideo())
    videos = [row for done in finished(probe, run_local(probe)) for row in Video.from_arrow(done.rows)]
    plan = (
        Plan.of(videos, Video)
        .then(SplitShots())
        .then(DecodeClip(track_fps=25.0, store_dir=store))
        .then(DetectObjects(store_dir=store))
        .then(TrackObjects())
        .then(DescribeTracks())
    )
    return list(finished(plan, run_local(plan))), shots, folder


@pytest.fixture(scope="module")
def seen(run: tuple[list[Finished], dict[str, tuple[WorldShot, ...]], Path]) -> list[Seen]:
    done, shots, folder = run
    found: list[Seen] = []
    with Reader() as reader:
        for source in done:
            ticks = reader.packets(str(folder / source.source_uri)).ticks
            by_first = {shot.first: shot for shot in shots[source.source_uri]}
            for clip in DescribedClip.from_arrow(source.rows):
                shot = by_first[ticks.index(clip.start_tick)]
                assert bisect_left(ticks, clip.end_tick) == shot.end
                base = (clip.time_base_num, clip.time_base_den)
                found.append(Seen(clip, shot, [seconds(t - clip.start_tick, *base) for t in clip.track_tick]))
    return found


def test_every_shot_with_a_moving_shape_is_a_clip_and_every_leader_too_short(
    run: tuple[list[Finished], dict[str, tuple[WorldShot, ...]], Path], seen: list[Seen]
) -> None:
    done, shots, _ = run
    wanted = sum(any(moves(shape) for shape in shot.world.shapes) for film in shots.values() for shot in film)
    assert len(seen) == wanted
    for source in done:
        reasons = [outcome.reason for outcome in source.outcomes]
        assert reasons.count("too_short") == len(shots[source.source_uri]) - 1
        assert set(reasons) <= {"too_short", "no_subject"}, source.outcomes


def test_every_moving_shape_is_one_track_with_its_name_and_a_tight_box(seen: list[Seen]) -> None:
    subjects = [(clip, shape) for clip in seen for shape in clip.subjects()]
    assert len(subjects) >= 8
    for clip, shape in subjects:
        tracks = clip.tracks_of(shape)
        assert [f"{path.appearance} {path.name}" for path in tracks] == [shape.name], clip.clip.clip_id
        assert clip.overlap(tracks[0], shape) >= 0.85
        assert len(tracks[0].moments) >= 0.95 * len(clip.time_s)


def test_every_track_is_a_shape_that_moves(seen: list[Seen]) -> None:
    for clip in seen:
        for path in clip.clip.trajectories:
            owners = [shape.name for shape in clip.shot.world.shapes if moves(shape) and path in clip.tracks_of(shape)]
            assert len(owners) == 1, f"{clip.clip.clip_id}: track {path.track_id} shows {owners}"


def test_the_motion_is_told_in_the_right_words(seen: list[Seen]) -> None:
    told = []
    for clip in seen:
        for shape in clip.subjects():
            legs = [leg.word for leg in shape.legs if min(leg.duration_s, clip.time_s[-1]) >= MIN_PHASE_S]
            (path,) = clip.tracks_of(shape)
            told.append(list(phases(path, clip.clip.time_base_num / clip.clip.time_base_den)) == legs)
    assert np.mean(told) >= 0.9
