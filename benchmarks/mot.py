"""MOTChallenge files, and how well tracks agree with a truth: TrackEval's own metrics (extra `bench`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
from trackeval.metrics import CLEAR, HOTA, Identity

from schemas.clip import Box

Tracks = Mapping[int, Mapping[int, Box]]  # id -> frame from 0 -> box
MATCH_IOU = 0.5  # of CLEAR and Identity; HOTA takes all from .05 to .95


@dataclass(frozen=True, slots=True)
class Quality:
    mota: float
    idf1: float
    hota: float
    id_switches: int
    recall: float  # share of the true boxes
    precision: float

    @property
    def text(self) -> str:
        return (
            f"{self.mota:.3f} | {self.idf1:.3f} | {self.hota:.3f} | {self.id_switches} | {self.recall:.2f} | "
            f"{self.precision:.2f}"
        )


def read_boxes(path: Path) -> list[tuple[int, int, Box, float]]:
    """Frame from 0, id, box and score of each line: frame, id, left, top, width, height, score, ..."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    return [(int(r[0]) - 1, int(r[1]), (r[2], r[3], r[2] + r[4], r[3] + r[5]), float(r[6])) for r in rows]


def read_truth(path: Path) -> Tracks:
    """Truth by id; raises ValueError where a subject has two boxes in a frame."""
    tracks: dict[int, dict[int, Box]] = {}
    for frame, number, box, counts in read_boxes(path):
        if counts == 0:
            continue  # marked as not to be considered
        if frame in tracks.setdefault(number, {}):
            raise ValueError(f"{path}: subject {number} has two boxes in frame {frame + 1}")
        tracks[number][frame] = box
    return tracks


def quality(truth: Tracks, found: Tracks, n_frames: int) -> Quality:
    """TrackEval's MOTA, IDF1, HOTA and id switches."""
    data = _paired(truth, found, n_frames)
    clear, identity = (
        CLEAR({"THRESHOLD": MATCH_IOU, "PRINT_CONFIG": False}),
        Identity({"THRESHOLD": MATCH_IOU, "PRINT_CONFIG": False}),
    )
    by_box, by_id, hota = clear.eval_sequence(data), identity.eval_sequence(data), HOTA().eval_sequence(data)
    return Quality(
        mota=float(by_box["MOTA"]),
        idf1=float(by_id["IDF1"]),
        hota=float(np.mean(hota["HOTA"])),
        id_switches=int(by_box["IDSW"]),
        recall=float(by_box["CLR_Re"]),
        precision=float(by_box["CLR_Pr"]),
    )


def _paired(truth: Tracks, found: Tracks, n_frames: int) -> dict[str, Any]:
    """What TrackEval's metrics read: ids from 0 and overlaps, frame by frame."""
    true_ids, true_boxes = _by_frame(truth, n_frames)
    ids, boxes = _by_frame(found, n_frames)
    return {
        "num_timesteps": n_frames,
        "num_gt_ids": len(truth),
        "num_tracker_ids": len(found),
        "num_gt_dets": sum(map(len, true_ids)),
        "num_tracker_dets": sum(map(len, ids)),
        "gt_ids": true_ids,
        "tracker_ids": ids,
        "similarity_scores": [sv.box_iou_batch(a, b) for a, b in zip(true_boxes, boxes, strict=True)],
    }


def _by_frame(tracks: Tracks, n_frames: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    ids: list[list[int]] = [[] for _ in range(n_frames)]
    boxes: list[list[Box]] = [[] for _ in range(n_frames)]
    for number, track in enumerate(tracks.values()):
        for frame, box in track.items():
            ids[frame].append(number)
            boxes[frame].append(box)
    return [np.array(i, dtype=int) for i in ids], [np.array(b, dtype=np.float64).reshape(-1, 4) for b in boxes]


def as_tracks(chains: Sequence[Sequence[tuple[int, Box]]]) -> Tracks:
    """Tracks numbered in the order given, of (frame, box)."""
    return {number: dict(chain) for number, chain in enumerate(chains)}
