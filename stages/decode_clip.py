"""Which frames are looked at? They are decoded once, into the store."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.clip import Clip, DecodedClip
from schemas.outcome import Reason, Skip
from schemas.time import grid, spread
from stages.base import Resources, Stage
from stages.media.child import Limits
from stages.media.decoders import PYAV, release, require_decoder
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames


@dataclass(frozen=True, kw_only=True)
class DecodeClip(Stage[Clip, DecodedClip, ClipFrames]):
    """Adds the tracking grid and, as a subset of it, the planned frames."""

    track_fps: float = 10.0
    plan_frames: int = 8
    max_side_px: int = 480  # of the stored frames
    decoder: str = PYAV  # or "decord", "torchcodec": checked for each file, refused where it is wrong
    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB
    timeout_s: float = 600.0
    memory_gb: float = 2.0

    version = 2
    resources = Resources(cpus=0.5, memory_gb=1.0)
    operational = frozenset({"store_dir", "store_gb", "timeout_s", "memory_gb"})

    def __post_init__(self) -> None:
        require_decoder(self.decoder)
        if self.track_fps <= 0 or self.plan_frames < 2 or self.max_side_px < 16:
            raise ValueError(
                f"track_fps={self.track_fps:g} > 0, plan_frames={self.plan_frames} >= 2, "
                f"max_side_px={self.max_side_px} >= 16 is asked for"
            )

    @property
    def parameters(self) -> dict[str, Any]:
        """With the version of the decoder: another one may give other pixels."""
        return {**super().parameters, "decoder": release(self.decoder)}

    def open(self) -> ClipFrames:
        return ClipFrames(self.store_dir, self.store_gb, Limits(timeout_s=self.timeout_s, memory_gb=self.memory_gb))

    def close(self, frames: ClipFrames) -> None:
        frames.close()

    def process(self, frames: ClipFrames, clips: Sequence[Clip], /) -> list[DecodedClip | Skip]:
        return [self._decode(frames, clip) for clip in clips]

    def _decode(self, frames: ClipFrames, clip: Clip) -> DecodedClip | Skip:
        ticks = frames.reader.packets(clip.location).ticks
        own = ticks[bisect_left(ticks, clip.start_tick) : bisect_left(ticks, clip.end_tick)]
        track_tick = tuple(own[i] for i in grid(own, self.track_fps, clip.time_base_num, clip.time_base_den))
        if len(track_tick) < 2:
            return Skip(Reason.TOO_FEW_FRAMES, f"{len(track_tick)} frames at {self.track_fps:g} a second")
        width_px, height_px = store_size(clip.width_px, clip.height_px, self.max_side_px)
        decoded = clip.extend(
            DecodedClip,
            track_tick=track_tick,
            plan_index=spread(len(track_tick), self.plan_frames),
            store_width_px=width_px,
            store_height_px=height_px,
            decoder=self.decoder,
        )
        frames.load(decoded)
        return decoded


def store_size(width_px: int, height_px: int, max_side_px: int) -> tuple[int, int]:
    """Even width and height of a frame whose longest side is at most `max_side_px`; never enlarged."""
    scale = min(1.0, max_side_px / max(width_px, height_px))
    return max(2, round(width_px * scale / 2) * 2), max(2, round(height_px * scale / 2) * 2)
