"""Truth of generated films: which frames a text needs and what order changes, on worlds made by hand."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from pipeline.held_out import Film, Text, frozen, held_out, texts
from pipeline.shapes.lessons import TICKS_A_SECOND, world_scene
from schemas.time import spread
from stages.algorithms.world import Leg, Shape, World

N = 8
SECONDS = 2.4
FORWARD, BACKWARD = tuple(range(N)), tuple(range(N))[::-1]


def _shape(
    *legs: Leg,
    start: tuple[float, float] = (0.2, 0.5),
    appears_s: float = 0.0,
    disappears_s: float = SECONDS + 1,
    colour: str = "red",
) -> Shape:
    return Shape("circle", colour, "small", 0.085, start, legs, appears_s, disappears_s)


def _film(*shapes: Shape, n_frames: int = N) -> Film:
    """Planned frames of 8 are at .1, .4, .7, 1.0, 1.3, 1.6, 1.9, 2.2 s."""
    world = World(shapes, SECONDS)
    ticks = tuple(range(0, int(SECONDS * TICKS_A_SECOND), TICKS_A_SECOND // 10))
    frames = [world.render(ticks[i] / TICKS_A_SECOND, 64) for i in spread(len(ticks), n_frames)]
    return Film("film", world, world_scene(world, ticks, n_frames), np.stack(frames))


def _text(film: Film, *kinds: str) -> Text:
    (found,) = [t for t in texts(film, np.random.default_rng(0)) if t.kind in kinds]
    return found


STAY = Leg("still", 9.0, 0.0)
STILL = _film(_shape(STAY))
RIGHT = _film(_shape(Leg("right", SECONDS, 0.6)))
BEFORE_THE_PLAN = _film(_shape(Leg("right", SECONDS, 0.5), start=(0.32, 0.5)))  # at the left before the first frame
TURN = _film(_shape(Leg("right", 1.2, 0.4), Leg("down", 1.2, 0.4)))
LATE = _film(_shape(STAY, appears_s=1.0))  # seen in frames 3 to 7
GONE = _film(_shape(STAY, disappears_s=1.5))  # in 0 to 4
SHORT = _film(_shape(STAY, appears_s=1.0, disappears_s=1.8))  # in 3 to 5
WITNESS = _film(_shape(STAY, start=(0.8, 0.5), colour="blue"), _shape(STAY, appears_s=1.0))
CHANGE = _film(_shape(STAY, start=(0.8, 0.5), colour="blue", disappears_s=1.5), _shape(STAY, appears_s=1.0))


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


# The smallest sets that are enough when they are held. Of a timeline the borders between held frames must be the
# film's: two frames share what lies between them, the middle goes to the earlier one.
KNOWN = [
    (LATE, "appears", list(product(range(3), range(3, 8)))),
    (LATE, "dense", [(0, 4), (0, 5), (1, 3), (1, 4), (2, 3)]),
    (GONE, "appears", list(product(range(5), range(5, 8)))),
    (GONE, "dense", [(1, 7), (2, 6), (2, 7), (3, 5), (3, 6), (4, 5)]),
    (SHORT, "appears", list(product(range(3), range(3, 6), range(6, 8)))),
    (SHORT, "dense", [(0, 4, 6), (0, 4, 7), (0, 5, 6), (1, 3, 7), (1, 4, 6), (1, 4, 7), (2, 3, 7)]),
    (WITNESS, "appears", list(product(range(3), range(3, 8)))),
    (CHANGE, "appears", list(product(range(3), range(5, 8)))),  # one before both changes, one after both
    (CHANGE, "dense", [(0, 4, 5), (1, 3, 5), (1, 3, 6), (1, 4, 5), (2, 3, 5), (2, 3, 6)]),
    (RIGHT, "ends", list(product((0, 1), (6, 7)))),
    (BEFORE_THE_PLAN, "ends", [(0, 6), (0, 7)]),
    (STILL, "motion", [(k,) for k in range(8)]),
    (STILL, "dense", [(k,) for k in range(8)]),
]


@pytest.mark.parametrize(("film", "kind", "sets"), KNOWN)
def test_the_fewest_frames_that_are_enough_when_they_are_held(
    film: Film, kind: str, sets: Sequence[Sequence[int]]
) -> None:
    text = _text(film, kind)
    assert set(text.fewest(film)) == {frozenset(s) for s in sets}
    assert all(text.enough(film, s) for s in sets)
    assert text.enough(film, range(N))


def test_more_frames_can_tell_less_where_borders_must_be_right() -> None:
    text = _text(LATE, "dense")
    assert text.enough(LATE, (0, 5))
    assert not text.enough(LATE, (0, 1, 5))  # frame 3 is as near to 1 as to 5: it is a copy of 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda order: None,  # all is told by anything
        tuple,  # nothing is told but by all frames
        frozenset,
        lambda order: order[0],
        lambda order: (order[0] < 4, order[-1] < 4),  # a border one frame late
    ],
)
def test_a_wrong_truth_has_other_answers(wrong: Callable[[Sequence[int]], Hashable]) -> None:
    for film, kind, sets in KNOWN[:6]:
        assert set(replace(_text(film, kind), tells=wrong).fewest(film)) != {frozenset(s) for s in sets}


def test_single_pictures_and_held_films_are_two_truths() -> None:
    caption = _text(STILL, "motion")
    assert caption.needs_time  # one picture cannot tell stillness
    assert caption.enough(STILL, (4,))  # a film of it does


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"film/order: .* not known"):
        _text(TURN, "order").enough(TURN, (0, 7))
    with pytest.raises(ValueError, match="not known"):
        _text(RIGHT, "static").fewest(RIGHT)
    long = _film(_shape(STAY, appears_s=1.0), n_frames=13)
    with pytest.raises(ValueError, match=r"13 frames .* 12 at most"):
        _text(long, "dense").fewest(long)
