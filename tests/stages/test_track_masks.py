"""Tracks by masks: who is a subject, what confirms it, and who it is after coming back."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from schemas.clip import Box, DetectedClip, Detection, TrackedClip
from schemas.outcome import Reason, Skip
from stages.algorithms.camera import IDENTITY
from stages.models.expert_weights import find_weights
from stages.track_masks import MaskSight, TrackMasks
from tests.fake_segmenter import SIZE_HW, FakeSegmenter, FakeSession, Truth
from tests.models import tiny_detectors, tiny_sam2
from tests.scenes import Film, clip_of

N = 20
STANDER: Truth = [(100.0, 60.0, 130.0, 85.0)] * N
GUEST: Truth = [(10.0, 55.0, 30.0, 85.0)] * 6 + [None] * 6 + [(60.0, 55.0, 80.0, 85.0)] * 8


class FakeFrames:
    """A store that holds grey frames."""

    def load(self, clip: object) -> np.ndarray:
        return np.full((N, *SIZE_HW, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_sam2.write(tmp_path_factory.mktemp("sam2") / "tiny"))


def _clip(found: dict[int, list[Box]], score: float = 0.8, detector: str = "onnx/given@0") -> DetectedClip:
    """Detections in an upright frame twice as large as what the store holds."""
    film = Film(frames_THWC=np.zeros((N, *SIZE_HW, 3), np.uint8), boxes=[], fps=10)
    seen = tuple(
        Detection(frame=t, box_xyxy_px=_twice(box), label="car", score=score, rgb=(0, 0, 0), fill=0, outline=0)
        for t, boxes in sorted(found.items())
        for box in boxes
    )
    return clip_of(film, camera="static", scale=2).extend(
        DetectedClip, detections=seen, camera_path=(IDENTITY,) * N, detector=detector
    )


def _twice(box: Box) -> Box:
    return box[0] * 2, box[1] * 2, box[2] * 2, box[3] * 2


def _found(*truths: Truth, at: Sequence[int] = range(N)) -> dict[int, list[Box]]:
    return {t: [box for truth in truths if (box := truth[t]) is not None] for t in at}


def _track(stage: TrackMasks, clip: DetectedClip, *truths: Truth) -> TrackedClip | Skip:
    sight = MaskSight(FakeFrames(), FakeSegmenter(FakeSession(truths)))  # type: ignore[arg-type]
    return stage.process(sight, [clip])[0]


def _tracked(stage: TrackMasks, clip: DetectedClip, *truths: Truth) -> TrackedClip:
    row = _track(stage, clip, *truths)
    assert isinstance(row, TrackedClip), row
    return row


def test_tracks_are_in_pixels_of_the_upright_frame_and_say_who_made_them(folder: str) -> None:
    row = _tracked(TrackMasks(model=folder), _clip(_found(GUEST, STANDER)), GUEST, STANDER)
    guest, stander = row.tracks
    assert [o.frame for o in guest.observations] == [*range(6), *range(12, N)]
    assert guest.observations[-1].box_xyxy_px == (120, 110, 160, 170)
    assert [o.box_xyxy_px for o in stander.observations] == [(200, 120, 260, 170)] * N
    assert (guest.track_id, stander.track_id, row.rejected) == (1, 2, 0)
    assert (guest.label, guest.agreement, guest.switch_risk) == ("car", 1.0, None)
    assert row.tracker.startswith("sam2/tiny@")
    assert "(apache-2.0; transformers " in row.tracker


def test_what_the_detector_mostly_denies_is_no_subject(folder: str) -> None:
    # Seen by the detector in the first five frames of twenty; the mask stays on for ever.
    ghost = _found(STANDER, at=range(5))
    row = _track(TrackMasks(model=folder), _clip(ghost | {t: [] for t in range(5, N)}), STANDER)
    assert row == Skip(Reason.NO_SUBJECT, "1 masks: 1 unconfirmed")
    most = _tracked(TrackMasks(model=folder), _clip(_found(STANDER, at=range(12))), STANDER)
    assert most.tracks[0].agreement == pytest.approx(12 / 20)


def test_key_frames_prompt_and_confirm(folder: str) -> None:
    rare = _found(STANDER, at=range(0, N, 5))  # each half second, as a detector that is asked so often
    row = _track(TrackMasks(model=folder), _clip(rare), STANDER)
    assert row == Skip(Reason.NO_SUBJECT, "1 masks: 1 unconfirmed")
    row = _tracked(TrackMasks(model=folder, key_s=0.5), _clip(rare), STANDER)
    assert (row.tracks[0].agreement, len(row.tracks[0].observations)) == (1.0, N)
    late = _found(STANDER, at=[7, 8, 9, 10, 15])
    row = _tracked(TrackMasks(model=folder, key_s=0.5), _clip(late), STANDER)
    assert row.tracks[0].observations[0].frame == 10  # the first key frame at which it is found


def test_faint_and_short_ones_are_none(folder: str) -> None:
    faint = _track(TrackMasks(model=folder), _clip(_found(STANDER), score=0.4), STANDER)
    assert faint == Skip(Reason.NO_SUBJECT, "no mask was begun")
    brief: Truth = [*STANDER[:4], *[None] * (N - 4)]
    row = _track(TrackMasks(model=folder), _clip(_found(brief)), brief)
    assert row == Skip(Reason.NO_SUBJECT, "1 masks: 1 short")


def test_boxes_of_the_motion_expert_are_refused(folder: str) -> None:
    with pytest.raises(ValueError, match=r"set detect\.expert to onnx or hf"):
        _track(TrackMasks(model=folder), _clip(_found(STANDER), detector="motion/1"), STANDER)


def test_another_model_is_refused_when_the_recipe_is_read(tmp_path: Path, folder: str) -> None:
    other = str(tiny_detectors.write(tmp_path / "detector", "rt_detr"))
    with pytest.raises(ValueError, match="is a rt_detr model; supported is sam2_video"):
        TrackMasks(model=other)
    with pytest.raises(ValueError, match="key_s=-1 is no time"):
        TrackMasks(model=folder, key_s=-1)
    bare = str(tiny_sam2.write(tmp_path / "bare", card=""))
    with pytest.raises(ValueError, match=r"licence: .* is not guessed"):
        TrackMasks(model=bare)


def test_a_plan_knows_the_weights_wherever_they_lie(tmp_path: Path, folder: str) -> None:
    moved = tiny_sam2.write(tmp_path / "tiny")
    assert TrackMasks(model=str(moved)).fingerprint == TrackMasks(model=folder).fingerprint
    (moved / "model.safetensors").write_bytes(b"others")
    find_weights.cache_clear()
    assert TrackMasks(model=str(moved)).fingerprint != TrackMasks(model=folder).fingerprint


def test_the_real_class_runs_in_the_stage(folder: str, tmp_path: Path) -> None:
    """Random weights give any masks, so only that each outcome is a row or a Skip, and the same twice."""
    stage = TrackMasks(model=folder, key_s=1.0, store_dir=str(tmp_path / "store"))
    clip = _clip(_found(GUEST, STANDER))
    loaded = stage.open()
    sight = replace(loaded, frames=FakeFrames())  # type: ignore[arg-type]
    stage.close(loaded)
    one, other = (stage.process(sight, [clip])[0] for _ in range(2))
    assert one == other
    assert isinstance(one, (TrackedClip, Skip))


def test_a_clip_that_begins_too_many_masks_is_left_out(folder: str) -> None:
    nothing: Truth = [None] * N
    row = _track(TrackMasks(model=folder, max_masks=5), _clip(_found(STANDER)), nothing)
    assert isinstance(row, Skip)
    assert (row.reason, row.detail[:37]) == (Reason.OVER_BUDGET, "6 masks are begun by frame 5 > 5: rai")
