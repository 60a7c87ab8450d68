"""The motion expert on arrays with known truth."""

import numpy as np
import pytest

from stages.algorithms.background import temporal_median
from stages.algorithms.camera import IDENTITY
from stages.algorithms.motion import FrameMotion, find_motion, roundness
from tests.scenes import Film, Shape, iou, line, render

RED = (220, 30, 30)
DISC = Shape(kind="disc", rgb=RED, size_px=36, place=line((-20, 60), (110, 10)))


def _static(film: Film) -> list[FrameMotion]:
    path = [IDENTITY] * len(film.frames_THWC)
    return find_motion(film.frames_THWC, path, step_s=1 / film.fps, min_area=0.001, is_moving=False)


@pytest.mark.parametrize("n", [1, 3, 5, 9, 25, 49])
def test_temporal_median_is_the_median(n: int) -> None:
    stack = np.random.default_rng(n).integers(0, 256, (n, 7, 11, 3), dtype=np.uint8)
    np.testing.assert_array_equal(temporal_median(list(stack)), np.median(stack, axis=0).astype(np.uint8))


@pytest.mark.parametrize(
    ("kind", "fill", "outline"), [("disc", 0.785, 1.0), ("square", 1.0, 0.785), ("triangle", 0.5, 0.6)]
)
def test_fill_and_outline_tell_shapes_apart(kind: str, fill: float, outline: float) -> None:
    shape = Shape(kind=kind, rgb=RED, size_px=44, place=line((40, 80), (80, 10)))
    blobs = [blob for frame in _static(render([shape])) for blob in frame.blobs]
    assert len(blobs) >= 28
    assert np.median([blob.fill for blob in blobs]) == pytest.approx(fill, abs=0.07)
    assert np.median([blob.outline for blob in blobs]) == pytest.approx(outline, abs=0.09)


def test_roundness_of_a_speck_is_unknown() -> None:
    assert roundness(np.array([[0, 0], [1, 0], [1, 1]])) == 0.0


def test_boxes_are_tight_and_colours_true() -> None:
    film = render([DISC])
    found = [(frame.blobs, boxes[0]) for frame, boxes in zip(_static(film), film.boxes, strict=True) if boxes[0]]
    assert all(len(blobs) == 1 for blobs, _ in found)
    assert np.median([iou(blobs[0].box_xyxy_px, box) for blobs, box in found]) >= 0.85
    assert np.median([blobs[0].rgb for blobs, _ in found], axis=0) == pytest.approx(RED, abs=6)


def test_a_subject_as_bright_as_the_ground_is_seen_by_its_colour() -> None:
    film = render([DISC])
    grey = film.frames_THWC.mean(axis=3)
    flat = np.repeat(np.full_like(grey, 120)[..., None], 3, axis=3).astype(np.uint8)
    disc = (film.frames_THWC[..., 0].astype(int) - film.frames_THWC[..., 1]) > 120
    flat[disc] = (180, 95, 85)  # the grey of 120
    blobs = _static(Film(frames_THWC=flat, boxes=film.boxes, fps=film.fps))
    assert [len(frame.blobs) for frame in blobs[3:]] == [1] * 27


@pytest.mark.parametrize("seconds", [4.0, 10.0])
def test_what_comes_and_stays_is_seen_while_it_stands(seconds: float) -> None:
    shape = Shape(kind="square", rgb=RED, size_px=40, place=line((40, 90), (100, 0), stop_s=1.2))
    film = render([shape], seconds=seconds)
    last = _static(film)[-1]
    assert len(last.blobs) == 1
    assert iou(last.blobs[0].box_xyxy_px, film.boxes[-1][0] or (0, 0, 1, 1)) >= 0.85


def test_what_stands_and_leaves_is_no_ghost() -> None:
    """It stands for 70 % of the clip, so that the median holds it."""

    def late(now_s: float) -> tuple[float, float]:
        return (60 + 130 * max(0.0, now_s - 3.5), 90)

    film = render([Shape(kind="square", rgb=RED, size_px=40, place=late)], seconds=5)
    frames = _static(film)
    assert [len(frame.blobs) for frame in frames] == [int(boxes[0] is not None) for boxes in film.boxes]
    scores = [iou(f.blobs[0].box_xyxy_px, b[0]) for f, b in zip(frames, film.boxes, strict=True) if b[0]]
    assert min(scores) > 0.7


def test_light_is_no_subject() -> None:
    assert all(not frame.blobs for frame in _static(render([], flicker=0.15)))
    flash = render([]).frames_THWC.copy()
    flash[10:13] = 255
    frames = _static(Film(frames_THWC=flash, boxes=[], fps=10))
    assert all(not frame.blobs for frame in frames)
    assert [t for t, frame in enumerate(frames) if frame.cover > 0.5] == [10, 11, 12]


def test_noise_is_no_subject() -> None:
    assert all(not frame.blobs for frame in _static(render([], noise=10.0)))
