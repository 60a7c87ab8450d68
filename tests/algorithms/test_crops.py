"""Which frames show a subject best, and what is cut out of them."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.clip import Box, Detection
from stages.algorithms.crops import best_seen, cut_out

SIZE_PX = (400, 200)


def _seen(boxes: dict[int, Box]) -> list[Detection]:
    return [
        Detection(frame=t, box_xyxy_px=box, label="", score=1.0, rgb=(0.0, 0.0, 0.0), fill=0.0, outline=0.0)
        for t, box in boxes.items()
    ]


def _box(side: float, left: float = 100.0) -> Box:
    return (left, 50.0, left + side, 50.0 + side)


def _frames(boxes: dict[int, Box], n: int, min_side_px: float = 1.0) -> list[int]:
    return [o.frame for o in best_seen(_seen(boxes), n, SIZE_PX, min_side_px)]


def test_the_largest_of_each_part_of_its_time() -> None:
    sides = {0: 20, 1: 22, 2: 21, 3: 20, 4: 20, 5: 30, 6: 25, 7: 24, 8: 26}
    assert _frames({t: _box(s) for t, s in sides.items()}, 3) == [1, 5, 8]
    assert _frames({t: _box(20) for t in range(9)}, 3) == [0, 3, 6]  # of equals the first
    assert _frames({4: _box(20), 5: _box(20)}, 5) == [4, 5]


def test_parts_are_of_time_not_of_the_number_of_observations() -> None:
    assert _frames({t: _box(20) for t in (10, 11, 12, 13, 19)}, 2) == [10, 19]


def test_a_box_that_the_edge_cuts_is_taken_only_where_there_is_no_other() -> None:
    cut = {t: _box(90, left=0.0) for t in range(4)}
    assert _frames(cut | {t: _box(20) for t in range(4, 8)}, 2) == [4, 6]
    assert _frames(cut, 2) == [0, 2]


def test_a_box_that_nobody_saw_is_no_picture_of_the_subject() -> None:
    seen = _seen({t: _box(20.0 + t) for t in range(6)})
    between = [replace(o, interpolated=o.frame in (2, 5)) for o in seen]
    assert [o.frame for o in best_seen(between, 2, SIZE_PX, 1.0)] == [1, 4]


def test_too_small_boxes_never_vote() -> None:
    boxes = {t: _box(10.0 + 10 * (t % 2)) for t in range(6)}
    assert _frames(boxes, 6, min_side_px=15) == [1, 3, 5]
    assert _frames(boxes, 6, min_side_px=40) == []


@pytest.mark.parametrize("scale", [1, 2])
def test_a_cut_is_the_box_with_its_margin_in_stored_pixels(scale: int) -> None:
    y, x = np.mgrid[0:100, 0:200]
    frame_HWC = np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)
    box: Box = (50.0 * scale, 20.0 * scale, 90.0 * scale, 40.0 * scale)
    picture_HWC = cut_out(frame_HWC, box, (200 * scale, 100 * scale), margin=0.1)
    assert picture_HWC.shape == (24, 48, 3)
    assert (picture_HWC[0, 0, :2].tolist(), picture_HWC[-1, -1, :2].tolist()) == ([46, 18], [93, 41])


def test_a_margin_ends_at_the_frame_and_a_tiny_box_is_enlarged() -> None:
    frame_HWC = np.zeros((100, 200, 3), np.uint8)
    assert cut_out(frame_HWC, (0.0, 0.0, 40.0, 40.0), (200, 100), margin=0.5).shape == (60, 60, 3)
    assert cut_out(frame_HWC, (50.0, 50.0, 60.0, 70.0), (200, 100), margin=0.0, min_side_px=30).shape == (60, 30, 3)
