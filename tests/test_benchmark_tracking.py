"""The measures behind benchmarks/tracking.py, on tracks whose measures are known by hand."""

import numpy as np
import pytest

pytest.importorskip("trackeval", reason="the extra bench is not installed")

from benchmarks.id_switches import Judged, calibration, clips_of, fitted, held_out_risks, owner_of, switches
from benchmarks.mot import quality
from schemas.clip import Box, DetectedClip, Detection
from stages.algorithms.camera import IDENTITY
from stages.algorithms.switches import Signs, switch_risk
from tests.scenes import Film, clip_of


def _walk(x: float, n: int = 10) -> dict[int, Box]:
    return {t: (x + 2 * t, 0.0, x + 2 * t + 10, 30.0) for t in range(n)}


def _seen(frame: int, box: Box) -> Detection:
    return Detection(frame=frame, box_xyxy_px=box, label="person", score=0.9, rgb=(0, 0, 0), fill=0.0, outline=0.0)


def test_a_perfect_track_is_perfect_and_a_switch_costs_what_it_must() -> None:
    truth = {1: _walk(0), 2: _walk(100)}
    assert (quality(truth, truth, 10).mota, quality(truth, truth, 10).idf1, quality(truth, truth, 10).hota) == (1, 1, 1)
    swapped = {
        1: {t: (truth[1] if t < 5 else truth[2])[t] for t in range(10)},
        2: {t: (truth[2] if t < 5 else truth[1])[t] for t in range(10)},
    }
    found = quality(truth, swapped, 10)
    assert found.id_switches == 2
    assert found.mota == pytest.approx(1 - 2 / 20)
    assert found.idf1 == pytest.approx(0.5)
    half = quality(truth, {1: truth[1]}, 10)
    assert (half.mota, half.recall, half.precision) == (0.5, 0.5, 1.0)


def test_boxes_belong_to_the_subject_they_cover() -> None:
    truth = {7: _walk(0), 9: _walk(100)}
    boxes = np.array([_walk(100)[3], (500.0, 0.0, 510.0, 30.0), _walk(1)[3]])
    assert owner_of(boxes, 3, truth) == {0: 9, 2: 7}
    assert owner_of(boxes[:0], 3, truth) == {}


def test_a_switch_is_seen_over_boxes_on_nobody_and_not_where_two_stand_close() -> None:
    truth = {7: _walk(0), 8: _walk(3), 9: _walk(100)}
    track = [_seen(0, _walk(0)[0]), _seen(1, (500.0, 0.0, 510.0, 30.0)), _seen(2, _walk(100)[2])]
    owner = {track[0]: 7, track[2]: 9}
    assert switches(track, owner, truth) == [False, True]
    close = [_seen(0, _walk(0)[0]), _seen(1, _walk(2)[1])]
    assert switches(close, {close[0]: 7, close[1]: 8}, truth) == [False]  # covers the last subject still
    assert switches(track[:2], owner, truth) is None


def test_clips_are_cut_as_a_build_cuts_them() -> None:
    film = Film(frames_THWC=np.zeros((330, 18, 32, 3), np.uint8), boxes=[], fps=25)
    boxes = tuple(_seen(t, (1.0, 1.0, 9.0, 9.0)) for t in range(330))
    row = clip_of(film, camera="static").extend(
        DetectedClip, detections=boxes, camera_path=(IDENTITY,) * 330, detector="onnx/given@0"
    )
    clips = clips_of(row, {1: {t: boxes[t].box_xyxy_px for t in range(330)}})
    assert [len(clip.track_tick) for clip, _ in clips] == [100, 32]
    assert [t for clip, _ in clips for t in clip.track_tick] == [row.track_tick[t] for t in range(330) if _taken(t)]
    for clip, truth in clips:
        assert [d.frame for d in clip.detections] == list(truth[1]) == list(range(len(clip.track_tick)))


def _taken(t: int) -> bool:
    """Of 25 frames a second, the first at or after each tenth of a second."""
    return t == -(-5 * (2 * t // 5) // 2) or 2 * t % 5 == 0


def test_weights_find_the_sign_that_tells_and_are_held_out_by_camera() -> None:
    sure, unsure = (Signs(doubted=d, crowded=0.5, turn=0.1, recoloured=0.2) for d in (0.0, 2.0))
    first = [Judged("a", "x", "y", sure, is_mixed, 0, 0) for is_mixed in [True] * 2 + [False] * 18]
    first += [Judged("a", "x", "y", unsure, is_mixed, 2, 1) for is_mixed in [True] * 18 + [False] * 2]
    second = [Judged("b", "x", "y", sure, False, 1, 0), Judged("b", "x", "y", unsure, True, 0, 0)]
    weights = fitted(first)
    assert switch_risk(sure, weights) == pytest.approx(0.1, abs=0.05)
    assert switch_risk(unsure, weights) == pytest.approx(0.9, abs=0.05)
    held_out = held_out_risks([*first, *second])
    assert held_out[-2:] == [(switch_risk(sure, weights), False), (switch_risk(unsure, weights), True)]
    lines, data = calibration([*first, *second])
    assert "Links over which the area of the box jumps by a factor of 2: 41, of which 20 join two subjects." in lines
    assert sum(row["tracks"] for row in data["reliability"]) == 42
