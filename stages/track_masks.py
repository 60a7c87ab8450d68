"""Who is who over a clip, by masks: SAM2 follows what the detector found, behind others and back into view."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as installed_version
from typing import Any, ClassVar, Protocol

import numpy as np

from schemas.clip import Box, DetectedClip, Detection, Track, TrackedClip
from schemas.outcome import Reason, Skip
from schemas.time import grid
from stages.algorithms.agreement import agreement
from stages.algorithms.expert_id import expert_id
from stages.algorithms.mask_tracks import Session, TooManyMasks, followed
from stages.base import Resources, Stage
from stages.media.child import Limits
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames
from stages.models.expert_weights import BadExpert, ExpertWeights, find_weights
from stages.models.named_detector import HF_MEMORY_GB
from stages.track_objects import RECOGNISED, TrackObjects, is_recognised, times_s

MODEL_TYPE = "sam2_video"
MIN_CONFIRMED = 0.5  # of the key frames at which a mask is seen: one that the detector mostly denies is no subject


class Segmenter(Protocol):
    def watch(self, frames_THWC: np.ndarray) -> Session:
        """A clip's frames, in which nothing was begun yet."""
        ...


@dataclass(frozen=True, slots=True)
class MaskSight:
    """What a worker looks with."""

    frames: ClipFrames
    segmenter: Segmenter


@dataclass(frozen=True, kw_only=True)
class TrackMasks(Stage[DetectedClip, TrackedClip, MaskSight]):
    """Adds tracks in place of TrackObjects: boxes around masks, which keep their subject when it leaves and comes back.

    Detections of key frames are prompts, and confirm what is followed: `agreement` is how often they do.
    """

    model: str  # hub id, or path of a folder: a checkpoint of Sam2VideoModel
    revision: str = ""  # of a hub id: commit, tag or branch
    licence: str = ""  # of the weights, where the model card states none
    device: str = "cpu"  # "cpu" | "cuda" | "cuda:1"
    key_s: float = 0.0  # between key frames; 0: each tracking frame, since who begins late is said to come in late
    start_score: float = RECOGNISED.start_score  # of a detection that may begin a subject
    min_track_s: float = 0.5
    max_masks: int = 64  # of a clip: where SAM2 loses what the detector finds, each key frame begins it again
    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB

    version: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = frozenset({"store_dir", "store_gb"})

    def __post_init__(self) -> None:
        if self.key_s < 0:
            raise ValueError(f"key_s={self.key_s:g} is no time between two frames: give 0 or more")
        kind = self._weights().config.get("model_type")
        if kind != MODEL_TYPE:
            raise BadExpert(f"model {self.model!r} is a {kind} model; supported is {MODEL_TYPE}")

    @property
    def resources(self) -> Resources:
        return Resources(cpus=1, gpus=float(self.device != "cpu"), memory_gb=HF_MEMORY_GB)

    @property
    def parameters(self) -> dict[str, Any]:
        """Weights by what they hold, wherever they lie."""
        own = {k: v for k, v in super().parameters.items() if k not in ("model", "revision", "licence")}
        return own | {"tracker": self._tracker_id()}

    def open(self) -> MaskSight:
        """Loads SAM2, with as many threads on a CPU as the stage holds cores."""
        from stages.models.sam2_segmenter import Sam2Segmenter

        segmenter = Sam2Segmenter(self._weights(), device=self.device, threads=max(1, int(self.resources.cpus)))
        return MaskSight(ClipFrames(self.store_dir, self.store_gb, Limits()), segmenter)

    def close(self, sight: MaskSight) -> None:
        sight.frames.close()

    def process(self, sight: MaskSight, clips: Sequence[DetectedClip], /) -> list[TrackedClip | Skip]:
        return [self._tracked(sight, clip) for clip in clips]

    def _tracked(self, sight: MaskSight, clip: DetectedClip) -> TrackedClip | Skip:
        if not is_recognised(clip):
            raise ValueError(f"{clip.key}: masks are begun by a detector's boxes; set detect.expert to onnx or hf")
        frames_THWC = sight.frames.load(clip)
        scale_x, scale_y = clip.width_px / clip.store_width_px, clip.height_px / clip.store_height_px
        found_at = self._key_detections(clip)
        prompts = {
            t: [_scaled(d, 1 / scale_x, 1 / scale_y) for d in found if d.score >= self.start_score]
            for t, found in found_at.items()
        }
        try:
            session = sight.segmenter.watch(frames_THWC)
            subjects = followed(session, frames_THWC, prompts, max_masks=self.max_masks)
        except TooManyMasks as error:
            return Skip(Reason.OVER_BUDGET, f"{error}: raise track_masks.max_masks, start_score or key_s")
        kept: list[Track] = []
        lost: Counter[str] = Counter()
        for subject in subjects:
            seen = tuple(_scaled(d, scale_x, scale_y) for d in subject)
            track = Track(track_id=len(kept) + 1, label=seen[0].label, observations=seen)
            track = replace(track, agreement=_confirmed(track, found_at))
            cause = self._why_not(track, clip)
            if cause is None:
                kept.append(track)
            else:
                lost[cause] += 1
        if not kept:
            counts = ", ".join(f"{n} {cause}" for cause, n in sorted(lost.items()))
            return Skip(Reason.NO_SUBJECT, f"{sum(lost.values())} masks: {counts}" if lost else "no mask was begun")
        return clip.extend(TrackedClip, tracks=tuple(kept), rejected=sum(lost.values()), tracker=self._tracker_id())

    def _key_detections(self, clip: DetectedClip) -> dict[int, list[Detection]]:
        """What the detector found, by key frame."""
        base = (clip.time_base_num, clip.time_base_den)
        n_frames = len(clip.track_tick)
        keys = grid(clip.track_tick, 1 / self.key_s, *base) if self.key_s else range(n_frames)
        found: dict[int, list[Detection]] = {t: [] for t in keys}
        for d in clip.detections:
            if d.frame in found:
                found[d.frame].append(d)
        return found

    def _why_not(self, track: Track, clip: DetectedClip) -> str | None:
        """Why this is no subject, in a word, or None."""
        time_s, seen = times_s(clip), track.observations
        step_s = float(np.median(np.diff(time_s)))
        if len(seen) * step_s < self.min_track_s - 1e-6:
            return "short"
        if track.agreement is None or track.agreement < MIN_CONFIRMED:
            return "unconfirmed"
        return TrackObjects().why_still(seen, clip)

    def _weights(self) -> ExpertWeights:
        return find_weights(self.model, self.revision, self.licence)

    def _tracker_id(self) -> str:
        weights = self._weights()
        library = f"transformers {installed_version('transformers')}"
        return expert_id("sam2", weights.name, weights.revision, licence=weights.licence, library=library)


def _confirmed(track: Track, found_at: Mapping[int, Sequence[Detection]]) -> float | None:
    second: dict[int, list[tuple[str, Box]]] = {
        t: [(d.label, d.box_xyxy_px) for d in found] for t, found in found_at.items()
    }
    return agreement(track, second)


def _scaled(d: Detection, scale_x: float, scale_y: float) -> Detection:
    x1, y1, x2, y2 = d.box_xyxy_px
    return replace(d, box_xyxy_px=(x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y))
