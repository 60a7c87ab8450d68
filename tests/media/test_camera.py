"""The camera's motion is told from the subject's, or not at all."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from stages.algorithms.camera import (
    IDENTITY,
    GlobalMotion,
    as_matrix,
    chain,
    global_motion,
    mean_shift_px,
    measure_camera,
    step_speed,
)

HEIGHT_PX, WIDTH_PX = 144, 256


def texture(seed: int = 0, levels: float = 25.0) -> np.ndarray:
    """A large grey texture of a standard deviation of `levels`."""
    noise = np.random.default_rng(seed).normal(size=(500, 800)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip(120 + smooth / smooth.std() * levels, 0, 255).astype(np.uint8)


def view(scene_HW: np.ndarray, x: int, y: int) -> np.ndarray:
    return scene_HW[y : y + HEIGHT_PX, x : x + WIDTH_PX].copy()


def with_box(grey_HW: np.ndarray, x: int, y: int, width: int = 100, height: int = 100) -> np.ndarray:
    """A box of strong shapes, which dominates the picture."""
    board = np.kron(np.indices((10, 10)).sum(axis=0) % 2, np.ones((height // 10, width // 10))) * 255
    grey_HW[y : y + height, x : x + width] = board.astype(np.uint8)
    return grey_HW


def is_static(motion: GlobalMotion) -> bool:
    return motion.is_known and motion.affine == IDENTITY


@pytest.mark.parametrize("levels", [2.0, 25.0], ids=["faint", "strong"])
def test_subject_before_a_still_background(levels: float) -> None:
    scene_HW = texture(levels=levels)
    motion = global_motion(with_box(view(scene_HW, 50, 50), 30, 20), with_box(view(scene_HW, 50, 50), 50, 30))
    assert is_static(motion)
    assert motion.affine == IDENTITY


@pytest.mark.parametrize("levels", [2.0, 25.0], ids=["faint", "strong"])
@pytest.mark.parametrize(("dx", "dy"), [(4, 0), (-7, 3), (1, 1), (20, -9)])
def test_pan_gives_its_translation(dx: int, dy: int, levels: float) -> None:
    scene_HW = texture(levels=levels)
    motion = global_motion(view(scene_HW, 100, 100), view(scene_HW, 100 + dx, 100 + dy))
    assert motion.is_known
    assert not is_static(motion)
    assert motion.affine == pytest.approx((1, 0, dx, 0, 1, dy), abs=0.1)


def test_pan_with_a_subject_that_stays_in_the_middle() -> None:
    scene_HW = texture(levels=4)
    motion = global_motion(with_box(view(scene_HW, 100, 100), 90, 30), with_box(view(scene_HW, 106, 100), 90, 30))
    assert not is_static(motion)
    assert motion.affine == pytest.approx((1, 0, 6, 0, 1, 0), abs=0.2)


def test_zoom_is_motion() -> None:
    before_HW = view(texture(), 100, 100)
    zoom = cv2.getRotationMatrix2D((WIDTH_PX / 2, HEIGHT_PX / 2), 0, 1.05)
    motion = global_motion(before_HW, cv2.warpAffine(before_HW, zoom, (WIDTH_PX, HEIGHT_PX)))
    assert motion.is_known
    assert motion.affine[0] == pytest.approx(1 / 1.05, abs=0.01)
    speed = step_speed(motion, (HEIGHT_PX, WIDTH_PX), 0.2)
    assert speed is not None
    assert speed > 0.05


def test_letterbox_does_not_make_a_pan_static() -> None:
    scene_HW = texture()
    frames = [view(scene_HW, 100, 100), view(scene_HW, 105, 100)]
    for frame_HW in frames:
        frame_HW[:30] = frame_HW[-30:] = 16
    motion = global_motion(*frames)
    assert motion.affine == pytest.approx((1, 0, 5, 0, 1, 0), abs=0.2)


def test_burnt_in_title_does_not_make_a_pan_static() -> None:
    scene_HW = texture()
    frames = [view(scene_HW, 100, 100), view(scene_HW, 105, 100)]
    for frame_HW in frames:
        cv2.putText(frame_HW, "SEASON 2", (20, 130), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    assert not is_static(global_motion(*frames))


def plain(*boxes: tuple[int, int]) -> np.ndarray:
    grey_HW = np.full((HEIGHT_PX, WIDTH_PX), 90, np.uint8)
    for index, (x, y) in enumerate(boxes):
        cv2.rectangle(grey_HW, (x, y), (x + 24, y + 20), 200 - 60 * index, -1)
    return grey_HW


def test_plain_background_with_one_subject_is_static_by_rule() -> None:
    assert is_static(global_motion(plain((40, 40)), plain((47, 40))))


def test_plain_background_with_subjects_that_disagree_is_static() -> None:
    assert is_static(global_motion(plain((40, 40), (150, 90)), plain((47, 40), (144, 85))))


def test_plain_background_where_everything_moves_alike_is_a_pan() -> None:
    motion = global_motion(plain((40, 40), (150, 90), (200, 20)), plain((45, 40), (155, 90), (205, 20)))
    assert motion.affine == pytest.approx((1, 0, -5, 0, 1, 0), abs=0.2)


def test_another_picture_is_unknown() -> None:
    motion = global_motion(view(texture(1), 0, 0), view(texture(2), 0, 0))
    assert not motion.is_known
    assert motion.affine == IDENTITY
    assert step_speed(motion, (HEIGHT_PX, WIDTH_PX), 0.2) is None


def test_path_leads_back_to_frame_0() -> None:
    scene_HW = texture()
    offsets = [(100, 100), (100, 100), (104, 100), (104, 103), (110, 103)]
    frames = [view(scene_HW, x, y) for x, y in offsets]
    path = chain([global_motion(a, b).affine for a, b in pairwise(frames)])
    assert path[0] == path[1] == IDENTITY
    for affine, (x, y) in zip(path, offsets, strict=True):
        assert affine == pytest.approx((1, 0, x - 100, 0, 1, y - 100), abs=0.3)
    last_HW = view(scene_HW, *offsets[-1])
    laid_HW = cv2.warpAffine(last_HW, as_matrix(path[-1]), (WIDTH_PX, HEIGHT_PX))
    error_HW = cv2.absdiff(laid_HW, view(scene_HW, 100, 100))[10:-10, 20:-20]
    assert error_HW.mean() < 4


def test_same_frames_give_the_same_numbers() -> None:
    frames = view(texture(), 100, 100), view(texture(), 109, 96)
    assert global_motion(*frames) == global_motion(*frames)


@pytest.mark.parametrize(
    ("speeds", "verdict"),
    [
        ([0.0] * 10, ("static", 0.0)),
        ([0.0] * 9 + [0.5], ("static", 0.0)),
        ([0.0] * 8 + [0.5, 0.5], ("moving", 0.0)),
        ([0.02] * 4, ("moving", 0.02)),
        ([None, None, None, 0.5], ("unknown", 0.5)),
        ([None] * 3, ("unknown", None)),
        ([], ("unknown", None)),
    ],
)
def test_verdict(speeds: list[float | None], verdict: tuple[str, float | None]) -> None:
    assert measure_camera(speeds) == verdict


def test_shift_of_a_translation() -> None:
    assert mean_shift_px((1, 0, 3, 0, 1, 4), (100, 200)) == pytest.approx(5)


def test_frames_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        global_motion(np.zeros((10, 10), np.uint8), np.zeros((10, 12), np.uint8))


def test_sparse_faint_grid_behind_a_moving_disc_is_static() -> None:
    frames = []
    for x in (60, 75):
        grey_HW = np.full((256, 256), 38, np.uint8)
        grey_HW[::32] = grey_HW[:, ::32] = 52
        frames.append(cv2.circle(grey_HW, (x, 180), 33, 210, -1))
    assert is_static(global_motion(*frames))
