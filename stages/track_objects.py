"""Who is who over a clip: detections become tracks, of the motion expert those of subjects that move."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as installed_version
from itertools import pairwise
from typing import ClassVar

import numpy as np

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
from stages.algorithms.chains import TRACKERS, Thresholds, chains
from stages.algorithms.gaps import filled
from stages.algorithms.switches import Hindsight, crowded, signs, switch_risk
from stages.base import Resources, Stage

MIN_SEEN = 0.7  # of the frames between a track's ends
OVERLAY_MOVED = 0.004  # of the frame diagonal: what a moving camera leaves in place is painted on the picture
MOVING_CAMERA_FACTOR = 1.5  # a moving camera makes outlines unsure: more motion is asked for
MOVING_CAMERA_SCORE = 0.65  # and more contrast
MIN_STRAIGHT = 0.4  # way made good over way gone, under a moving camera: residues jump to and fro
PARALLAX_RATIO = 2.0  # what slides by up to this many times the camera's shift, along it, may stand nearby
PARALLAX_COSINE = 0.8
# The motion expert's scores begin at .5, and its small subjects are fast.
MOTION = Thresholds(start_score=0.5, min_iou=0.1, box_buffer=0.5)
# A detector's: chosen on TUD-Campus with SSDLite (benchmarks/tracking.py measures them on other films).
RECOGNISED = Thresholds(start_score=0.5, min_iou=0.2, box_buffer=0.1)


@dataclass(frozen=True, kw_only=True)
class TrackObjects(Stage[DetectedClip, TrackedClip, None]):
    """Adds tracks, a new tracker for each clip and label; observations are the detected boxes."""

    tracker: str = "bytetrack"  # "bytetrack" | "ocsort" | "botsort"
    patience_s: float = 0.5  # a subject may be unseen this long
    min_track_s: float = 0.5
    start_score: float | None = None  # of a box that begins a track; None: the expert's own, as is min_iou
    min_iou: float | None = None  # between buffered boxes
    min_moved_size: float = 0.25  # of its own size: for the motion expert a thing that never moves is no subject
    min_moved_frame: float = 0.015  # of the frame diagonal
    area_jump: float = 2.0  # factor between consecutive boxes of the motion expert at which identity is in doubt
    colour_jump: float = 70.0  # levels of a channel, likewise
    fill_gaps: bool = False  # marked boxes where a subject was unseen for no longer than patience_s

    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources(cpus=0.5, memory_gb=0.3)

    def __post_init__(self) -> None:
        if self.tracker not in TRACKERS:
            raise ValueError(f"no tracker {self.tracker!r}; there are: {', '.join(TRACKERS)}")

    def process(self, _: None, clips: Sequence[DetectedClip], /) -> list[TrackedClip | Skip]:
        return [self._tracked(clip) for clip in clips]

    def _tracked(self, clip: DetectedClip) -> TrackedClip | Skip:
        time_s = times_s(clip)
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
        risks = self._switch_risks(kept, clip, time_s)
        tracks = tuple(
            Track(
                track_id=number,
                label=piece[0].label,
                observations=filled(piece, time_s, clip.camera_path, patience_s=self.patience_s)
                if self.fill_gaps
                else tuple(piece),
                switch_risk=risk,
            )
            for number, (piece, risk) in enumerate(zip(kept, risks, strict=True), 1)
        )
        rejected = sum(lost.values())
        return clip.extend(
            TrackedClip,
            tracks=tracks,
            rejected=rejected,
            tracker=f"{self.tracker}/trackers-{installed_version('trackers')}",
        )

    def _pieces(self, clip: DetectedClip, time_s: Sequence[float], step_s: float) -> tuple[list[list[Detection]], int]:
        """Chains cut where identity is in doubt, without those that show two subjects as one; and their number."""
        linked = [
            broken_at_jumps(
                chain,
                time_s,
                frame_size_px=(clip.width_px, clip.height_px),
                # A detector's box jumps in size and shows in its middle whoever passes in front. On the true boxes of
                # 15 s of PETS, which the tracker keeps apart without a switch, the rule for colour cut ten times; of
                # 157 jumps in size on detected boxes 15 join two subjects (benchmarks/results/tracking.md).
                area_jump=math.inf if is_recognised(clip) else self.area_jump,
                colour_jump=math.inf if is_recognised(clip) else self.colour_jump,
                patience_s=self.patience_s,
            )
            for chain in self._chains(clip, time_s)
        ]
        patience = round(self.patience_s / step_s)
        kept: list[list[Detection]] = []
        for number, parts in enumerate(linked):
            label = parts[0][0].label  # a rider who comes into view on a bicycle has not swallowed it
            others = [
                part for k, more in enumerate(linked) if k != number and more[0][0].label == label for part in more
            ]
            kept += parts[:1] + [part for part in parts[1:] if not swallows(part[0], others, max_gap=patience)]
        return kept, sum(len(parts) for parts in linked) - len(kept)

    def _switch_risks(
        self, pieces: Sequence[Sequence[Detection]], clip: DetectedClip, time_s: Sequence[float]
    ) -> list[float | None]:
        if not is_recognised(clip):
            return [None] * len(pieces)
        hindsight = self.hindsight(clip)
        return [switch_risk(signs(piece, steady(piece, clip), time_s, hindsight)) for piece in pieces]

    def hindsight(self, clip: DetectedClip) -> Hindsight:
        """What all boxes of the clip tell about the links of its tracks."""
        backward = [link for chain in self._chains(clip, times_s(clip), is_backward=True) for link in pairwise(chain)]
        return Hindsight(frozenset(backward), crowded(clip.detections))

    def _chains(
        self, clip: DetectedClip, time_s: Sequence[float], *, is_backward: bool = False
    ) -> list[list[Detection]]:
        """The tracker's chains, label by label, linked in the pixels of tracking frame 0, where the camera stands.

        Backward the tracker sees the frames from the last to the first; chains ascend by frame all the same.
        """
        order = -1 if is_backward else 1
        own = RECOGNISED if is_recognised(clip) else MOTION
        thresholds = replace(
            own,
            start_score=own.start_score if self.start_score is None else self.start_score,
            min_iou=own.min_iou if self.min_iou is None else self.min_iou,
        )
        found: list[list[Detection]] = []
        for label in sorted({d.label for d in clip.detections}):
            seen: list[list[Detection]] = [[] for _ in time_s]
            for d in clip.detections:
                if d.label == label:
                    seen[d.frame].append(d)
            seen = seen[::order]
            boxes = [steady(row, clip) for row in seen]
            linked = chains(
                [np.array(row, dtype=np.float64).reshape(-1, 4) for row in boxes],
                [np.array([d.score for d in row], dtype=np.float64) for row in seen],
                [abs(now_s - time_s[::order][0]) for now_s in time_s[::order]],
                tracker=self.tracker,
                patience_s=self.patience_s,
                thresholds=thresholds,
            )
            found += [[seen[t][index] for t, index in chain][::order] for chain in linked]
        return found

    def _why_not(
        self, piece: Sequence[Detection], clip: DetectedClip, time_s: Sequence[float], step_s: float
    ) -> str | None:
        """Why this piece is no subject, in a word, or None."""
        if time_s[piece[-1].frame] - time_s[piece[0].frame] + step_s < self.min_track_s - 1e-6:
            return "short"
        cause = self.why_still(piece, clip)
        is_broken = len(piece) < MIN_SEEN * (piece[-1].frame - piece[0].frame + 1)
        return "broken" if is_broken and cause != "still" else cause

    def why_still(self, piece: Sequence[Detection], clip: DetectedClip) -> str | None:
        """Why the motion of this piece is not its own, in a word, or None. What a detector knows may stand."""
        raw = [o.box_xyxy_px for o in piece]
        cut = cut_sides(raw, (clip.width_px, clip.height_px))
        diagonal_px = float(np.hypot(clip.width_px, clip.height_px))
        size_px = float(np.median([area(box) for box in raw])) ** 0.5
        is_moving = any(affine != IDENTITY for affine in clip.camera_path)
        wanted_px = max(
            self.min_moved_size * size_px * (MOVING_CAMERA_FACTOR if is_moving else 1.0),
            self.min_moved_frame * diagonal_px,
        )
        boxes = steady(piece, clip)
        has_moved = moved_px(boxes, cut) >= wanted_px
        if is_recognised(clip):
            return "parallax" if is_moving and has_moved and _follows_camera(boxes, piece, clip) else None
        if not has_moved:
            return "still"
        if is_moving and float(np.median([o.score for o in piece])) < MOVING_CAMERA_SCORE:
            return "faint"
        if is_moving and straightness(boxes) < MIN_STRAIGHT:
            return "jumpy"
        if is_moving and _follows_camera(boxes, piece, clip):
            return "parallax"
        camera_px = moved_px([to_first_frame(raw[0], clip.camera_path[o.frame]) for o in piece], cut[:1] * len(piece))
        if camera_px > wanted_px and moved_px(raw, cut) < OVERLAY_MOVED * diagonal_px:
            return "overlay"
        return None


def is_recognised(clip: DetectedClip) -> bool:
    """Whether its boxes come from a detector that knows what they show, standing or moving."""
    return clip.detector.startswith(("onnx/", "hf/"))


def times_s(clip: DetectedClip) -> list[float]:
    """Of the tracking frames, from the first."""
    return [seconds(t - clip.track_tick[0], clip.time_base_num, clip.time_base_den) for t in clip.track_tick]


def steady(boxes: Sequence[Detection], clip: DetectedClip) -> list[Box]:
    """In the pixels of tracking frame 0."""
    return [to_first_frame(d.box_xyxy_px, clip.camera_path[d.frame]) for d in boxes]


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
