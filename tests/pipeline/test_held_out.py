"""Truth of generated films: which frames a text needs and what order changes, on worlds made by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.held_out import Film, Text, frozen, held_out, texts
from pipeline.train.lessons import TICKS_A_SECOND, world_scene
from schemas.time import spread
from stages.algorithms.world import Leg, Shape, World

N = 8
SECONDS = 2.4
FORWARD, BACKWARD = tuple(range(N)), tuple(range(N))[::-1]


def _shape(*legs: Leg, start: tuple[float, float] = (0.2, 0.5), appears_s: float = 0.0, colour: str = "red") -> Shape:
    return Shape("circle", colour, "small", 0.085, start, legs, appears_s, SECONDS + 1)


def _film(*shapes: Shape) -> Film:
    world = World(shapes, SECONDS)
    ticks = tuple(range(0, int(SECONDS * TICKS_A_SECOND), TICKS_A_SECOND // 10))
    frames = [world.render(ticks[i] / TICKS_A_SECOND, 64) for i in spread(len(ticks), N)]
    return Film("film", world, world_scene(world, ticks, N), np.stack(frames))


def _text(film: Film, *kinds: str) -> Text:
    (found,) = [t for t in texts(film, np.random.default_rng(0)) if t.kind in kinds]
    return found


STILL = _film(_shape(Leg("still", 9.0, 0.0)))
RIGHT = _film(_shape(Leg("right", SECONDS, 0.6)))
LATE = _film(_shape(Leg("still", 9.0, 0.0), appears_s=1.0))


@pytest.mark.parametrize(
    ("film", "kinds", "needs_time"),
    [
        (STILL, ("static",), False), (RIGHT, ("static",), False), (LATE, ("static",), False),
        (RIGHT, ("shown",), False), (RIGHT, ("ends",), True), (RIGHT, ("dense",), True), (RIGHT, ("track",), True),
        (STILL, ("motion",), True), (LATE, ("appears",), True),
    ],
)  # fmt: skip
def test_what_one_frame_gives(film: Film, kinds: Sequence[str], needs_time: bool) -> None:
    assert _text(film, *kinds).needs_time is needs_time


def test_two_that_are_never_there_together_need_time_to_be_named() -> None:
    first = _shape(Leg("still", 9.0, 0.0))
    gone = Shape("circle", "red", "small", 0.085, (0.2, 0.5), first.legs, 0.0, 1.0)
    come = _shape(Leg("still", 9.0, 0.0), start=(0.8, 0.5), appears_s=1.4, colour="blue")
    text = _text(_film(gone, come), "static")
    assert text.say(_film(gone, come).scene) == "a small red circle, a small blue circle."
    assert text.needs_time


def test_ends_need_a_frame_at_the_first_place_and_one_at_the_last() -> None:
    first, last = _text(RIGHT, "ends").needs
    assert 0 in first
    assert 7 in last
    assert not first & last


def test_what_appears_needs_a_frame_before_and_one_after() -> None:
    caption, timeline = _text(LATE, "appears"), _text(LATE, "dense")
    seen = sorted(k - 1 for k in LATE.scene.seen(LATE.scene.tracks[0]))
    assert caption.needs[0] == frozenset(range(seen[0]))
    assert timeline.needs == (frozenset({seen[0] - 1}), frozenset({seen[0]}))


@pytest.mark.parametrize(
    ("film", "kinds", "order", "changes"),
    [
        (RIGHT, ("ends",), BACKWARD, True), (RIGHT, ("ends",), FORWARD, False),
        (RIGHT, ("static",), BACKWARD, False), (STILL, ("motion",), BACKWARD, False),
        (STILL, ("dense",), (3, 1, 0, 2, 7, 6, 5, 4), False), (LATE, ("dense",), BACKWARD, True),
        (RIGHT, ("dense",), BACKWARD, True), (STILL, ("track",), BACKWARD, False), (RIGHT, ("track",), BACKWARD, True),
    ],
)  # fmt: skip
def test_what_an_order_changes(film: Film, kinds: Sequence[str], order: Sequence[int], changes: bool) -> None:
    assert _text(film, *kinds).changes(film, order) is changes


@pytest.mark.parametrize("n_frames", [8, 32])
def test_films_have_the_frames_that_were_asked_for_and_are_the_same_again(n_frames: int) -> None:
    film, again = held_out(5, 3, n_frames), held_out(5, 3, n_frames)
    assert (film.n_frames, len(film.frames_THWC), len(film.times)) == (n_frames, n_frames, n_frames)
    assert (film.frames_THWC == again.frames_THWC).all()
    assert (frozen(film, 2) == film.frames_THWC[2]).all()
