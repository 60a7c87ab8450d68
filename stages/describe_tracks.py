"""Give every track its words over time, and the clip its events."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from schemas.clip import DescribedClip, Track, TrackedClip, Trajectory
from stages.algorithms.describe import Frame, trajectory
from stages.algorithms.events import events, happenings, relations
from stages.base import Resources, Stage

DESCRIBER = "templates/1"


@dataclass(frozen=True, kw_only=True)
class DescribeTracks(Stage[TrackedClip, DescribedClip, None]):
    """Geometry and colour in words: templates, no model; the `describer` column says so."""

    version: ClassVar[int] = 5
    resources: ClassVar[Resources] = Resources(cpus=0.25, batch_rows=8)

    def process(self, _: None, clips: Sequence[TrackedClip], /) -> list[DescribedClip]:
        return [_described(clip) for clip in clips]


def _described(clip: TrackedClip) -> DescribedClip:
    frame = Frame(clip.width_px, clip.height_px, clip.time_base_num / clip.time_base_den)
    paths = tuple(
        _as_named(trajectory(track, clip.track_tick, clip.camera_path, frame), track) for track in clip.tracks
    )
    ends = tuple(event for path in paths for event in events(path, clip.track_tick))
    return clip.extend(
        DescribedClip,
        trajectories=paths,
        events=(*ends, *happenings(paths, frame.tick_s)),
        relations=relations(paths),
        describer=DESCRIBER,
    )


def _as_named(path: Trajectory, track: Track) -> Trajectory:
    """With the risk of its label, and who gave it."""
    naming = track.naming
    return replace(
        path,
        risk=max(path.risk, track.label_risk or 0.0),
        named_by=naming.namer if naming and naming.is_taken else None,
    )
