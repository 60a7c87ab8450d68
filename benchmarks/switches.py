"""How sure are we that a track is of one subject? From its links, and from what the same tracker does backward in time.

A link joins two consecutive boxes of a chain. It is crowded where another box of the same label overlaps one of its
two, and doubted where the tracker, run from the last frame to the first, does not make it.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import supervision as sv

from stages.algorithms.chains import Chain, Thresholds, chains

CROWDED_IOU = 0.1
Link = tuple[tuple[int, int], tuple[int, int]]  # (frame, index) of the two boxes
Kind = tuple[bool, bool]  # is crowded, is doubted


def links(chain: Chain) -> list[Link]:
    """The pairs of consecutive boxes of a chain."""
    return list(pairwise(chain))


def backward_links(
    boxes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    time_s: Sequence[float],
    *,
    tracker: str,
    patience_s: float,
    thresholds: Thresholds,
) -> set[Link]:
    """The links that the tracker makes when it sees the frames from the last to the first, in forward order."""
    last, end_s = len(boxes) - 1, time_s[-1]
    found = chains(
        boxes[::-1],
        scores[::-1],
        [end_s - now_s for now_s in reversed(time_s)],
        tracker=tracker,
        patience_s=patience_s,
        thresholds=thresholds,
    )
    return {(_mirrored(b, last), _mirrored(a, last)) for chain in found for a, b in links(chain)}


def crowded(boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each frame and box whether another box overlaps it."""
    overlaps = [sv.box_iou_batch(row_N4, row_N4) - np.eye(len(row_N4)) for row_N4 in boxes]
    return [overlap_NN.max(axis=1, initial=0.0) > CROWDED_IOU for overlap_NN in overlaps]


def link_kinds(chain: Chain, is_crowded: Sequence[np.ndarray], backward: set[Link]) -> list[Kind]:
    """What is known of each link of a chain."""
    return [(any(bool(is_crowded[t][index]) for t, index in link), link not in backward) for link in links(chain)]


def switch_risk(kinds: Sequence[Kind], rates: Mapping[Kind, float]) -> float:
    """Probability that one link at least joins two subjects, by the rates at which links of each kind do."""
    return 1.0 - float(np.prod([1.0 - rates[kind] for kind in kinds]))


def _mirrored(box: tuple[int, int], last: int) -> tuple[int, int]:
    return last - box[0], box[1]
