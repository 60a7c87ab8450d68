"""The signs of a track of more than one subject, on tracks whose signs are known by hand."""

import json
from collections.abc import Sequence
from dataclasses import astuple
from itertools import pairwise

import numpy as np
import pytest

from schemas.clip import Detection, Track
from stages.algorithms.camera import IDENTITY
from stages.algorithms.compose import compose
from stages.algorithms.describe import Frame, trajectory
from stages.algorithms.scene import Scene
from stages.algorithms.switches import WEIGHTS, Hindsight, Signs, crowded, signs, switch_risk

TIME_S = [t / 10 for t in range(40)]
QUIET = Signs(doubted=0.0, crowded=0.0, turn=0.0, recoloured=0.0)


def _at(frame: int, x: float, *, label: str = "person", grey: float = 50.0) -> Detection:
    box = (x, 10.0, x + 10.0, 50.0)  # own size: 20 px
    return Detection(frame=frame, box_xyxy_px=box, label=label, score=0.9, rgb=(grey,) * 3, fill=0.0, outline=0.0)


def _signs(track: Sequence[Detection], *, doubted: int = 0, others: Sequence[Detection] = ()) -> Signs:
    links = frozenset(list(pairwise(track))[doubted:])
    boxes = [d.box_xyxy_px for d in track]
    return signs(track, boxes, TIME_S, Hindsight(links, crowded([*track, *others])))


def _is_quiet(found: Signs) -> bool:
    return astuple(found) == pytest.approx(astuple(QUIET), abs=1e-9)


def test_a_straight_walk_has_no_signs() -> None:
    assert _is_quiet(_signs([_at(t, 3.0 * t) for t in range(30)]))
    assert _is_quiet(_signs([_at(t, 3.0 * t) for t in range(30) if t % 7]))  # unseen at times


def test_links_that_only_one_direction_makes_are_counted() -> None:
    assert _signs([_at(t, 3.0 * t) for t in range(30)], doubted=3).doubted == pytest.approx(np.log(4))


def test_time_in_a_crowd_of_the_same_label_is_counted() -> None:
    track = [_at(t, 3.0 * t) for t in range(30)]
    near = [_at(t, 3.0 * t + 5) for t in range(10, 20)]
    assert _signs(track, others=near).crowded == pytest.approx(np.log1p(1.0))
    assert _is_quiet(_signs(track, others=[_at(d.frame, d.box_xyxy_px[0], label="bicycle") for d in near]))
    assert _is_quiet(_signs(track, others=[_at(d.frame, d.box_xyxy_px[0] + 5) for d in near]))  # beside, not over


@pytest.mark.parametrize("size", [1.0, 0.25])
def test_who_turns_back_turns_most_at_any_size(size: float) -> None:
    track = [_at(t, 3.0 * t if t < 15 else 3.0 * (30 - t)) for t in range(30)]
    boxes = [tuple(size * v for v in d.box_xyxy_px) for d in track]
    found = signs(track, boxes, TIME_S, Hindsight(frozenset(pairwise(track)), frozenset()))  # type: ignore[arg-type]
    # 1.5 own sizes a second there, and as fast back.
    assert found.turn == pytest.approx(3 / 3.5)


def test_a_lasting_change_of_colour_tells_and_a_passer_by_does_not() -> None:
    lasting = [_at(t, 3.0 * t, grey=50 if t < 15 else 110) for t in range(30)]
    assert _signs(lasting).recoloured == pytest.approx(0.6)
    passed = [_at(t, 3.0 * t, grey=110 if t in (15, 16) else 50) for t in range(30)]
    assert _is_quiet(_signs(passed))


def test_every_sign_raises_the_risk() -> None:
    assert set(WEIGHTS) == {"", *QUIET.__slots__}
    assert 0 < switch_risk(QUIET) < 0.1
    for name in QUIET.__slots__:
        assert switch_risk(Signs(**{**dict.fromkeys(QUIET.__slots__, 0.0), name: 1.0})) > switch_risk(QUIET)


def _risks_of(switch_risk: float | None) -> dict[int, float]:
    """Of two tracks of whom the second has this switch risk: the most that a sample about one of them alone risks."""
    seen = [_at(t, 2.0 * t) for t in range(30)], [_at(t, 200 - 3.0 * t, label="car", grey=250) for t in range(30)]
    tracks = (
        Track(track_id=1, label="person", observations=tuple(seen[0]), switch_risk=0.02),
        Track(track_id=2, label="car", observations=tuple(seen[1]), switch_risk=switch_risk),
    )
    ticks = tuple(range(30))
    paths = [trajectory(track, ticks, [IDENTITY] * 30, Frame(400, 200, 0.1)) for track in tracks]
    scene = Scene.of(ticks[::4], 0, (1, 10), paths, ())
    samples = compose(scene, clip_id="c", seed=0, caption_share=0.0, all_tracked=False)
    found: dict[int, list[float]] = {1: [], 2: []}
    for sample in samples:
        ids = json.loads(sample.evidence)["tracks"]
        for number in ids:
            if number == 2 or ids == [1]:
                found[number].append(sample.risk)
    return {number: min(risks) for number, risks in found.items()}


def test_samples_of_a_track_that_may_change_its_subject_carry_that_risk_and_others_do_not() -> None:
    sure, unsure, unmeasured = _risks_of(0.02), _risks_of(0.2), _risks_of(None)
    assert unsure[2] == pytest.approx(0.8)
    assert sure[2] < 0.5
    assert unmeasured[2] <= sure[2]
    assert unsure[1] == sure[1] == pytest.approx(0.08)
