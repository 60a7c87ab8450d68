"""The picture of one scored text: the frames that it was read with, and the TPL of each alone under them."""

import base64

import cv2
import numpy as np

from pipeline.strip import (
    CELL,
    CURVE,
    FRAMES_A_ROW,
    GAP,
    HEAD,
    JPEG_QUALITY,
    MARGIN,
    MAX_HEIGHT,
    SHARPNESS,
    UNDER,
    Dot,
    Line,
    Picture,
    Strip,
)
from schemas.pair import PairScore
from schemas.time import seconds
from stages.media.jpeg import jpeg


def score_strip(row: PairScore, needed: set[int], frames_THWC: np.ndarray) -> Strip:
    """The geometry; `needed` frames (0-based) are named in bold. A frame that was not read alone has no dot."""
    if len(frames_THWC) != len(row.curve):
        raise ValueError(f"{row.pair_id}: a curve of {len(row.curve)} frames, got {len(frames_THWC)} frames")
    height_px, width_px = frames_THWC.shape[1:3]
    height = min(MAX_HEIGHT, (CELL - GAP) * height_px / width_px)
    width = height * width_px / height_px
    known = {k: value for k, value in enumerate(row.curve) if value is not None}
    low, high = min(0.0, *known.values(), 0.0), max(0.0, *known.values(), 0.0)
    top = HEAD + height + 20

    def y(nats: float) -> float:
        return top + CURVE * (high - nats) / max(high - low, 1e-9)

    lines = []
    for start in range(0, len(row.curve), FRAMES_A_ROW):
        here = range(start, min(start + FRAMES_A_ROW, len(row.curve)))
        left = {k: MARGIN + CELL * (k - start) for k in here}
        pictures = tuple(
            Picture(
                x=left[k] + (CELL - width) / 2,
                width=width,
                label=f"frame{k + 1}",
                time=_time(row, k),
                evidence=k in needed,
                jpeg=_jpeg(frames_THWC[k], round(width * SHARPNESS), round(height * SHARPNESS)),
                marks=(),
            )
            for k in here
        )
        dots = tuple(Dot(left[k] + CELL / 2, y(known[k]), f"{known[k]:.2f}") for k in here if k in known)
        lines.append(Line(pictures=pictures, dots=dots))
    return Strip(
        width=MARGIN + CELL * min(FRAMES_A_ROW, len(row.curve)),
        image_height=height,
        row_height=top + CURVE + (UNDER if low < 0 else 6) if known else HEAD + height + 8,
        zero_y=y(0.0) if known else None,
        lines=tuple(lines),
        subjects=(),
    )


def _time(row: PairScore, frame: int) -> str:
    return f"{seconds(row.frame_tick[frame] - row.start_tick, row.time_base_num, row.time_base_den):.2f} s"


def _jpeg(frame_HWC: np.ndarray, width_px: int, height_px: int) -> str:
    small = cv2.resize(frame_HWC, (width_px, height_px), interpolation=cv2.INTER_AREA)
    return base64.b64encode(jpeg(small, quality=JPEG_QUALITY)).decode()
