"""The numbers of pictures whose worth is known."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from stages.algorithms.quality import black_share, frozen_share, luminance, motion, sharpness, small_greys
from stages.algorithms.quality_text import text_share
from tests.scenes import render

FILM = render([], seconds=3, fps=10, pan_px_s=(32, 0), noise=0).frames_THWC
GREYS = small_greys(FILM)


def edges(n_frames: int, fps: float = 10) -> list[float]:
    return [t / fps for t in range(n_frames + 1)]


def test_frames_are_reduced_to_one_size_and_never_enlarged() -> None:
    assert GREYS.shape == (30, 144, 256)
    assert small_greys(FILM[:2, :60, :80]).shape == (2, 60, 80)


def test_motion_is_that_of_the_camera_whatever_the_rate() -> None:
    diagonals_s = 32 / np.hypot(320, 180)
    assert motion(GREYS, edges(30)) == pytest.approx(diagonals_s, rel=0.1)
    assert motion(GREYS[::2], edges(15, 5)) == pytest.approx(diagonals_s, rel=0.1)
    assert motion(np.repeat(GREYS[:1], 9, axis=0), edges(9)) < 0.01 * diagonals_s
    assert motion(GREYS[:1], edges(1)) == 0


def test_a_blurred_film_is_less_sharp() -> None:
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 2.5) for frame in FILM])
    assert sharpness(small_greys(blurred)) < sharpness(GREYS) / 5


def test_luminance_and_its_spread_are_those_of_the_levels() -> None:
    halves = np.zeros((4, 10, 10), np.uint8)
    halves[:, :, 5:] = 255
    assert luminance(halves) == (0.5, 0.5)
    assert luminance(np.full((4, 10, 10), 51, np.uint8)) == (pytest.approx(0.2), 0)


@pytest.mark.parametrize(("level", "lit_px", "share"), [(20, 0, 1.0), (30, 0, 0.0), (20, 1, 1.0), (20, 3, 0.0)])
def test_a_black_frame_is_dark_nearly_everywhere(level: int, lit_px: int, share: float) -> None:
    greys = np.full((4, 10, 10), level, np.uint8)
    greys[:, 0, :lit_px] = 200
    assert black_share(greys) == share


def test_the_black_share_counts_frames() -> None:
    assert black_share(np.concatenate([GREYS[:9], np.zeros_like(GREYS[:3])])) == 0.25


def _held(first: int, last: int) -> np.ndarray:
    """The film, of which one frame is held."""
    return GREYS[[first if first <= t < last else t for t in range(len(GREYS))]]


def test_a_held_picture_is_frozen_for_as_long_as_it_is_held() -> None:
    assert frozen_share(GREYS, edges(30)) == 0
    assert frozen_share(_held(6, 18), edges(30)) == pytest.approx(0.4)
    assert frozen_share(_held(6, 10), edges(30)) == 0  # 0.4 s
    assert frozen_share(_held(0, 30), edges(30)) == pytest.approx(1)


@pytest.mark.parametrize("repeats", [[k * 24 // 30 for k in range(37)], [k // 2 for k in range(60)]])
def test_frames_that_are_repeated_for_another_rate_are_not_frozen(repeats: Sequence[int]) -> None:
    assert frozen_share(GREYS[list(repeats)], edges(len(repeats), 30)) == 0


def test_noise_is_frozen_and_a_slow_fade_or_a_small_thing_that_moves_is_not() -> None:
    still = np.repeat(GREYS[:1], 30, axis=0).astype(float)
    noisy = still + np.random.default_rng(0).normal(0, 2, still.shape)
    assert frozen_share(np.clip(noisy, 0, 255).astype(np.uint8), edges(30)) == pytest.approx(1)
    fading = still * np.linspace(1, 0, 30)[:, None, None]
    assert frozen_share(fading.astype(np.uint8), edges(30)) == 0
    thing = still.astype(np.uint8)
    for t in range(30):
        thing[t, 70:76, 20 + 2 * t : 26 + 2 * t] = 250
    assert frozen_share(thing, edges(30)) == 0


def _titled(frames_THWC: np.ndarray, step_px: int = 0) -> np.ndarray:
    frames = np.stack([cv2.resize(frame, (480, 270)) for frame in frames_THWC])
    for t, frame in enumerate(frames):
        cv2.putText(frame, "One or two words", (90 + t * step_px, 240), 0, 0.9, (255, 255, 255), 2, cv2.LINE_AA)
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])


def test_text_is_found_where_it_stays_and_its_area_is_that_of_its_box() -> None:
    text_WH, _ = cv2.getTextSize("One or two words", 0, 0.9, 2)
    box = text_WH[0] * text_WH[1] / (480 * 270)
    assert text_share(_titled(FILM[::4])) == pytest.approx(box, rel=0.4)
    assert text_share(_titled(FILM[::4], step_px=15)) == 0
    assert text_share(small_greys(FILM[::4])) == 0


def test_bars_and_lines_are_no_text() -> None:
    greys = np.full((8, 270, 480), 40, np.uint8)
    greys[:, 30:33] = 250
    greys[:, :, 100:103] = 250
    greys[:, 150:190, 200:300] = 250
    assert text_share(greys) == 0
