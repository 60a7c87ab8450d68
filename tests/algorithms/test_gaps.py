"""What is filled in between two observations: where, how far, and that it changes nothing that was seen."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from schemas.clip import Affine, Detection, Track
from stages.algorithms.camera import IDENTITY
from stages.algorithms.camera_path import inverted
from stages.algorithms.describe import Frame, trajectory
from stages.algorithms.gaps import filled

STEP_S = 0.1
FRAME = Frame(320, 180, 0.001)


def _seen(frames: Sequence[int], label: str = "car") -> list[Detection]:
    """A subject that goes 6 px a frame to the right and grows by 2."""
    return [
        Detection(
            frame=t, box_xyxy_px=(6.0 * t, 50.0, 6.0 * t + 40 + 2 * t, 90.0 + 2 * t), label=label, score=0.8,
            rgb=(220.0, 30.0, 30.0), fill=0.8, outline=0.9,
        )
        for t in frames
    ]  # fmt: skip


def _filled(track: Sequence[Detection], patience_s: float = 0.5, path: Sequence[Affine] = ()) -> tuple[Detection, ...]:
    return filled(track, [STEP_S * t for t in range(40)], path or [IDENTITY] * 40, patience_s=patience_s)


def test_a_gap_is_filled_on_the_line_and_marked() -> None:
    every, track = _seen(range(12)), [d for d in _seen(range(12)) if d.frame not in (4, 5, 6, 9)]
    found = _filled(track)
    assert [d.frame for d in found] == list(range(12))
    assert [d.frame for d in found if d.interpolated] == [4, 5, 6, 9]
    for one, truth in zip(found, every, strict=True):
        assert one.box_xyxy_px == pytest.approx(truth.box_xyxy_px)
        assert one.score == (0.0 if one.interpolated else 0.8)
        assert one.label == "car"
    assert [d for d in found if not d.interpolated] == track


def test_what_is_longer_than_the_patience_stays_open() -> None:
    track = [d for d in _seen(range(20)) if not 4 < d.frame < 9 and not 12 < d.frame < 18]
    assert _filled(track, 0.4) == tuple(track)
    assert [d.frame for d in _filled(track, 0.5) if d.interpolated] == [5, 6, 7, 8]
    assert [d.frame for d in _filled(track, 0.6) if d.interpolated] == [5, 6, 7, 8, 13, 14, 15, 16, 17]
    assert _filled(track[:1]) == tuple(track[:1])


def test_under_a_panning_camera_the_line_is_on_the_ground() -> None:
    # The camera goes 3 px a frame up to frame 5 and then stands; the subject stands on the ground throughout.
    path: list[Affine] = [(1.0, 0.0, 3.0 * min(t, 5), 0.0, 1.0, 0.0) for t in range(40)]
    seen = [
        replace(_seen([0])[0], frame=t, box_xyxy_px=(100 - path[t][2], 50.0, 140 - path[t][2], 90.0)) for t in (2, 8)
    ]
    found = _filled(seen, 1.0, path)
    assert [d.box_xyxy_px[0] for d in found] == pytest.approx([100 - path[t][2] for t in range(2, 9)])


def test_an_affine_and_its_inverse_are_nothing() -> None:
    a, b, tx, c, d, ty = inverted((1.1, 0.2, 30.0, -0.2, 1.1, -4.0))
    x, y = 1.1 * 7 + 0.2 * 9 + 30.0, -0.2 * 7 + 1.1 * 9 - 4.0
    assert (a * x + b * y + tx, c * x + d * y + ty) == pytest.approx((7, 9))


@pytest.mark.parametrize("label", ["car", ""])
def test_words_and_risks_of_what_was_seen_stay_and_moments_in_gaps_are_marked(label: str) -> None:
    seen = [d for d in _seen(range(20), label) if d.frame not in (6, 7, 8, 14)]
    ticks, path = [100 * t for t in range(40)], [IDENTITY] * 40

    def told(observations: Sequence[Detection]):
        return trajectory(Track(track_id=1, label=label, observations=tuple(observations)), ticks, path, FRAME)

    bare, full = told(seen), told(_filled(seen))
    assert replace(full, moments=tuple(m for m in full.moments if not m.interpolated)) == bare
    assert [m.tick for m in full.moments if m.interpolated] == [600, 700, 800, 1400]
    assert {m.action_risk for m in full.moments if m.interpolated} == {1.0}
    assert not any(m.interpolated for m in bare.moments)
