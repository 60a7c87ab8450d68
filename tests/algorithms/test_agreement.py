"""How often a second detector finds what the first one tracked."""

from dataclasses import replace

import pytest

from schemas.clip import Box, Detection, Track
from stages.algorithms.agreement import agreement
from stages.algorithms.camera import IDENTITY
from stages.algorithms.describe import Frame, trajectory

BOX: Box = (10.0, 10.0, 30.0, 50.0)


def _track(frames: range, filled: tuple[int, ...] = ()) -> Track:
    seen = [
        Detection(
            frame=t, box_xyxy_px=BOX, label="car", score=0.9, rgb=(0, 0, 0), fill=0, outline=0, interpolated=t in filled
        )
        for t in frames
    ]
    return Track(track_id=1, label="car", observations=tuple(seen))


def test_the_share_is_of_the_checked_frames_at_which_the_track_was_seen() -> None:
    second = {
        0: [("car", BOX)],
        2: [("car", (12.0, 10.0, 32.0, 50.0)), ("person", BOX)],  # 36/44 of the box
        4: [("person", BOX)],  # there, by another name
        6: [("car", (20.0, 10.0, 40.0, 50.0))],  # a third
        40: [],  # the track was not seen
    }
    assert agreement(_track(range(10)), second) == pytest.approx(2 / 4)
    assert agreement(_track(range(10), filled=(4, 6)), second) == 1.0
    assert agreement(_track(range(20, 30)), second) is None
    assert agreement(_track(range(10)), {3: []}) == 0.0


def test_what_the_second_detector_denies_is_a_risk_of_all_that_is_told() -> None:
    track = _track(range(10))

    def risk(agreed: float | None) -> float:
        told = trajectory(replace(track, agreement=agreed), range(0, 1000, 100), [IDENTITY] * 10, Frame(320, 180, 1e-3))
        return told.risk

    assert (risk(None), risk(1.0)) == (0.0, 0.0)
    assert risk(0.25) == pytest.approx(0.75)
    assert risk(0.0) == 1.0
