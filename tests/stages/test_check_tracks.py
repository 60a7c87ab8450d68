"""A second detector about tracks: what its boxes come to, and where it says nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.clip import Box, Detection, Track, TrackedClip
from stages.algorithms.camera import IDENTITY
from stages.check_tracks import CheckTracks
from stages.models.named_detector import Sight
from tests.models.tiny_onnx import write, write_labels
from tests.scenes import Film, clip_of

PERSON: Box = (160.0, 120.0, 240.0, 160.0)  # a red cell of tests/models/tiny_onnx.py, in an upright frame of 640 x 320
CAR: Box = (480.0, 0.0, 560.0, 40.0)
PLANNED = (0, 4, 8)


class FakeFrames:
    """A store that holds the planned frames of one film."""

    def __init__(self, frames_THWC: np.ndarray) -> None:
        self._frames_THWC = frames_THWC

    def plan(self, clip: object) -> np.ndarray:
        return self._frames_THWC


@pytest.fixture
def stage(tmp_path: Path) -> CheckTracks:
    model, anchors = write(tmp_path)
    return CheckTracks(
        expert="onnx", model=str(model), anchors=str(anchors), labels=str(write_labels(tmp_path)), pixels=(0.0, 1.0),
        store_dir=str(tmp_path / "store"), licence="mit",
    )  # fmt: skip


def _frames() -> np.ndarray:
    """The person is there at the first and the last planned frame, the car never."""
    frames_THWC = np.full((3, 160, 320, 3), 80, np.uint8)
    frames_THWC[[0, 2], 60:80, 80:120] = (255, 0, 0)
    return frames_THWC


def _clip(*tracks: tuple[str, Box, range]) -> TrackedClip:
    film = Film(frames_THWC=np.zeros((10, 160, 320, 3), np.uint8), boxes=[], fps=10)
    made = tuple(
        Track(
            track_id=number,
            label=label,
            observations=tuple(
                Detection(frame=t, box_xyxy_px=box, label=label, score=0.9, rgb=(0, 0, 0), fill=0, outline=0)
                for t in frames
            ),
        )
        for number, (label, box, frames) in enumerate(tracks, 1)
    )
    return replace(clip_of(film, camera="static", scale=2), plan_index=PLANNED).extend(
        TrackedClip, detections=(), camera_path=(IDENTITY,) * 10, detector="onnx/first@0", tracks=made, rejected=0,
        tracker="given",
    )  # fmt: skip


def _check(stage: CheckTracks, clip: TrackedClip) -> TrackedClip:
    loaded = stage.open()
    sight = Sight(FakeFrames(_frames()), loaded.detector)  # type: ignore[arg-type]
    stage.close(loaded)
    (row,) = stage.process(sight, [clip])
    assert replace(row, checker=None, tracks=clip.tracks) == clip
    return row


def test_a_track_has_the_share_of_planned_frames_at_which_the_second_detector_sees_it(stage: CheckTracks) -> None:
    clip = _clip(
        ("person", PERSON, range(10)),
        ("person", PERSON, range(6, 10)),
        ("car", CAR, range(10)),
        ("car", PERSON, range(10)),
    )
    row = _check(stage, clip)
    assert [t.agreement for t in row.tracks] == pytest.approx([2 / 3, 1, 0, 0])
    assert row.checker is not None
    assert row.checker.startswith("onnx/cells@")
    assert "(mit; onnxruntime " in row.checker


def test_it_says_nothing_of_what_it_cannot_judge(stage: CheckTracks) -> None:
    clip = _clip(("person", PERSON, range(1, 4)), ("dog", PERSON, range(10)), ("", PERSON, range(10)))
    assert [t.agreement for t in _check(stage, clip).tracks] == [None, None, None]
    unknown = _clip(("dog", PERSON, range(10)))
    assert _check(stage, unknown).tracks[0].agreement is None


def test_the_motion_expert_is_no_second_opinion() -> None:
    with pytest.raises(ValueError, match="motion has no labels to agree on"):
        CheckTracks()


def test_the_second_detector_is_in_the_fingerprint(stage: CheckTracks) -> None:
    changed: dict[str, Any] = {"score": 0.4}
    assert replace(stage, **changed).fingerprint != stage.fingerprint
    assert replace(stage, store_dir="elsewhere").fingerprint == stage.fingerprint
