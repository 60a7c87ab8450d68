"""Boundaries of any detector become shots: nothing lost, nothing twice, no shot over a boundary."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenedetect import FrameTimecode
from scenedetect.detectors import ThresholdDetector

from stages.algorithms.shots import Boundary, fades, hard_cuts, spans, strides, transitions, united

N_FRAMES = 200
ANYWHERE = st.builds(
    lambda end, length: Boundary(end, min(end + length, N_FRAMES)),
    st.integers(0, N_FRAMES),
    st.one_of(st.just(0), st.integers(0, 40)),
)


def test_a_cut_and_a_transition_make_three_shots() -> None:
    boundaries = [Boundary(30, 30), Boundary(60, 75)]
    assert spans(100, boundaries) == [((0, 30), True), ((30, 60), True), ((60, 75), False), ((75, 100), True)]


def test_a_film_that_begins_and_ends_in_a_transition_has_no_empty_shots() -> None:
    assert spans(50, [Boundary(0, 5), Boundary(45, 50)]) == [((0, 5), False), ((5, 45), True), ((45, 50), False)]


@given(st.lists(ANYWHERE, max_size=12), st.integers(1, 30))
def test_every_frame_is_in_one_span_and_no_shot_holds_a_boundary(found: list[Boundary], shortest: int) -> None:
    one = united(found, shortest)
    pieces = spans(N_FRAMES, one)
    assert [k for (first, last), _ in pieces for k in range(first, last)] == list(range(N_FRAMES))
    for boundary in found:
        for (first, last), is_shot in pieces:
            if is_shot:
                assert boundary.start <= first or last <= boundary.end, f"{boundary} lies in shot {first}..{last}"
    assert all(after.end - before.start >= shortest for before, after in pairwise(one))


def test_what_several_detectors_found_of_one_cut_is_one_boundary() -> None:
    assert united([*hard_cuts([40, 90]), *hard_cuts([40, 92]), Boundary(85, 91)], 15) == [
        Boundary(40, 40),
        Boundary(85, 92),
    ]


def test_boundaries_that_are_far_enough_apart_stay_as_they_are() -> None:
    assert united(hard_cuts([15, 30, 45]), 15) == hard_cuts([15, 30, 45])
    assert united(hard_cuts([15, 29]), 15) == [Boundary(15, 29)]


def luminance(*levels: tuple[float, int]) -> np.ndarray:
    return np.concatenate([np.full(length, level) for level, length in levels]) / 255


def test_black_stretches_are_fades() -> None:
    film = luminance((80, 20), (11.9, 4), (12.1, 20), (0, 6))
    assert fades(film) == [Boundary(20, 24), Boundary(44, 50)]
    assert fades(film, black_level=13) == [Boundary(20, 50)]
    assert fades(luminance((80, 20))) == []


def test_black_is_what_the_librarys_detector_calls_black() -> None:
    """Its bias puts the cut at the first black frame (-1) or at the first after (1); no film that ends in black."""
    rng = np.random.default_rng(4)
    levels = np.repeat(rng.uniform(0, 40, 60), rng.integers(1, 9, 60))
    levels[-5:] = 90
    edges = []
    for bias in (-1.0, 1.0):
        detector = ThresholdDetector(min_scene_len=0, fade_bias=bias)
        frames = [np.full((2, 2, 3), level) for level in levels]
        edges.append(
            [c.frame_num for k, f in enumerate(frames) for c in detector.process_frame(FrameTimecode(k, 25.0), f)]
        )
    assert len(edges[0]) > 5
    assert fades(levels / 255) == [Boundary(end, start) for end, start in zip(*edges, strict=True)]


def marks(*at: tuple[int, float]) -> np.ndarray:
    values = np.zeros(40)
    for frame, value in at:
        values[frame] = value
    return values


def test_a_cut_is_marked_at_the_last_frame_of_the_old_shot() -> None:
    assert transitions(marks((9, 0.9)), marks((9, 0.8)), 0.5) == [Boundary(10, 10)]
    assert transitions(marks((9, 0.9)), marks((9, 0.8), (10, 0.8)), 0.5) == [Boundary(10, 11)]


def test_a_transition_is_all_frames_that_are_marked() -> None:
    many = marks(*((k, 0.7) for k in range(10, 20)))
    for middle in (0.6, 0.4):  # with and without a mark of the first kind
        assert transitions(marks((15, middle)), many, 0.5) == [Boundary(10, 20)]
    assert transitions(marks((15, 0.6)), many, 0.8) == []
    assert transitions(marks(), marks((15, 0.9)), 0.5) == []  # one frame of the second kind


def test_a_film_may_end_in_a_transition_but_not_in_a_cut() -> None:
    assert transitions(marks((39, 0.9)), marks(), 0.5) == []
    assert transitions(marks(), marks((37, 0.9), (38, 0.9), (39, 0.9)), 0.5) == [Boundary(37, 40)]


@pytest.mark.parametrize(
    ("ticks", "stride_ticks", "cuts"),
    [
        (range(0, 50000, 512), 12800, [25, 50, 75]),  # 25 fps, a second
        ([round(k * 100 / 3) for k in range(35)], 1000 / 3, [10, 20, 30]),  # 30 fps in rounded milliseconds
        (range(7000, 7000 + 512 * 30, 512), 12800, [25]),  # counted from the first frame, not from 0
        ([0, 100, 200, 5000, 5100], 1000, [3]),  # a gap of several strides is one cut
    ],
)
def test_strides(ticks: range | list[int], stride_ticks: float, cuts: list[int]) -> None:
    assert strides(list(ticks), stride_ticks) == hard_cuts(cuts)
