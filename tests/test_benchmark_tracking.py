"""The measures behind benchmarks/tracking.py, on tracks whose measures are known by hand."""

import numpy as np
import pytest

pytest.importorskip("trackeval", reason="the extra bench is not installed")

from benchmarks.id_switches import Judged, calibration, held_out_risks, rates_of, smoothed
from benchmarks.mot import quality
from benchmarks.switches import backward_links, crowded, link_kinds, switch_risk
from benchmarks.tracking import owner_of
from stages.algorithms.chains import Thresholds, chains

SURE = {"tracker": "bytetrack", "patience_s": 0.5, "thresholds": Thresholds(start_score=0.5, min_iou=0.1, box_buffer=0)}
Box = tuple[float, float, float, float]


def _walk(x: float, n: int = 10) -> dict[int, Box]:
    return {t: (x + 2 * t, 0.0, x + 2 * t + 10, 30.0) for t in range(n)}


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


def test_two_apart_are_linked_alike_in_both_directions() -> None:
    rows = [np.array([_walk(0)[t], _walk(100)[t]]) for t in range(10)]
    scores, time_s = [np.ones(2)] * 10, [t / 10 for t in range(10)]
    backward = backward_links(rows, scores, time_s, **SURE)
    forward = chains(rows, scores, time_s, **SURE)
    assert [link_kinds(chain, crowded(rows), backward) for chain in forward] == [[(False, False)] * 9] * 2
    assert ((0, 0), (1, 0)) in backward
    assert all(a[0] < b[0] for a, b in backward)


def test_boxes_that_overlap_are_crowded_and_links_that_only_one_direction_makes_are_doubted() -> None:
    near = np.array([_walk(0)[0], _walk(5)[0], _walk(100)[0]])
    assert crowded([near])[0].tolist() == [True, True, False]
    assert link_kinds([(0, 2), (1, 2)], crowded([near, near]), set()) == [(False, True)]
    assert link_kinds([(0, 0), (1, 2)], crowded([near, near]), {((0, 0), (1, 2))}) == [(True, False)]


def test_boxes_belong_to_the_subject_they_cover() -> None:
    truth = {7: _walk(0), 9: _walk(100)}
    boxes = np.array([_walk(100)[3], (500.0, 0.0, 510.0, 30.0), _walk(1)[3]])
    assert owner_of(boxes, 3, truth) == {0: 9, 2: 7}
    assert owner_of(boxes[:0], 3, truth) == {}


def test_risks_come_from_the_other_cameras() -> None:
    sure, doubted = (False, False), (True, True)
    rows = [Judged("a", "detector", "x", (sure, doubted), (False, True))] * 9 + [
        Judged("b", "detector", "x", (sure, sure), (False, False)),
        Judged("b", "detector", "x", (sure, doubted), (False, True)),
    ]
    rates = smoothed(rates_of(rows[:9]))
    assert rates[sure] == pytest.approx(0.05)
    assert rates[doubted] == pytest.approx(0.95)
    assert switch_risk((sure, doubted), rates) == pytest.approx(1 - 0.95 * 0.05)
    by_camera = held_out_risks(rows)
    assert by_camera[-2:] == [(pytest.approx(1 - 0.95**2), False), (pytest.approx(1 - 0.95 * 0.05), True)]
    lines, data = calibration(rows)
    assert "| no | no | 12 | 0 | 0.0000 |" in lines
    assert sum(row["tracks"] for row in data["reliability"]) == 11
