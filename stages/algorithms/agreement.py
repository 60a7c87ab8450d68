"""Does a second detector see what the first one tracked? It looks at some frames, and knows nothing of the first."""

from collections.abc import Mapping, Sequence

import numpy as np
import supervision as sv

from schemas.clip import Box, Track

SAME_IOU = 0.5  # from here on two boxes of one label are of one thing


def agreement(track: Track, second: Mapping[int, Sequence[tuple[str, Box]]]) -> float | None:
    """Share of the checked frames at which the track was seen, and at which the second detector found the same there.

    `second` holds what it found (label and box, in the track's pixels), by checked frame. None: no checked frame.
    """
    checked = [o for o in track.observations if not o.interpolated and o.frame in second]
    if not checked:
        return None
    return sum(_is_seen(o.box_xyxy_px, track.label, second[o.frame]) for o in checked) / len(checked)


def _is_seen(box: Box, label: str, found: Sequence[tuple[str, Box]]) -> bool:
    same = [other for word, other in found if word == label]
    return bool(same) and bool((sv.box_iou_batch(np.array([box]), np.array(same)) >= SAME_IOU).any())
