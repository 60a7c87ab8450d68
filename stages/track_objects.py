"""Who is who over a clip: detections become tracks of subjects that move."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker
from trackers.utils.iou import BIoU

from schemas.clip import Box, DetectedClip, Detection, Track, TrackedClip
from schemas.outcome import Reason, Skip
from schemas.time import seconds
from stages.algorithms.association import (
    area,
    broken_at_jumps,
    centre,
    cut_sides,
    moved_px,
    straightness,
    swallows,
    to_first_frame,
)
from stages.algorithms.camera import IDENTITY
from stages.base import Resources, Stage

BUFFER_RATE_HZ = 30  # the unit of the library's lost_track_buffer
MIN_SEEN = 0.7  # of the frames between a track's ends
OVERLAY_MOVED = 0.004  # of the frame diagonal: what a moving camera leaves in place is painted on the picture
MOVING_CAMERA_FACTOR = 1.5  # a moving camera makes outlines unsure: more motion is asked for
MOVING_CAMERA_SCORE = 0.65  # and more contrast
MIN_STRAIGHT = 0.4  # way made good over way gone, under a moving camera: residues jump to and fro
PARALLAX_RATIO = 2.0  # what slides by up to this many times the camera's shift, along it, may stand nearby
PARALLAX_COSINE = 0.8
BOX_BUFFER = 0.5  # boxes grow by this share of their size on each side before they are compared: fast small subjects


@dataclass(frozen=True, kw_only=True)
class TrackObjects(Stage[DetectedClip, TrackedClip, None]):
    """Adds ByteTrack's tracks, a new tracker for each clip; observations are the detected boxes."""

    patience_s: float = 0.5  # a subject may be unseen this long
    min_track_s: float = 0.5
    min_score: float = 0.5  # the scale belongs to the detector: the motion expert's threshold is at .5
    min_iou: float = 0.1  # between buffered boxes
    min_moved_size: float = 0.25  # of its own size: a thing that never moves is no subject
    min_moved_frame: float = 0.015  # of the frame diagonal
    area_jump: float = 2.0  # factor between consecutive boxes at which identity is in doubt
    colour_jump: float = 70.0  # levels of a channel, likewise

    resources = Resources(cpus=0.5, memory_gb=0.3)

    def process(self, _: None, clips: Sequence[DetectedClip], /) -> list[TrackedClip | Skip]:
        return [self._tracked(clip) for clip in clips]

    def _tracked(self, clip: DetectedClip) -> TrackedClip | Skip:
        time_s = [seconds(t - clip.track_tick[0], clip.time_base_num, clip.time_base_den) for t in clip.track_tick]
        step_s = float(np.median(np.diff(time_s)))
        if self.patience_s < 2 * step_s:
            raise ValueError(
                f"{clip.key}: patience_s={self.patience_s} is under two sampled frames ({step_s:.3f} s apart): "
                f"raise patience_s to {2 * step_s:.3f} or raise track_fps"
            )
        pieces, merged = self._pieces(clip, time_s, step_s)
        kept: list[list[Detection]] = []
        lost = Counter({"merged": merged} if merged else {})
        for piece in pieces:
            cause = self._why_not(piece, clip, time_s, step_s)
            if cause is None:
                kept.append(piece)
            else:
                lost[cause] += 1
        if not kept:
            counts = ", ".join(f"{n} {cause}" for cause, n in sorted(lost.items()))
            return Skip(Reason.NO_SUBJECT, f"{sum(lost.values())} tracks: {counts}" if lost else "no track")
        kept.sort(key=lambda piece: (piece[0].frame, piece[0].box_xyxy_px))
        tracks = tuple(
            Track(track_id=number, label=piece[0].label, observations=tuple(piece))
            for number, piece in enumerate(kept, 1)
        )
        rejected = sum(lost.values())
        return clip.extend(
            TrackedClip, tracks=tracks, rejected=rejected, tracker=f"bytetrack/trackers-{installed_version('trackers')}"
        )

    def _pieces(self, clip: DetectedClip, time_s: Sequence[float], step_s: float) -> tuple[list[list[Detection]], int]:
        """Chains cut where identity is in doubt, without those that show two subjects as one; and their number."""
        chains = [
            broken_at_jumps(
                chain,
                time_s,
                frame_size_px=(clip.width_px, clip.height_px),
                area_jump=self.area_jump,
                colour_jump=self.colour_jump,
                patience_s=self.patience_s,
            )
            for chain in self._chains(clip, time_s, step_s)
        ]
        patience = round(self.patience_s / step_s)
        kept: list[list[Detection]] = []
        for number, parts in enumerate(chains):
            others = [part for k, more in enumerate(chains) if k != number for part in more]
            kept += parts[:1] + [part for part in parts[1:] if not swallows(part[0], others, max_gap=patience)]
        return kept, sum(len(parts) for parts in chains) - len(kept)

    def _chains(self, clip: DetectedClip, time_s: Sequence[float], step_s: float) -> list[list[Detection]]:
        """ByteTrack's chains, associated in the pixels of tracking frame 0, where the camera stands still."""
        tracker = ByteTrackTracker(
            # One unit more than asked: the exact rule is applied to the chains, in seconds of this clip.
            lost_track_buffer=round(self.patience_s * BUFFER_RATE_HZ) + 1,
            frame_rate=1 / step_s,
            track_activation_threshold=self.min_score,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=self.min_iou,
            high_conf_det_threshold=self.min_score,
            iou=BIoU(buffer_ratio=BOX_BUFFER),
        )
        chains: list[list[Detection]] = []
        for t, now_s in enumerate(time_s):
            seen = [d for d in clip.detections if d.frame == t]
            boxes_N4 = np.array([to_first_frame(d.box_xyxy_px, clip.camera_path[t]) for d in seen]).reshape(-1, 4)
            given = sv.Detections(
                xyxy=boxes_N4,
                confidence=np.array([d.score for d in seen], dtype=np.float64),
                data={"index": np.arange(len(seen))},
            )
            result = tracker.update(given, timestamp=now_s)
            ids = [] if result.tracker_id is None else result.tracker_id.tolist()
            for index, number in zip(result.data.get("index", ()), ids, strict=True):
                if number >= 0:
                    chains[number].append(seen[int(index)])
            # The library names a track at its second box and forgets the first: name new tracks here, with their box.
            for tracklet in tracker.tracks:
                if tracklet.tracker_id == -1:
                    tracklet.tracker_id = len(chains)
                    start = np.abs(boxes_N4 - tracklet.get_state_bbox()).sum(axis=1).argmin()
                    chains.append([seen[int(start)]])
        return chains

    def _why_not(
        self, piece: Sequence[Detection], clip: DetectedClip, time_s: Sequence[float], step_s: float
    ) -> str | None:
        """Why this piece is no subject, in a word, or None."""
        if time_s[piece[-1].frame] - time_s[piece[0].frame] + step_s < self.min_track_s - 1e-6:
            return "short"
        raw = [o.box_xyxy_px for o in piece]
        cut = cut_sides(raw, (clip.width_px, clip.height_px))
        diagonal_px = float(np.hypot(clip.width_px, clip.height_px))
        size_px = float(np.median([area(box) for box in raw])) ** 0.5
        is_moving = any(affine != IDENTITY for affine in clip.camera_path)
        wanted_px = max(
            self.min_moved_size * size_px * (MOVING_CAMERA_FACTOR if is_moving else 1.0),
            self.min_moved_frame * diagonal_px,
        )
        steady = [to_first_frame(o.box_xyxy_px, clip.camera_path[o.frame]) for o in piece]
        if moved_px(steady, cut) < wanted_px:
            return "still"
        if len(piece) < MIN_SEEN * (piece[-1].frame - piece[0].frame + 1):
            return "broken"
        if is_moving and float(np.median([o.score for o in piece])) < MOVING_CAMERA_SCORE:
            return "faint"
        if is_moving and straightness(steady) < MIN_STRAIGHT:
            return "jumpy"
        if is_moving and _follows_camera(steady, piece, clip):
            return "parallax"
        camera_px = moved_px([to_first_frame(raw[0], clip.camera_path[o.frame]) for o in piece], cut[:1] * len(piece))
        if camera_px > wanted_px and moved_px(raw, cut) < OVERLAY_MOVED * diagonal_px:
            return "overlay"
        return None


def _follows_camera(steady: Sequence[Box], piece: Sequence[Detection], clip: DetectedClip) -> bool:
    """Whether the camera's own path explains the motion: near things that stand slide along it, or against it."""
    first, last = piece[0], piece[-1]
    begin, end = (to_first_frame(first.box_xyxy_px, clip.camera_path[o.frame]) for o in (first, last))
    camera = centre(end) - centre(begin)
    subject = centre(steady[-1]) - centre(steady[0])
    camera_px, subject_px = float(np.linalg.norm(camera)), float(np.linalg.norm(subject))
    if camera_px == 0 or subject_px == 0 or subject_px > PARALLAX_RATIO * camera_px:
        return False
    return abs(float(camera @ subject)) > PARALLAX_COSINE * camera_px * subject_px
