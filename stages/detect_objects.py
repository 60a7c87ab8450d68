"""Boxes of what moves in a clip, or of what a detector knows, at every tracking frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from typing import Any, ClassVar

import cv2
import numpy as np

from schemas.clip import Affine, DecodedClip, DetectedClip, Detection
from schemas.outcome import Reason, Skip
from schemas.time import seconds
from stages.algorithms.camera import IDENTITY
from stages.algorithms.camera_path import anchored_path, drift_px, scaled
from stages.algorithms.expert_id import expert_id
from stages.algorithms.motion import MAX_COVER, Blob, FrameMotion, find_motion
from stages.base import Stage
from stages.media.child import Limits
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames
from stages.models.detector import Found
from stages.models.named_detector import NamedDetector, Sight

LIBRARY = "opencv-python"
DETECTOR = expert_id("motion", "1", "", licence="apache-2.0", library=f"{LIBRARY} {installed_version(LIBRARY)}")
MIN_FRAMES = 5  # a median of fewer is no background
MAX_STRAY = {"static": 0.25, "unknown": 0.05, "moving": 0.15}  # share of the ground's edges that may change
MAX_LOST = 0.15  # of the steps of a moving camera that may stay unknown
MAX_RESIDUAL = 0.2  # residual share of the frame under a compensated camera
MAX_BLOBS_MOVING = 8
MAX_DARK_SHARE = 0.5  # of the frames, that may be lost to fades and flashes
CORE = 0.25  # of a recognised box, on each side, that is left out of its colour: there is ground in its corners


@dataclass(frozen=True, kw_only=True)
class DetectObjects(NamedDetector, Stage[DecodedClip, DetectedClip, Sight]):
    """Adds the expert's detections and the camera path, both in pixels of the upright frame."""

    min_area: float = 0.001  # of the frame: of what moves
    min_side_px: dict[str, float] = field(default_factory=dict)  # of the upright frame, by label: least shorter side
    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB

    version: ClassVar[int] = 2
    operational: ClassVar[frozenset[str]] = frozenset({"store_dir", "store_gb"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.min_area < 1:
            raise ValueError(f"min_area={self.min_area} is no share of the frame: give a number between 0 and 1")
        if self.expert != "motion":
            self.check_words(tuple(self.min_side_px))

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of the expert that is used."""
        if self.expert == "motion":
            return {"expert": self.expert, "min_area": self.min_area}
        return self.detector_parameters | {"min_side_px": sorted(self.min_side_px.items())}

    def open(self) -> Sight:
        """Loads the detector, where there is one."""
        return self.open_sight(ClipFrames(self.store_dir, self.store_gb, Limits()))

    def close(self, sight: Sight) -> None:
        sight.frames.close()

    def process(self, sight: Sight, clips: Sequence[DecodedClip], /) -> list[DetectedClip | Skip]:
        return [
            self._look(sight, clip)
            if len(clip.track_tick) >= MIN_FRAMES
            else Skip(Reason.TOO_FEW_FRAMES, f"{len(clip.track_tick)} tracking frames < {MIN_FRAMES}")
            for clip in clips
        ]

    def _look(self, sight: Sight, clip: DecodedClip) -> DetectedClip | Skip:
        frames_THWC = sight.frames.load(clip)
        if sight.detector is None:
            return detected(clip, frames_THWC, self.min_area)
        camera_path = followed_camera(clip, frames_THWC)
        if isinstance(camera_path, Skip):
            return camera_path
        found = sight.detector.find(frames_THWC, least_score=self.score, classes=self.classes)
        return recognised(clip, frames_THWC, found, camera_path, self.min_side_px, self.detector_id)


def followed_camera(clip: DecodedClip, frames_THWC: np.ndarray) -> list[Affine] | Skip:
    """The camera path of a clip whose subjects a detector finds: without one, no motion can be claimed."""
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_THWC]
    path, lost = anchored_path(greys) if clip.camera != "static" else ([IDENTITY] * len(greys), 0.0)
    if lost > MAX_LOST:
        why = f"the camera ({clip.camera}) cannot be followed over {lost:.0%} of the steps > {MAX_LOST:.0%}"
        return Skip(Reason.CAMERA_MOVES, why)
    drift = None if any(affine != IDENTITY for affine in path) else drift_px(greys)
    if drift is not None:
        return Skip(Reason.CAMERA_MOVES, f"camera called {clip.camera}, yet the picture drifts by {drift:.1f} px")
    return path


def recognised(
    clip: DecodedClip,
    frames_THWC: np.ndarray,
    found: Sequence[Sequence[Found]],
    camera_path: Sequence[Affine],
    min_side_px: Mapping[str, float],
    detector: str,
) -> DetectedClip | Skip:
    """The clip with what a detector found in its tracking frames, in store pixels; too small boxes are left out."""
    scale_x, scale_y = clip.width_px / clip.store_width_px, clip.height_px / clip.store_height_px
    all_boxes = [
        _recognised(t, thing, frames_THWC[t], scale_x, scale_y) for t, things in enumerate(found) for thing in things
    ]
    detections = tuple(d for d in all_boxes if _shorter_side_px(d) >= min_side_px.get(d.label, 0.0))
    if not detections:
        return Skip(Reason.NO_SUBJECT, f"nothing is recognised; {len(all_boxes)} boxes are under min_side_px")
    return clip.extend(
        DetectedClip,
        detections=detections,
        camera_path=tuple(scaled(affine, scale_x, scale_y) for affine in camera_path),
        detector=detector,
    )


def detected(clip: DecodedClip, frames_THWC: np.ndarray, min_area: float) -> DetectedClip | Skip:
    """The clip with its detections, from its tracking frames as the store holds them."""
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_THWC]
    path, lost = anchored_path(greys) if clip.camera != "static" else ([IDENTITY] * len(greys), 0.0)
    if clip.camera == "moving" and lost > MAX_LOST:
        return Skip(Reason.CAMERA_MOVES, f"and cannot be followed over {lost:.0%} of the steps > {MAX_LOST:.0%}")
    if clip.camera == "unknown" and lost > MAX_LOST:
        path = [IDENTITY] * len(greys)  # taken as static; the changes outside the blobs decide below
    is_moving = any(affine != IDENTITY for affine in path)
    drift = None if is_moving else drift_px(greys)
    if drift is not None:
        return Skip(Reason.CAMERA_MOVES, f"camera called {clip.camera}, yet the picture drifts by {drift:.1f} px")
    steps = np.diff([seconds(tick, clip.time_base_num, clip.time_base_den) for tick in clip.track_tick])
    motion = find_motion(frames_THWC, path, step_s=float(np.median(steps)), min_area=min_area, is_moving=is_moving)
    doubt = doubt_about("moving" if is_moving else clip.camera, motion)
    if doubt is not None:
        return doubt
    scale_x, scale_y = clip.width_px / clip.store_width_px, clip.height_px / clip.store_height_px
    detections = tuple(_detection(t, blob, scale_x, scale_y) for t, frame in enumerate(motion) for blob in frame.blobs)
    if not detections:
        return Skip(Reason.NO_SUBJECT, f"nothing moves that covers {min_area:.2%} of the frame")
    return clip.extend(
        DetectedClip,
        detections=detections,
        camera_path=tuple(scaled(affine, scale_x, scale_y) for affine in path),
        detector=DETECTOR,
    )


def doubt_about(camera: str, motion: Sequence[FrameMotion]) -> Skip | None:
    """Why the detections of this clip cannot be trusted, or None."""
    dark = float(np.mean([frame.cover > MAX_COVER for frame in motion]))
    stray = float(np.median([frame.stray for frame in motion]))
    cover = float(np.median([frame.cover for frame in motion]))
    count = float(np.median([len(frame.blobs) for frame in motion]))
    if camera != "moving" and dark > MAX_DARK_SHARE:
        return Skip(Reason.NO_SUBJECT, f"the whole picture changes in {dark:.0%} of the frames: light, not subjects")
    lead = "cannot tell: " if camera == "unknown" else ""
    if stray > MAX_STRAY[camera]:
        return Skip(Reason.CAMERA_MOVES, f"{lead}{stray:.0%} of the ground's edges change > {MAX_STRAY[camera]:.0%}")
    if camera != "static" and cover > MAX_RESIDUAL:
        return Skip(Reason.CAMERA_MOVES, f"{lead}{cover:.0%} of the frame seems to move > {MAX_RESIDUAL:.0%}")
    if camera != "static" and count > MAX_BLOBS_MOVING:
        return Skip(Reason.CAMERA_MOVES, f"{lead}{count:g} blobs a frame > {MAX_BLOBS_MOVING}")
    return None


def _recognised(t: int, thing: Found, frame_HWC: np.ndarray, scale_x: float, scale_y: float) -> Detection:
    """A box has no outline of its own, so fill and outline are 0; its colour is that of its middle."""
    x1, y1, x2, y2 = thing.box_xyxy_px
    inset_x, inset_y = CORE * (x2 - x1), CORE * (y2 - y1)
    left, top = int(x1 + inset_x), int(y1 + inset_y)
    right, bottom = max(left + 1, int(x2 - inset_x)), max(top + 1, int(y2 - inset_y))
    r, g, b = (float(v) for v in np.median(frame_HWC[top:bottom, left:right], axis=(0, 1)))
    return Detection(
        frame=t,
        box_xyxy_px=(x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y),
        label=thing.label,
        score=thing.score,
        rgb=(r, g, b),
        fill=0.0,
        outline=0.0,
    )


def _shorter_side_px(detection: Detection) -> float:
    x1, y1, x2, y2 = detection.box_xyxy_px
    return min(x2 - x1, y2 - y1)


def _detection(t: int, blob: Blob, scale_x: float, scale_y: float) -> Detection:
    x1, y1, x2, y2 = blob.box_xyxy_px
    return Detection(
        frame=t,
        box_xyxy_px=(x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y),
        label="",
        score=blob.score,
        rgb=blob.rgb,
        fill=blob.fill,
        outline=blob.outline,
    )
