"""Rules of following by masks, with a segmenter whose answers are known."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from schemas.clip import Box, Detection
from stages.algorithms.mask_tracks import (
    MIN_MASK_PX,
    Mask,
    TooManyMasks,
    followed,
    observation,
    unknown,
    without_specks,
)
from tests.fake_segmenter import SIZE_HW, FakeSession, Truth, filled

N = 20
WALKER: Truth = [(5.0 + 5 * t, 20.0, 25.0 + 5 * t, 50.0) for t in range(N)]
STANDER: Truth = [(100.0, 60.0, 130.0, 85.0)] * N
# Out of view from frame 6 to 11, then back at another place.
GUEST: Truth = [(10.0, 55.0, 30.0, 85.0)] * 6 + [None] * 6 + [(60.0, 55.0, 80.0, 85.0)] * 8


def _detection(frame: int, box: Box, label: str = "person") -> Detection:
    return Detection(frame=frame, box_xyxy_px=box, label=label, score=0.8, rgb=(0, 0, 0), fill=0, outline=0)


def _prompts(*truths: Truth, at: Sequence[int] = range(N), label: str = "person") -> Mapping[int, list[Detection]]:
    return {t: [_detection(t, box, label) for truth in truths if (box := truth[t]) is not None] for t in at}


def _follow(session: FakeSession, prompts: Mapping[int, Sequence[Detection]]) -> list[tuple[Detection, ...]]:
    frames = np.zeros((N, *SIZE_HW, 3), np.uint8)
    frames[:, :, 90:] = 200
    return followed(session, frames, prompts, max_masks=9)


def _frames(subject: Sequence[Detection]) -> list[int]:
    return [d.frame for d in subject]


def test_a_box_becomes_masks_and_masks_become_boxes() -> None:
    session = FakeSession([WALKER, STANDER])
    walker, stander = _follow(session, _prompts(WALKER, STANDER, at=[0]))
    assert [d.box_xyxy_px for d in walker] == list(WALKER)
    assert [d.box_xyxy_px for d in stander] == list(STANDER)
    assert stander[0].rgb == (200, 200, 200)
    assert (stander[0].fill, stander[0].score, stander[0].label) == (1.0, 0.9, "person")
    assert session.calls[0] == ("begin", 0, (0, 1))  # nothing is stepped before something was begun
    assert session.calls[1:] == [("step", t, (0, 1)) for t in range(1, N)]


def test_a_detection_that_overlaps_a_living_mask_begins_nothing() -> None:
    session = FakeSession([WALKER])
    shifted = {t: [_detection(t, (x1 + 4, y1, x2 + 4, y2))] for t, (x1, y1, x2, y2) in enumerate(filter(None, WALKER))}
    assert len(_follow(session, shifted)) == 1
    assert [call for call in session.calls if call[0] == "begin"] == [("begin", 0, (0,))]


def test_a_detection_elsewhere_or_of_another_label_begins_a_subject() -> None:
    living = {0: _detection(3, (10, 10, 30, 50))}
    near, far = _detection(3, (12, 10, 32, 50)), _detection(3, (60, 10, 80, 50))
    assert unknown([near, far], living) == [far]
    rider = _detection(3, (10, 10, 30, 50), "bicycle")
    assert unknown([rider], living) == [rider]
    late = _follow(FakeSession([WALKER, STANDER]), {0: _prompts(WALKER)[0], 7: _prompts(STANDER)[7]})
    assert [_frames(subject)[0] for subject in late] == [0, 7]


def test_who_leaves_and_comes_back_keeps_the_number() -> None:
    (guest,) = _follow(FakeSession([GUEST]), _prompts(GUEST, at=[0]))
    assert _frames(guest) == [*range(6), *range(12, N)]


@pytest.mark.parametrize("late", [1, 3])
def test_who_comes_back_keeps_the_number_though_a_detection_was_faster(late: int) -> None:
    session = FakeSession([GUEST, STANDER], late=late)
    guest, stander = _follow(session, _prompts(GUEST, STANDER))
    assert [call for call in session.calls if call[0] == "begin"] == [("begin", 0, (0, 1)), ("begin", 12, (2,))]
    assert _frames(guest) == [*range(6), *range(12, N)]
    assert guest[-1].box_xyxy_px == GUEST[-1]
    assert len(stander) == N


def test_a_newcomer_at_another_place_is_no_return() -> None:
    first: Truth = [*GUEST[:6], *[None] * (N - 6)]
    second: Truth = [None] * 12 + list(GUEST[12:])
    one, other = _follow(FakeSession([first, second]), _prompts(first, second))
    assert (_frames(one), _frames(other)) == ([*range(6)], [*range(12, N)])


def test_two_masks_that_fall_on_one_thing_are_the_older_ones() -> None:
    # The second one walks up to the first and its mask jumps onto it: from frame 10 on both show the same.
    other: Truth = [
        (60.0 + 4 * t, 60.0, 90.0 + 4 * t, 85.0) if t < 10 else (100.0, 60.0, 130.0, 85.0) for t in range(N)
    ]
    prompts = {0: [_detection(0, (100, 60, 130, 85)), _detection(0, (60, 60, 90, 85))]}
    stander, walker = _follow(FakeSession([STANDER, other]), prompts)
    assert len(stander) == N
    assert _frames(walker) == [*range(8)]  # from frame 8 on they overlap by more than half


def test_specks_and_empty_masks_are_no_boxes() -> None:
    frame = np.zeros((*SIZE_HW, 3), np.uint8)
    mask = filled((20, 20, 40, 60))
    mask[5:7, 100:103] = True  # a speck: 6 of 806 pixels
    assert without_specks(mask).sum() == 800
    found = observation(3, Mask(mask, 0.7), frame, "car")
    assert found is not None
    assert (found.box_xyxy_px, found.frame, found.score) == ((20, 20, 40, 60), 3, 0.7)
    mask[20:40, 50:60] = True  # what a pole leaves on its other side: a fifth
    both = observation(3, Mask(mask, 0.7), frame, "car")
    assert both is not None
    assert both.box_xyxy_px == (20, 20, 60, 60)
    assert both.fill == pytest.approx(1000 / 1600)
    assert observation(3, Mask(filled(None), 0.7), frame, "car") is None
    assert observation(3, Mask(filled((0, 0, 5, 3)), 0.7), frame, "car") is None
    assert 15 < MIN_MASK_PX <= 16


def test_what_is_lost_and_begun_again_for_ever_ends() -> None:
    nothing: Truth = [None] * N  # the segmenter sees nothing where the detector sees somebody
    with pytest.raises(TooManyMasks, match="10 masks are begun by frame 9 > 9"):
        _follow(FakeSession([nothing]), _prompts(STANDER))
