"""Decode the planned frames of a span into the store, so that the scorer does not wait for a decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from schemas.pair import PairClip
from stages.base import Resources, Stage
from stages.media.child import Limits
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames


@dataclass(frozen=True, kw_only=True)
class DecodePairs(Stage[PairClip, PairClip, ClipFrames]):
    """Passes spans on whose planned frames could be decoded. The store is bounded; who misses a frame decodes again."""

    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB
    timeout_s: float = 600.0
    memory_gb: float = 2.0

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=0.5, memory_gb=1.0)
    operational: ClassVar[frozenset[str]] = frozenset({"store_dir", "store_gb", "timeout_s", "memory_gb"})

    def open(self) -> ClipFrames:
        return ClipFrames(self.store_dir, self.store_gb, Limits(timeout_s=self.timeout_s, memory_gb=self.memory_gb))

    def close(self, frames: ClipFrames) -> None:
        frames.close()

    def process(self, frames: ClipFrames, clips: Sequence[PairClip], /) -> Sequence[PairClip]:
        for clip in clips:
            planned_frames(frames, clip)
        return clips


def planned_frames(frames: ClipFrames, clip: PairClip) -> np.ndarray:
    """Exactly the planned frames: uint8 RGB (T, store_height_px, store_width_px, 3)."""
    size = clip.store_width_px, clip.store_height_px
    return frames.fetch(clip.video_id, clip.location, clip.frame_tick, *size)
