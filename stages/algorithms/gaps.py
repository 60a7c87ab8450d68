"""Boxes for the frames in which a track was not observed, between two in which it was. Each is marked.

A box lies on the line between both, in centre and size and in the pixels of tracking frame 0, so that a camera's own
motion bends it. The tracker's Kalman state knows the past only. On gaps of 1 s cut into the truth of TUD-Stadtmitte,
at 10 frames a second, the line has a mean IoU of .960 and the state .909 (PETS .904 and .775); with noise of 5 % of the
sides on the boxes .870 and .747. A cubic through both velocities: .967 without noise, .767 with.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from schemas.clip import Affine, Box, Detection
from stages.algorithms.association import to_first_frame
from stages.algorithms.camera_path import inverted


def filled(
    track: Sequence[Detection], time_s: Sequence[float], camera_path: Sequence[Affine], *, patience_s: float
) -> tuple[Detection, ...]:
    """The track with marked boxes in its gaps of at most `patience_s` between two observations; `time_s` by frame."""
    found = [track[0]]
    for before, after in pairwise(track):
        span_s = time_s[after.frame] - time_s[before.frame]
        first, last = (to_first_frame(d.box_xyxy_px, camera_path[d.frame]) for d in (before, after))
        for frame in range(before.frame + 1, after.frame) if span_s <= patience_s + 1e-6 else ():
            share = (time_s[frame] - time_s[before.frame]) / span_s
            box = to_first_frame(_between(first, last, share), inverted(camera_path[frame]))
            found.append(replace(before, frame=frame, box_xyxy_px=box, score=0.0, interpolated=True))
        found.append(after)
    return tuple(found)


def _between(first: Box, last: Box, share: float) -> Box:
    x1, y1, x2, y2 = (a + (b - a) * share for a, b in zip(first, last, strict=True))
    return x1, y1, x2, y2
