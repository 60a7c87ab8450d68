"""Pictures of a subject: in which frames it is seen best, and its box cut out of a stored frame."""

from collections.abc import Sequence

import cv2
import numpy as np

from schemas.clip import Box, Detection
from stages.algorithms.association import area, at_border


def best_seen(
    observations: Sequence[Detection], n: int, frame_size_px: tuple[int, int], min_side_px: float
) -> list[Detection]:
    """At most `n`, ascending: from each of `n` equal parts of the subject's time the largest box.

    Boxes that the frame's edge cuts are left out where there are others; always those in which nothing was seen, and
    those smaller than `min_side_px`.
    """
    large = [o for o in observations if not o.interpolated and shorter_side_px(o.box_xyxy_px) >= min_side_px]
    whole = [o for o in large if not at_border(o.box_xyxy_px, frame_size_px)]
    usable = whole or large
    if not usable:
        return []
    first, frames = usable[0].frame, usable[-1].frame - usable[0].frame + 1
    best: dict[int, Detection] = {}
    for seen in usable:
        part = (seen.frame - first) * n // frames
        if part not in best or area(seen.box_xyxy_px) > area(best[part].box_xyxy_px):
            best[part] = seen
    return [best[part] for part in sorted(best)]


def cut_out(
    frame_HWC: np.ndarray, box_xyxy_px: Box, frame_size_px: tuple[int, int], *, margin: float, min_side_px: int = 1
) -> np.ndarray:
    """The box, in pixels of the upright frame, out of a stored frame: with a margin, in sides of the box, on each side
    of it; enlarged to `min_side_px` where its shorter side has less."""
    height, width = frame_HWC.shape[:2]
    width_px, height_px = frame_size_px
    x1, y1, x2, y2 = box_xyxy_px
    dx, dy = margin * (x2 - x1), margin * (y2 - y1)
    left = max(0, int((x1 - dx) * width / width_px))
    top = max(0, int((y1 - dy) * height / height_px))
    right = min(width, max(left + 1, round((x2 + dx) * width / width_px)))
    bottom = min(height, max(top + 1, round((y2 + dy) * height / height_px)))
    picture_HWC = frame_HWC[top:bottom, left:right]
    scale = max(1.0, min_side_px / min(picture_HWC.shape[:2]))
    return cv2.resize(picture_HWC, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)


def shorter_side_px(box_xyxy_px: Box) -> float:
    x1, y1, x2, y2 = box_xyxy_px
    return min(x2 - x1, y2 - y1)
