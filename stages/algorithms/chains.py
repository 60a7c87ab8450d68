"""Boxes of consecutive frames become chains of one subject each, by a tracker of the `trackers` library."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv
from trackers import BoTSORTTracker, ByteTrackTracker, OCSORTTracker
from trackers.utils.iou import BIoU

Chain = list[tuple[int, int]]  # (frame, index of the box in that frame), frames ascending
AnyTracker = ByteTrackTracker | OCSORTTracker | BoTSORTTracker

TRACKERS = ("bytetrack", "ocsort", "botsort")
BUFFER_RATE_HZ = 30  # the unit of the library's lost_track_buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What a tracker may take for a subject: the scale of scores and the steadiness of boxes belong to the detector."""

    start_score: float  # a fainter box begins no track; where the tracker knows a second round, it may continue one
    min_iou: float  # between buffered boxes
    box_buffer: float  # boxes grow by this share of their size on each side before they are compared


def chains(
    boxes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    time_s: Sequence[float],
    *,
    tracker: str,
    patience_s: float,
    thresholds: Thresholds,
) -> list[Chain]:
    """Chains over frames at `time_s`, whose boxes (N, 4) are x1, y1, x2, y2 in pixels of a standing camera.

    The tracker is a new one. A chain may be unseen for a unit of the library's buffer more than `patience_s`.
    """
    library = _tracker(tracker, float(np.median(np.diff(time_s))), patience_s, thresholds)
    found: list[Chain] = []
    for t, now_s in enumerate(time_s):
        given = sv.Detections(xyxy=boxes[t], confidence=scores[t], data={"index": np.arange(len(boxes[t]))})
        result = library.update(given, timestamp=now_s)
        ids = [] if result.tracker_id is None else result.tracker_id.tolist()
        for index, number in zip(result.data.get("index", ()), ids, strict=True):
            if number >= 0:
                found[number].append((t, int(index)))
        # The library names a track at its second box and forgets the first: name new tracks here, with their box.
        for tracklet in library.tracks:
            if tracklet.tracker_id == -1:
                tracklet.tracker_id = len(found)
                found.append([(t, int(np.abs(boxes[t] - tracklet.get_state_bbox()).sum(axis=1).argmin()))])
    return found


def _tracker(name: str, step_s: float, patience_s: float, thresholds: Thresholds) -> AnyTracker:
    least, overlap = thresholds.start_score, thresholds.min_iou
    buffer, iou = round(patience_s * BUFFER_RATE_HZ) + 1, BIoU(buffer_ratio=thresholds.box_buffer)
    if name == "bytetrack":
        return ByteTrackTracker(
            lost_track_buffer=buffer,
            frame_rate=1 / step_s,
            track_activation_threshold=least,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=overlap,
            high_conf_det_threshold=least,
            iou=iou,
        )
    if name == "ocsort":
        return OCSORTTracker(
            lost_track_buffer=buffer,
            frame_rate=1 / step_s,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=overlap,
            high_conf_det_threshold=least,
            iou=iou,
        )
    if name == "botsort":
        return BoTSORTTracker(
            lost_track_buffer=buffer,
            frame_rate=1 / step_s,
            track_activation_threshold=least,
            minimum_consecutive_frames=1,
            # Its first round compares overlap times score: the faintest box that may begin a track needs `min_iou`.
            minimum_iou_threshold_first_assoc=overlap * least,
            minimum_iou_threshold_second_assoc=overlap,
            minimum_iou_threshold_unconfirmed_assoc=overlap * least,
            high_conf_det_threshold=least,
            enable_cmc=False,  # boxes come with the camera's motion taken out
            instant_first_frame_activation=False,
            iou=iou,
        )
    raise ValueError(f"no tracker {name!r}; there are: {', '.join(TRACKERS)}")
