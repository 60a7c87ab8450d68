"""How likely is it that a detector's track is of more than one subject? From signs that need no truth.

A link joins two consecutive boxes of a track. It is doubted where the same tracker, run from the last frame to the
first, does not make it; a box is crowded where another of its label overlaps it. What a subject keeps over half a
second tells, too: its velocity and its colour. benchmarks/id_switches.py judges the signs by a truth and fits WEIGHTS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import supervision as sv

from schemas.clip import Box, Detection

CROWDED_IOU = 0.1
WINDOW_S = 0.5  # velocity and colour are compared over this long before and after a link
MOST_LEVELS = 100.0  # of colour: another subject is not more of another subject beyond this
SLOW = 0.5  # own sizes a second: under this speed boxes jitter more than their subjects turn
Link = tuple[Detection, Detection]


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of a track's links."""

    doubted: float  # log(1 + links that are doubted)
    crowded: float  # log(1 + seconds before crowded boxes)
    turn: float  # 0..1: most change of velocity, over the speeds before and after together with SLOW
    recoloured: float  # most change of the median colour, of MOST_LEVELS


@dataclass(frozen=True, slots=True)
class Hindsight:
    """What all boxes of a clip tell about its links."""

    backward: frozenset[Link]  # links that the tracker makes from the last frame to the first, in forward order
    crowded: frozenset[Detection]


# Of a logistic regression, with its constant as "": copied from benchmarks/results/tracking.md.
WEIGHTS: Mapping[str, float] = {"": -3.14, "doubted": 0.68, "crowded": 0.63, "turn": 2.37, "recoloured": 0.77}


def switch_risk(found: Signs, weights: Mapping[str, float] = WEIGHTS) -> float:
    """Probability that the track is of more than one subject."""
    log_odds = sum(weight * (getattr(found, name) if name else 1.0) for name, weight in weights.items())
    return float(1 / (1 + np.exp(-log_odds)))


def signs(track: Sequence[Detection], steady: Sequence[Box], time_s: Sequence[float], hindsight: Hindsight) -> Signs:
    """The signs of a track whose boxes are `steady` in the pixels of a standing camera; `time_s` by frame."""
    at_N = np.array([time_s[d.frame] for d in track])
    sides_N4 = np.array(steady, dtype=np.float64)
    size_px = float(np.median(np.sqrt((sides_N4[:, 2] - sides_N4[:, 0]) * (sides_N4[:, 3] - sides_N4[:, 1]))))
    crowded_s = sum(b - a for a, b, d in zip(at_N[:-1], at_N[1:], track[1:], strict=True) if d in hindsight.crowded)
    return Signs(
        doubted=float(np.log1p(sum(link not in hindsight.backward for link in pairwise(track)))),
        crowded=float(np.log1p(crowded_s)),
        turn=_most_turn((sides_N4[:, :2] + sides_N4[:, 2:]) / 2 / size_px, at_N),
        recoloured=min(1.0, _most_change(np.array([d.rgb for d in track]), at_N) / MOST_LEVELS),
    )


def crowded(detections: Sequence[Detection]) -> frozenset[Detection]:
    """Those that another detection of the same frame and label overlaps."""
    found: list[Detection] = []
    groups: dict[tuple[int, str], list[Detection]] = {}
    for d in detections:
        groups.setdefault((d.frame, d.label), []).append(d)
    for group in groups.values():
        boxes_N4 = np.array([d.box_xyxy_px for d in group])
        overlap_NN = sv.box_iou_batch(boxes_N4, boxes_N4) - np.eye(len(group))
        found += [d for d, most in zip(group, overlap_NN.max(axis=1), strict=True) if most > CROWDED_IOU]
    return frozenset(found)


def _most_turn(centre_N2: np.ndarray, at_N: np.ndarray) -> float:
    """Most change of velocity over WINDOW_S before and after a box, of centres in own sizes; 0 of shorter tracks."""
    inner_M = at_N[(at_N >= at_N[0] + WINDOW_S - 1e-6) & (at_N <= at_N[-1] - WINDOW_S + 1e-6)]
    if not len(inner_M):
        return 0.0
    before_M2, now_M2, after_M2 = (
        np.stack([np.interp(inner_M + shift_s, at_N, centre_N2[:, axis]) for axis in (0, 1)], axis=1)
        for shift_s in (-WINDOW_S, 0.0, WINDOW_S)
    )
    came_M2, goes_M2 = (now_M2 - before_M2) / WINDOW_S, (after_M2 - now_M2) / WINDOW_S
    speeds_M = np.linalg.norm(came_M2, axis=1) + np.linalg.norm(goes_M2, axis=1)
    return float((np.linalg.norm(goes_M2 - came_M2, axis=1) / (speeds_M + SLOW)).max())


def _most_change(rgb_N3: np.ndarray, at_N: np.ndarray) -> float:
    """Most difference, in levels of a channel, between the median colours over WINDOW_S before and after a link."""
    most = 0.0
    for k in range(1, len(at_N)):
        before = (at_N < at_N[k] - 1e-6) & (at_N >= at_N[k - 1] - WINDOW_S + 1e-6)
        after = (at_N >= at_N[k] - 1e-6) & (at_N <= at_N[k] + WINDOW_S - 1e-6)
        change = np.median(rgb_N3[before], axis=0) - np.median(rgb_N3[after], axis=0)
        most = max(most, float(np.abs(change).max()))
    return most
