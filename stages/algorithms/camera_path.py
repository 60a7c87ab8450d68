"""The camera's path over the frames of a clip, from which subjects' own motion is told."""

from collections.abc import Sequence

import numpy as np

from schemas.clip import Affine
from stages.algorithms.camera import IDENTITY, chain, global_motion, mean_shift_px

KEY_SHIFT = 0.05  # frame diagonals after which another frame becomes the reference


def anchored_path(greys: Sequence[np.ndarray]) -> tuple[list[Affine], float]:
    """Affines to frame 0, and the share of frames whose motion is unknown.

    Each frame is compared with a key frame as long as both show much the same, so that errors do not add up.
    """
    path, lost, key = [IDENTITY], 0, 0
    far_px = KEY_SHIFT * float(np.hypot(*greys[0].shape))
    for t in range(1, len(greys)):
        motion = global_motion(greys[key], greys[t])
        if not motion.is_known and key != t - 1:
            key = t - 1
            motion = global_motion(greys[key], greys[t])
        lost += not motion.is_known
        path.append(chain([path[key], motion.affine])[-1])
        if mean_shift_px(motion.affine, (greys[0].shape[0], greys[0].shape[1])) > far_px:
            key = t
    return path, lost / max(1, len(greys) - 1)


def drift_px(greys: Sequence[np.ndarray]) -> float | None:
    """How far a camera that seems static goes in the end, in store pixels; None where it is truly static.

    Steps under the noise of one step add up: only far frames show them.
    """
    for later in (len(greys) // 2, len(greys) - 1):
        motion = global_motion(greys[0], greys[later])
        shift_px = float(np.hypot(motion.affine[2], motion.affine[5]))
        if motion.is_known and shift_px > 1.0:
            return shift_px
    return None


def scaled(affine: Affine, scale_x: float, scale_y: float) -> Affine:
    """The affine between pixels of the store as one between pixels of the upright frame."""
    a, b, tx, c, d, ty = affine
    return a, b * scale_x / scale_y, tx * scale_x, c * scale_y / scale_x, d, ty * scale_y


def inverted(affine: Affine) -> Affine:
    """From pixels of frame 0 to those of the frame."""
    a, b, tx, c, d, ty = affine
    det = a * d - b * c
    ai, bi, ci, di = d / det, -b / det, -c / det, a / det
    return ai, bi, -(ai * tx + bi * ty), ci, di, -(ci * tx + di * ty)
