"""Copies of films are found, other films are not."""

from collections.abc import Callable
from itertools import permutations

import cv2
import numpy as np
import pytest

from stages.algorithms.near_duplicates import MIN_SIMILARITY, Print, fingerprint, near_duplicates, picture, similarity
from stages.algorithms.quality import small_greys
from tests.scenes import Shape, line, render

DISC = Shape(kind="disc", rgb=(220, 30, 30), size_px=50, place=line((60, 60), (60, 10)))
BACK = Shape(kind="disc", rgb=(220, 30, 30), size_px=50, place=line((250, 110), (-60, -10)))
FILM = render([DISC], seconds=3).frames_THWC
SAME_PLACE = render([BACK], seconds=3).frames_THWC
ELSEWHERE = render([DISC], seconds=3, seed=1).frames_THWC


def marks(frames_THWC: np.ndarray, length_s: float = 3.0) -> bytes:
    return fingerprint(small_greys(frames_THWC), list(np.linspace(0, length_s, len(frames_THWC) + 1)))


def cropped(share: float) -> np.ndarray:
    """Off the centre: most is taken from the left and the bottom."""
    height_px, width_px = FILM.shape[1:3]
    kept_y, kept_x = round(height_px * (1 - share)), round(width_px * (1 - share))
    return FILM[:, :kept_y, width_px - kept_x :]


def barred(top_px: int, left_px: int) -> np.ndarray:
    return np.pad(FILM, ((0, 0), (top_px, top_px), (left_px, left_px), (0, 0)))


COPIES: dict[str, Callable[[], np.ndarray]] = {
    "the same": lambda: FILM,
    "two thirds of the size": lambda: np.stack([cv2.resize(frame, (212, 120)) for frame in FILM]),
    "another rate": lambda: FILM[[k * 5 // 6 for k in range(36)]],
    "darker": lambda: (FILM * 0.8).astype(np.uint8),
    "mirrored": lambda: FILM[:, :, ::-1],
    "cropped by 5 %": lambda: cropped(0.05),
    "cropped by 20 %": lambda: cropped(0.2),
    "cropped by 10 % and mirrored": lambda: cropped(0.1)[:, :, ::-1],
    "bars above and below": lambda: barred(30, 0),
    "bars beside, mirrored": lambda: barred(0, 40)[:, :, ::-1],
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_in_either_order(copy: str) -> None:
    one, two = marks(FILM), marks(COPIES[copy]())
    assert min(similarity(one, two), similarity(two, one)) >= MIN_SIMILARITY


@pytest.mark.parametrize("other", [SAME_PLACE, ELSEWHERE, FILM[::-1], FILM[:, ::-1]])
def test_another_film_the_same_place_and_the_film_backwards_or_upside_down_are_no_copies(other: np.ndarray) -> None:
    assert similarity(marks(FILM), marks(other)) < 0.7


def test_pictures_without_anything_in_them_are_no_copies() -> None:
    black = np.zeros_like(FILM)
    assert similarity(marks(black), marks(black)) == 0


def test_where_nothing_moves_the_place_decides_and_a_still_is_no_copy_of_what_moves() -> None:
    still = np.repeat(FILM[:1], 30, axis=0)
    assert similarity(marks(still), marks(still[:, :, ::-1])) >= MIN_SIMILARITY
    assert similarity(marks(still), marks(np.repeat(ELSEWHERE[:1], 30, axis=0))) < 0.7
    assert similarity(marks(still), marks(FILM)) < 0.7


def test_a_fingerprint_is_the_means_of_eight_parts_of_the_time() -> None:
    levels = np.arange(1, 9, dtype=np.uint8) * 25
    # The last frame is shown for as long as the seven before it.
    greys = np.broadcast_to(levels[:, None, None], (8, 40, 40))
    parts = np.frombuffer(fingerprint(greys, [0, 1, 2, 3, 4, 5, 6, 7, 14]), np.uint8).reshape(8, 32, 32)
    assert parts[:, 0, 0].tolist() == [36, 79, 121, 164, 200, 200, 200, 200]
    assert (parts == parts[:, :1, :1]).all()


def test_bars_are_cut_off_and_a_dark_film_is_left_alone() -> None:
    greys = small_greys(FILM)
    height_px, width_px = greys.shape[1:]
    assert picture(greys) == (0, height_px, 0, width_px)
    assert picture(np.pad(greys, ((0, 0), (20, 20), (0, 9)), constant_values=16)) == (20, 20 + height_px, 0, width_px)
    dark = np.full((4, 50, 50), 10, np.uint8)
    assert picture(dark) == (0, 50, 0, 50)
    dark[:, 20:30] = 200  # a lamp in the night is no letterbox
    assert picture(dark) == (0, 50, 0, 50)


def _prints() -> list[Print]:
    return [
        Print("b", 3.0, marks(FILM), rank=(0,)),
        Print("a", 3.0, marks(FILM[:, :, ::-1]), rank=(1,)),
        Print("c", 3.1, marks(cropped(0.1)), rank=(0,)),
        Print("d", 3.0, marks(SAME_PLACE)),
        Print("e", 3.0, marks(ELSEWHERE)),
        Print("f", 3.5, marks(FILM)),  # lasts too long
    ]


def test_the_original_is_the_first_by_rank_then_by_id_in_any_order() -> None:
    prints = _prints()
    for order in list(permutations(range(len(prints))))[::97]:
        assert near_duplicates([prints[k] for k in order]) == {"a": "b", "c": "b"}


def test_an_original_is_no_copy_itself() -> None:
    chain = [Print(name, 3.0, marks(cropped(share))) for name, share in [("a", 0.0), ("b", 0.12), ("c", 0.24)]]
    found = near_duplicates(chain)
    assert found["b"] == "a"
    assert not set(found.values()) & set(found)


def test_no_clip_and_one_clip_have_no_copy() -> None:
    assert near_duplicates([]) == {}
    assert near_duplicates(_prints()[:1]) == {}
