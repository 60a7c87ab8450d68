"""A second opinion about tracks: another detector looks at the planned frames, not at the first one's boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from schemas.clip import Box, TrackedClip
from stages.algorithms.agreement import agreement
from stages.base import Stage
from stages.media.child import Limits
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames
from stages.models.detector import Found
from stages.models.named_detector import NamedDetector, Sight


@dataclass(frozen=True, kw_only=True)
class CheckTracks(NamedDetector, Stage[TrackedClip, TrackedClip, Sight]):
    """Adds to each track the share of its planned frames at which the second detector finds it, by the same label.

    Null of tracks that no planned frame shows, that have no label, or whose label the second detector does not know.
    """

    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB

    version: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = frozenset({"store_dir", "store_gb"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.expert == "motion":
            raise ValueError("check: motion has no labels to agree on; name a detector: expert onnx or hf")

    @property
    def parameters(self) -> dict[str, object]:
        return self.detector_parameters

    def open(self) -> Sight:
        """Loads the detector."""
        return self.open_sight(ClipFrames(self.store_dir, self.store_gb, Limits()))

    def close(self, sight: Sight) -> None:
        sight.frames.close()

    def process(self, sight: Sight, clips: Sequence[TrackedClip], /) -> list[TrackedClip]:
        return [self._checked(sight, clip) for clip in clips]

    def _checked(self, sight: Sight, clip: TrackedClip) -> TrackedClip:
        words = self.words
        if not any(track.label and track.label in words for track in clip.tracks):
            return replace(clip, checker=self.detector_id)
        assert sight.detector is not None
        found = sight.detector.find(sight.frames.plan(clip), least_score=self.score, classes=self.classes)
        scale_x, scale_y = clip.width_px / clip.store_width_px, clip.height_px / clip.store_height_px
        second = {
            frame: [(thing.label, _upright(thing, scale_x, scale_y)) for thing in things]
            for frame, things in zip(clip.plan_index, found, strict=True)
        }
        tracks = tuple(
            replace(track, agreement=agreement(track, second)) if track.label and track.label in words else track
            for track in clip.tracks
        )
        return replace(clip, tracks=tracks, checker=self.detector_id)


def _upright(thing: Found, scale_x: float, scale_y: float) -> Box:
    x1, y1, x2, y2 = thing.box_xyxy_px
    return x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y
