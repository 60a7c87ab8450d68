"""What comes back from the decoder child: small frozen values and arrays of numbers."""

from dataclasses import dataclass

import numpy as np

DETECTORS = ("adaptive", "content")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """What packets and bytes say about a video; the fields of schemas.video.Video."""

    video_id: str
    id_kind: str
    n_bytes: int
    container: str
    codec: str
    width_px: int
    height_px: int
    rotation_deg: int
    time_base_num: int
    time_base_den: int
    n_frames: int
    start_tick: int
    end_tick: int
    is_vfr: bool
    n_promised: int | None
    damage: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Packets:
    """The presentable frames of a video stream by presentation time, from its packets alone."""

    ticks: tuple[int, ...]  # ascending, unique
    end_tick: int  # of the last frame, exclusive
    key_ticks: tuple[int, ...]  # frames that decoding may start at, ascending
    has_open_gop: bool  # a frame is shown before the keyframe that its packet lies behind
    torn_tick: int | None  # from here on frames lie behind a packet of which bytes are missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What a file's header promises beyond what the file holds."""

    n_promised: int | None  # frames; None where the header tells a length only
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """What pass 1 looks for."""

    detector: str = "adaptive"  # "adaptive" | "content"
    threshold: float | None = None  # of the detector, None for its default
    min_shot_s: float = 0.6
    longest_side_px: int = 256
    step_s: float = 0.2  # between the frames that camera motion is measured on


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Pass 1 over a video of N frames and M camera steps."""

    ticks: tuple[int, ...]
    cuts: tuple[int, ...]  # indices of the first frames of shots, without 0
    luminance_N: np.ndarray  # mean grey, 0..1
    blur_N: np.ndarray  # variance of the Laplacian of the grey scan frame, 0..255 scale
    motion_N: np.ndarray  # mean absolute change of the colour levels from the frame before, 0..1; 0 for the first
    step_frame: tuple[int, ...]  # M + 1 frame indices; camera step k leads from step_frame[k] to step_frame[k + 1]
    step_speed: tuple[float | None, ...]  # M: frame diagonals a second, None where unknown
    step_hash: tuple[int, ...]  # M + 1: 64-bit perceptual hash of each of these frames
