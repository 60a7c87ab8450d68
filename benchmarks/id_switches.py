"""Is the id-switch risk right? Tracks of clips as a build cuts them, judged by the truth, and what their signs weigh.

`python -m benchmarks.tracking` writes the weights for stages/algorithms/switches.py, and the table of what they are
worth on a camera that they were not fitted on.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import supervision as sv
from scipy.optimize import linear_sum_assignment, minimize

from benchmarks.mot import MATCH_IOU, Tracks
from schemas.clip import Box, DetectedClip, Detection, TrackedClip
from schemas.time import grid
from stages.algorithms.association import area
from stages.algorithms.switches import WEIGHTS, Signs, signs, switch_risk
from stages.decode_clip import DecodeClip
from stages.track_objects import TrackObjects, steady, times_s

EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
CLIP_S = 10  # as in the recipe people_and_cars
MIN_CLIP_S = 2
RIDGE = 1.0
JUMP = 2.0  # the motion expert's tracks are cut where the area jumps by this factor
NAMES = tuple(f.name for f in fields(Signs))


@dataclass(frozen=True, slots=True)
class Judged:
    """A track with two boxes at least on subjects of the truth: its signs, and whether these are one subject."""

    camera: str
    source: str
    tracker: str
    signs: Signs
    is_mixed: bool
    jumps: int  # links over which the area jumps
    mixed_jumps: int  # and which join two subjects


def judged(row: DetectedClip, stage: TrackObjects, truth: Tracks, camera: str, source: str) -> list[Judged]:
    """The tracks that the stage makes of each clip of a film."""
    found: list[Judged] = []
    for clip, own in clips_of(row, truth):
        tracked = stage.process(None, [clip])[0]
        if not isinstance(tracked, TrackedClip):
            continue
        hindsight, time_s = stage.hindsight(clip), times_s(clip)
        owner = owners_of(clip, own)
        for track in tracked.tracks:
            switched = switches(track.observations, owner, own)
            if switched is None:
                continue
            jumps = [_factor(a, b) >= JUMP for a, b in pairwise(track.observations)]
            shown = signs(track.observations, steady(track.observations, clip), time_s, hindsight)
            both = sum(j and s for j, s in zip(jumps, switched, strict=True))
            found.append(Judged(camera, source, stage.tracker, shown, any(switched), sum(jumps), both))
    return found


def clips_of(row: DetectedClip, truth: Tracks) -> list[tuple[DetectedClip, Tracks]]:
    """The film in clips of CLIP_S at the rate of a build, each with its truth by tracking frame."""
    base, fps = (row.time_base_num, row.time_base_den), DecodeClip().track_fps
    kept = grid(row.track_tick, fps, *base)
    ends = sorted({0, *range(0, len(kept), round(CLIP_S * fps)), len(kept)})
    found = []
    for begin, end in pairwise(ends):
        if end - begin < MIN_CLIP_S * fps:
            continue
        number = {old: new for new, old in enumerate(kept[begin:end])}
        clip = replace(
            row,
            track_tick=tuple(row.track_tick[old] for old in number),
            camera_path=tuple(row.camera_path[old] for old in number),
            detections=tuple(replace(d, frame=number[d.frame]) for d in row.detections if d.frame in number),
        )
        found.append((clip, {i: {number[t]: b for t, b in track.items() if t in number} for i, track in truth.items()}))
    return found


def owners_of(clip: DetectedClip, truth: Tracks) -> dict[Detection, int]:
    """Which detection is of which subject, frame by frame."""
    found: dict[Detection, int] = {}
    for t in range(len(clip.track_tick)):
        here = [d for d in clip.detections if d.frame == t]
        boxes_N4 = np.array([d.box_xyxy_px for d in here]).reshape(-1, 4)
        found |= {here[k]: number for k, number in owner_of(boxes_N4, t, truth).items()}
    return found


def owner_of(boxes_N4: np.ndarray, frame: int, truth: Tracks) -> dict[int, int]:
    """Which box is of which subject: the best pairs with an overlap of MATCH_IOU."""
    here = [(number, track[frame]) for number, track in truth.items() if frame in track]
    if not here or not len(boxes_N4):
        return {}
    overlap = sv.box_iou_batch(boxes_N4, np.array([box for _, box in here]))
    pairs = zip(*linear_sum_assignment(np.where(overlap >= MATCH_IOU, overlap, 0.0), maximize=True), strict=True)
    return {int(k): here[j][0] for k, j in pairs if overlap[k, j] >= MATCH_IOU}


def switches(track: Sequence[Detection], owner: Mapping[Detection, int], truth: Tracks) -> list[bool] | None:
    """For each link whether its second box is of another subject than the last that was known; None: hardly known.

    A box that still covers the last subject is that one's (as in CLEAR MOT): where two stand close, which of them a
    box fits best tells of the box.
    """
    last: int | None = None
    switched: list[bool] = []
    known = 0
    for d in track:
        still = last is not None and _covers(d.box_xyxy_px, truth[last].get(d.frame))
        now = last if still else owner.get(d)
        switched.append(now is not None and last is not None and now != last)
        last = last if now is None else now
        known += now is not None
    return switched[1:] if known >= 2 else None


def _covers(box: Box, truth: Box | None) -> bool:
    return truth is not None and float(sv.box_iou_batch(np.array([box]), np.array([truth]))[0, 0]) >= MATCH_IOU


def _factor(before: Detection, after: Detection) -> float:
    ratio = area(after.box_xyxy_px) / area(before.box_xyxy_px)
    return max(ratio, 1 / ratio)


def fitted(rows: Sequence[Judged]) -> dict[str, float]:
    """Weights of a logistic regression (ridge on all but the constant) by sign; "" is the constant."""
    signs_N = np.array([[1.0, *(getattr(row.signs, name) for name in NAMES)] for row in rows])
    mixed_N = np.array([row.is_mixed for row in rows], dtype=np.float64)
    penalty = RIDGE * np.array([0.0, *(1.0 for _ in NAMES)])

    def loss(weights: np.ndarray) -> float:
        odds = signs_N @ weights
        return float(np.sum(np.logaddexp(0, odds) - mixed_N * odds) + np.sum(penalty * weights**2) / 2)

    found = minimize(loss, np.zeros(signs_N.shape[1]))
    return {name: round(float(w), 2) for name, w in zip(("", *NAMES), found.x, strict=True)}


def held_out_risks(rows: Sequence[Judged]) -> list[tuple[float, bool]]:
    """For each track the risk by weights that were fitted on all other cameras, and whether it is mixed."""
    found = []
    for camera in sorted({row.camera for row in rows}):
        weights = fitted([row for row in rows if row.camera != camera])
        found += [(switch_risk(row.signs, weights), row.is_mixed) for row in rows if row.camera == camera]
    return found


def calibration(rows: Sequence[Judged]) -> tuple[list[str], dict[str, Any]]:
    """The tables as Markdown lines, and their numbers."""
    weights, risks = fitted(rows), held_out_risks(rows)
    jumps, mixed_jumps = sum(row.jumps for row in rows), sum(row.mixed_jumps for row in rows)
    brier = float(np.mean([(risk - is_mixed) ** 2 for risk, is_mixed in risks]))
    base = float(np.mean([is_mixed for _, is_mixed in risks]))
    lines = [
        "## Id-switch risk",
        "",
        f"Tracks of detected boxes in clips of {CLIP_S} s at {DecodeClip().track_fps:g} frames a second, all trackers "
        f"together: {len(rows)} tracks, of which {sum(row.is_mixed for row in rows)} are of more than one subject, for "
        "one box at least. A film gives tracks of several trackers and sources, so they are fewer than they seem.",
        "",
        f"Links over which the area of the box jumps by a factor of {JUMP:g}: {jumps}, of which {mixed_jumps} join two "
        "subjects.",
        "",
        "| sign | weight (all cameras) | in stages/algorithms/switches.py |",
        "|-|-|-|",
        *(f"| {name or '(constant)'} | {weights[name]:.2f} | {WEIGHTS[name]:.2f} |" for name in weights),
        "",
        "Risk of each track by weights that were fitted without its camera:",
        "",
        "| risk | tracks | mean risk | of more than one subject |",
        "|-|-|-|-|",
    ]
    bins: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
    for risk, is_mixed in risks:
        bins[min(len(EDGES) - 2, int(np.searchsorted(EDGES, risk, side="right")) - 1)].append((risk, is_mixed))
    table = []
    for k in sorted(bins):
        predicted, observed = (float(np.mean(column)) for column in zip(*bins[k], strict=True))
        table.append(
            {"from": EDGES[k], "to": EDGES[k + 1], "tracks": len(bins[k]), "mean_risk": predicted, "mixed": observed}
        )
        lines.append(f"| {EDGES[k]:.2f} to {EDGES[k + 1]:.2f} | {len(bins[k])} | {predicted:.3f} | {observed:.3f} |")
    lines += ["", f"Brier score {brier:.3f}; {base * (1 - base):.3f} for the base rate {base:.3f} alone."]
    return lines, {
        "weights": weights,
        "reliability": table,
        "brier": brier,
        "base_rate": base,
        "area_jumps": {"links": jumps, "of_two_subjects": mixed_jumps},
    }
