"""Subjects that a detector named: how they are called, and what is not claimed of them."""

import pytest

from schemas.clip import Box, Detection, Event, Track, Trajectory
from stages.algorithms.asking import Unanswerable
from stages.algorithms.camera import IDENTITY
from stages.algorithms.compose import compose
from stages.algorithms.describe import Frame, trajectory
from stages.algorithms.events import events
from stages.algorithms.questions import render
from stages.algorithms.scene import Scene, global_caption, name, timeline

TICKS = tuple(range(0, 20))  # of a tenth of a second
FRAME = Frame(400, 200, 0.1)
PLAN = (0, 5, 10, 15, 19)
RED, BLUE, NEARLY_ORANGE = (220.0, 30.0, 30.0), (30.0, 60.0, 230.0), (220.0, 71.0, 30.0)


def _track(
    number: int,
    label: str,
    boxes: dict[int, Box],
    rgb: tuple[float, ...] = RED,
    odd: tuple[float, ...] = RED,
    odd_share: int = 0,
) -> Track:
    seen = [
        Detection(
            frame=t, box_xyxy_px=box, label=label, score=0.9, rgb=odd if k < odd_share else rgb, fill=0.0, outline=0.0
        )
        for k, (t, box) in enumerate(boxes.items())
    ]
    return Track(track_id=number, label=label, observations=tuple(seen))


def _right(first: int, last: int, top: float = 80.0) -> dict[int, Box]:
    return {t: (30 + 12.0 * t, top, 70 + 12.0 * t, top + 40) for t in range(first, last + 1)}


def _stands(first: int = 0, last: int = 19) -> dict[int, Box]:
    return dict.fromkeys(range(first, last + 1), (180.0, 10.0, 220.0, 40.0))


def _scene(*tracks: Track) -> Scene:
    paths = [trajectory(track, TICKS, [IDENTITY] * len(TICKS), FRAME) for track in tracks]
    found: tuple[Event, ...] = tuple(e for path in paths for e in events(path, TICKS))
    return Scene.of(PLAN, 0, (1, 10), paths, found)


def _path(track: Track) -> Trajectory:
    return trajectory(track, TICKS, [IDENTITY] * len(TICKS), FRAME)


@pytest.mark.parametrize(
    ("label", "rgb", "said"),
    [
        ("car", RED, "red car"),
        ("person", RED, "person in red"),
        ("person", NEARLY_ORANGE, "person"),
        ("car", NEARLY_ORANGE, "car"),
    ],
)
def test_a_colour_is_named_where_it_is_sure_and_people_wear_it(label: str, rgb: tuple[float, ...], said: str) -> None:
    assert name(_path(_track(1, label, _stands(), rgb))) == said


def test_a_colour_that_changes_is_not_named() -> None:
    assert name(_path(_track(1, "car", _stands(), RED, BLUE, 3))) == "red car"
    assert name(_path(_track(1, "car", _stands(), RED, BLUE, 6))) == "car"


def test_captions_are_english_and_do_not_count() -> None:
    orange = (250.0, 140.0, 20.0)
    scene = _scene(_track(1, "car", _right(0, 19), orange), _track(2, "person", _stands(), RED))
    assert global_caption(scene) == (
        "An orange car moves right from the left to the right, and a person in red stays still at the top."
    )
    many = [_track(k, "car", _right(0, 19, 10.0 * k)) for k in range(1, 7)]
    assert global_caption(_scene(*many)).endswith(", and others are seen.")


def test_a_detector_that_finds_or_loses_a_subject_is_no_event() -> None:
    assert events(_path(_track(1, "car", _stands(5, 12))), TICKS) == ()
    leaves = {t: (200 + 20.0 * t, 80.0, min(400, 260 + 20.0 * t), 120.0) for t in range(8)}
    assert [e.kind for e in events(_path(_track(1, "car", leaves)), TICKS)] == ["leaves"]


def test_nothing_is_absent_where_a_detector_looked() -> None:
    scene = _scene(_track(1, "car", _stands()))
    with pytest.raises(Unanswerable, match="a detector may have missed it"):
        render(scene, {"op": "absent", "subject": "blue car"})
    assert "absent" not in {s.family for s in compose(scene, clip_id="a", seed=0, caption_share=0.3)}


def test_what_may_still_be_there_has_no_end() -> None:
    lost = _scene(_track(1, "car", _stands(0, 12)))
    with pytest.raises(Unanswerable, match="may be there before frame1 or after frame3, undetected"):
        render(lost, {"op": "when", "track": 1, "location": "top"})
    with pytest.raises(Unanswerable, match="undetected"):
        render(lost, {"op": "record", "by": "frames", "track": 1, "frame": 1, "caption": False})
    whole = render(_scene(_track(1, "car", _stands())), {"op": "when", "track": 1, "location": "top"})
    assert whole.answer == "From frame1 to frame5, 0.00 s to 1.90 s."
    assert timeline(lost) == "frame1 to frame3: red car at the top. frame4 to frame5: nothing tracked."


def test_a_car_of_unsure_colour_may_be_the_red_one() -> None:
    scene = _scene(_track(1, "car", _stands()), _track(2, "car", _right(0, 19), RED, BLUE, 6))
    for track in (1, 2):
        with pytest.raises(Unanswerable, match="2 subjects fit"):
            render(scene, {"op": "trajectory", "ask": "trajectory", "track": track})
    scene = _scene(_track(1, "car", _stands()), _track(2, "car", _right(0, 19), BLUE))
    assert "Track1: red car<id1>" in render(scene, {"op": "trajectory", "ask": "trajectory", "track": 1}).answer


def test_every_sample_of_a_labelled_scene_follows_from_its_program() -> None:
    scene = _scene(_track(1, "car", _right(0, 19)), _track(2, "person", _stands(), BLUE))
    samples = compose(scene, clip_id="a", seed=0, caption_share=1.0)
    assert {"record", "trajectory", "when", "where", "direction", "timeline", "caption"} == {s.family for s in samples}
    said = " ".join(m.content for s in samples for m in s.messages)
    assert "It is tracked from" in said
    assert "It is seen from" not in said
