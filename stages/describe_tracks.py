"""Give every track its words over time, and the clip its events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from schemas.clip import DescribedClip, TrackedClip
from stages.algorithms.describe import Frame, events, trajectory
from stages.base import Resources, Stage

DESCRIBER = "templates/1"


@dataclass(frozen=True, kw_only=True)
class DescribeTracks(Stage[TrackedClip, DescribedClip, None]):
    """Geometry and colour in words: templates, no model; the `describer` column says so."""

    version: ClassVar[int] = 3
    resources: ClassVar[Resources] = Resources(cpus=0.25, batch_rows=8)

    def process(self, _: None, clips: Sequence[TrackedClip], /) -> list[DescribedClip]:
        return [_described(clip) for clip in clips]


def _described(clip: TrackedClip) -> DescribedClip:
    frame = Frame(clip.width_px, clip.height_px, clip.time_base_num / clip.time_base_den)
    paths = tuple(trajectory(track, clip.track_tick, clip.camera_path, frame) for track in clip.tracks)
    found = tuple(event for path in paths for event in events(path, clip.track_tick))
    return clip.extend(DescribedClip, trajectories=paths, events=found, describer=DESCRIBER)
