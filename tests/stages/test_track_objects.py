"""Tracks of films with known truth: identity, patience, and what is no subject."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from schemas.clip import Box, DetectedClip, Detection, TrackedClip
from schemas.outcome import Reason, Skip
from stages.algorithms.camera import IDENTITY
from stages.detect_objects import detected
from stages.track_objects import TrackObjects
from tests.scenes import Film, Shape, clip_of, iou, line, render

RED, BLUE, GREEN = (220, 30, 30), (30, 60, 230), (20, 200, 60)
DISC = Shape(kind="disc", rgb=RED, size_px=36, place=line((-20, 50), (110, 5)))
SQUARE = Shape(kind="square", rgb=BLUE, size_px=40, place=line((340, 140), (-100, 0)))


def _track(film: Film, camera: str = "static", clip_id: str = "a") -> TrackedClip | Skip:
    row = detected(clip_of(film, camera=camera, clip_id=clip_id), film.frames_THWC, 0.001)
    return row if isinstance(row, Skip) else TrackObjects().process(None, [row])[0]


def _tracked(film: Film, camera: str = "static") -> TrackedClip:
    row = _track(film, camera)
    assert isinstance(row, TrackedClip), row
    return row


def _is_no_subject(row: TrackedClip | Skip) -> None:
    assert isinstance(row, Skip)
    assert row.reason is Reason.NO_SUBJECT


def _median_iou(row: TrackedClip, film: Film, track: int, shape: int) -> float:
    pairs = [(o.box_xyxy_px, film.boxes[o.frame][shape]) for o in row.tracks[track].observations]
    return float(np.median([iou(box, truth) if truth else 0.0 for box, truth in pairs]))


def test_a_moving_shape_is_one_track() -> None:
    film = render([DISC])
    row = _tracked(film)
    assert [track.track_id for track in row.tracks] == [1]
    assert len(row.tracks[0].observations) >= 28
    assert _median_iou(row, film, 0, 0) >= 0.85
    assert row.tracker.startswith("bytetrack/trackers-2.")


def test_observations_are_detections() -> None:
    row = _tracked(render([DISC, SQUARE]))
    assert all(o in row.detections for track in row.tracks for o in track.observations)


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_two_shapes_are_two_tracks_with_their_colours(fps: int) -> None:
    film = render([DISC, SQUARE], fps=fps)
    row = _tracked(film)
    assert len(row.tracks) == 2
    colours = [np.median([o.rgb for o in track.observations], axis=0) for track in row.tracks]
    red = 0 if colours[0][0] > colours[1][0] else 1
    assert colours[red] == pytest.approx(RED, abs=8)
    assert colours[1 - red] == pytest.approx(BLUE, abs=8)
    assert _median_iou(row, film, red, 0) >= 0.85
    assert _median_iou(row, film, 1 - red, 1) >= 0.85


def test_what_stops_stays_tracked() -> None:
    film = render(
        [Shape(kind="triangle", rgb=GREEN, size_px=40, place=line((40, 90), (100, 0), stop_s=1.2))], seconds=5
    )
    row = _tracked(film)
    assert len(row.tracks) == 1
    assert [o.frame for o in row.tracks[0].observations] == list(range(50))


@pytest.mark.parametrize("pan_px_s", [(0.0, 0.0), (50.0, 5.0), (12.0, 0.0)])
@pytest.mark.parametrize("title", [(0.8, 2.2), (-1.0, 9.0)])
def test_a_title_is_no_subject(pan_px_s: tuple[float, float], title: tuple[float, float]) -> None:
    _is_no_subject(_track(render([], title=title, pan_px_s=pan_px_s), "moving" if any(pan_px_s) else "static"))


def test_a_title_does_not_hide_a_subject() -> None:
    row = _tracked(render([DISC], title=(0.8, 2.2)))
    assert len(row.tracks) == 1


def test_a_subject_under_a_pan_is_tracked() -> None:
    film = render(
        [Shape(kind="disc", rgb=RED, size_px=36, place=line((60, 60), (20, 70)))], seconds=2, pan_px_s=(40, 0)
    )
    row = _tracked(film, "moving")
    assert len(row.tracks) == 1
    assert _median_iou(row, film, 0, 0) >= 0.85


def test_ids_do_not_depend_on_other_clips() -> None:
    rows = []
    for clip_id, shapes in (("a", [DISC, SQUARE]), ("b", [SQUARE])):
        film = render(shapes)
        rows.append(detected(clip_of(film, camera="static", clip_id=clip_id), film.frames_THWC, 0.001))
    stage = TrackObjects()
    assert stage.process(None, rows) == stage.process(None, rows[::-1])[::-1]
    assert stage.process(None, rows[1:]) == stage.process(None, rows)[1:]


def _row(boxes: list[Box | None], fps: int, rgb: Sequence[tuple[float, ...]] | None = None) -> DetectedClip:
    """A clip whose detections are given: at most one box a frame."""
    film = Film(frames_THWC=np.zeros((len(boxes), 180, 320, 3), np.uint8), boxes=[], fps=fps)
    seen = [
        Detection(
            frame=t, box_xyxy_px=box, label="", score=0.8, rgb=RED if rgb is None else rgb[t], fill=1.0, outline=0.8
        )
        for t, box in enumerate(boxes)
        if box is not None
    ]
    return clip_of(film, camera="static").extend(
        DetectedClip, detections=tuple(seen), camera_path=(IDENTITY,) * len(boxes), detector="given/1"
    )


def _moving(fps: int, seconds: float) -> list[Box | None]:
    return [(20 + 60 * t / fps, 50.0, 60 + 60 * t / fps, 90.0) for t in range(round(seconds * fps))]


@pytest.mark.parametrize("fps", [5, 10, 30])
@pytest.mark.parametrize(("unseen_s", "tracks"), [(0.2, 1), (0.8, 2)])
def test_patience_is_in_seconds(fps: int, unseen_s: float, tracks: int) -> None:
    boxes = _moving(fps, 4.0)
    gone = range(round(1.6 * fps), round(1.6 * fps) + round(unseen_s * fps))
    row = TrackObjects().process(None, [_row([None if t in gone else b for t, b in enumerate(boxes)], fps)])[0]
    assert isinstance(row, TrackedClip)
    assert len(row.tracks) == tracks
    assert sum(len(track.observations) for track in row.tracks) == len(boxes) - len(gone)


def test_patience_under_two_frames_is_refused() -> None:
    with pytest.raises(ValueError, match=r"patience_s=0\.3 is under two sampled frames"):
        TrackObjects(patience_s=0.3).process(None, [_row(_moving(5, 3.0), 5)])


@pytest.mark.parametrize("fast_px_s", [150, 400])
def test_a_small_fast_subject_is_one_track(fast_px_s: int) -> None:
    boxes: list[Box | None] = [(5 + fast_px_s * t / 10, 80.0, 29 + fast_px_s * t / 10, 104.0) for t in range(7)]
    row = TrackObjects().process(None, [_row(boxes, 10)])[0]
    assert (row.reason if isinstance(row, Skip) else len(row.tracks)) == (1 if fast_px_s == 150 else Reason.NO_SUBJECT)


def test_a_jump_of_colour_or_size_ends_a_track() -> None:
    boxes = _moving(10, 3.0)
    colours = [RED if t < 15 else BLUE for t in range(30)]
    assert len(_given(_row(boxes, 10, rgb=colours)).tracks) == 2
    doubled = [b if t < 15 or b is None else (b[0], b[1], b[2] + 40, b[3] + 30) for t, b in enumerate(boxes)]
    assert len(_given(_row(doubled, 10)).tracks) == 2


def _given(row: DetectedClip) -> TrackedClip:
    result = TrackObjects().process(None, [row])[0]
    assert isinstance(result, TrackedClip), result
    return result


def test_causes_are_counted() -> None:
    still: list[Box | None] = [(100.0, 50.0, 140.0, 90.0)] * 30
    row = _row(still, 10)
    short = replace(row.detections[0], frame=10, box_xyxy_px=(250.0, 120.0, 280.0, 150.0))
    result = TrackObjects().process(None, [replace(row, detections=(*row.detections, short))])[0]
    assert result == Skip(Reason.NO_SUBJECT, "2 tracks: 1 short, 1 still")


def _labelled(rows: list[list[tuple[str, Box, float]]], fps: int = 10) -> DetectedClip:
    """A clip whose labelled detections are given, by frame: label, box, score."""
    film = Film(frames_THWC=np.zeros((len(rows), 180, 320, 3), np.uint8), boxes=[], fps=fps)
    seen = [
        Detection(frame=t, box_xyxy_px=box, label=label, score=score, rgb=RED, fill=0.0, outline=0.0)
        for t, row in enumerate(rows)
        for label, box, score in row
    ]
    return clip_of(film, camera="static").extend(
        DetectedClip, detections=tuple(seen), camera_path=(IDENTITY,) * len(rows), detector="onnx/given@0"
    )


@pytest.mark.parametrize("tracker", ["bytetrack", "ocsort", "botsort"])
@pytest.mark.parametrize("is_labelled", [False, True])
def test_each_tracker_follows_two_who_pass_each_other(tracker: str, is_labelled: bool) -> None:
    rows = [
        [
            ("person", (20.0 + 6 * t, 50.0, 60.0 + 6 * t, 90.0), 0.9),
            ("car", (260.0 - 6 * t, 95.0, 300.0 - 6 * t, 135.0), 0.8),
        ]
        for t in range(30)
    ]
    row = _labelled(rows)
    if not is_labelled:
        row = replace(row, detector="motion/1", detections=tuple(replace(d, label="") for d in row.detections))
    result = TrackObjects(tracker=tracker).process(None, [row])[0]
    assert isinstance(result, TrackedClip)
    assert result.tracker.startswith(f"{tracker}/")
    assert [track.label for track in result.tracks] == (["person", "car"] if is_labelled else ["", ""])
    # All thirty boxes, the first one, too, which the library itself forgets.
    for track, number in zip(result.tracks, (0, 1), strict=True):
        assert [o.box_xyxy_px for o in track.observations] == [frame[number][1] for frame in rows]


def test_a_rider_and_the_bicycle_are_two_tracks() -> None:
    rows = [
        [
            ("person", (20.0 + 5 * t, 50.0, 50.0 + 5 * t, 110.0), 0.9),
            ("bicycle", (15.0 + 5 * t, 80.0, 60.0 + 5 * t, 120.0), 0.9),
        ]
        for t in range(20)
    ]
    rows[7] = rows[7][:1]  # without a bicycle in this frame, its track must not take the person
    tracks = _given(_labelled(rows)).tracks
    assert [(track.label, len(track.observations)) for track in tracks] == [("bicycle", 19), ("person", 20)]
    assert all(o.label == track.label for track in tracks for o in track.observations)


def test_what_stands_is_a_subject_where_a_detector_knows_it() -> None:
    still: list[list[tuple[str, Box, float]]] = [[("car", (100.0, 50.0, 140.0, 90.0), 0.9)]] * 20
    assert len(_given(_labelled(still)).tracks) == 1
    unknown = replace(_labelled(still), detector="motion/1")
    assert TrackObjects().process(None, [unknown])[0] == Skip(Reason.NO_SUBJECT, "1 tracks: 1 still")


def test_faint_boxes_begin_no_track_of_a_detector_and_may_continue_one() -> None:
    def row(score: float) -> list[tuple[str, Box, float]]:
        return [("car", (100.0, 50.0, 140.0, 90.0), score)]

    begun = [row(0.9)] * 5 + [row(0.35)] * 5 + [row(0.9)] * 5
    assert len(_given(_labelled(begun)).tracks[0].observations) == 15
    result = TrackObjects().process(None, [_labelled([row(0.45)] * 15)])[0]
    assert result == Skip(Reason.NO_SUBJECT, "no track")
    assert isinstance(TrackObjects(start_score=0.4).process(None, [_labelled([row(0.45)] * 15)])[0], TrackedClip)


def test_an_unknown_tracker_is_named() -> None:
    with pytest.raises(ValueError, match="no tracker 'magic'; there are: bytetrack, ocsort, botsort"):
        TrackObjects(tracker="magic")


def test_who_passes_in_front_of_a_detectors_box_does_not_end_its_track() -> None:
    row = _labelled([[("car", (100.0, 50.0, 140.0, 90.0), 0.9)]] * 20)
    passed = tuple(replace(d, rgb=BLUE) if 8 <= d.frame < 11 else d for d in row.detections)
    assert [len(track.observations) for track in _given(replace(row, detections=passed)).tracks] == [20]


def test_a_detectors_box_that_jumps_in_size_ends_no_track() -> None:
    row = _labelled([[("car", (100.0, 50.0, 140.0, 90.0), 0.9)]] * 20)
    wide = (90.0, 40.0, 155.0, 105.0)
    jumped = tuple(replace(d, box_xyxy_px=wide) if 8 <= d.frame < 11 else d for d in row.detections)
    assert [len(track.observations) for track in _given(replace(row, detections=jumped)).tracks] == [20]


def test_who_may_have_become_another_has_the_higher_switch_risk() -> None:
    def crossing(turns: bool) -> DetectedClip:
        rows: list[list[tuple[str, Box, float]]] = []
        for t in range(30):
            x = 20.0 + 6 * t if t < 15 or not turns else 20.0 + 6 * (30 - t)
            rows.append([("person", (x, 50.0, x + 30, 110.0), 0.9)])
        return _labelled(rows)

    straight, turned = (_given(crossing(turns)).tracks for turns in (False, True))
    assert len(straight) == len(turned) == 1
    risks = [track.switch_risk for track in (*straight, *turned)]
    assert risks[0] is not None
    assert risks[1] is not None
    assert 0 < risks[0] < 0.1 < 0.2 < risks[1] < 1


def test_the_motion_experts_tracks_have_no_switch_risk() -> None:
    assert [track.switch_risk for track in _tracked(render([DISC, SQUARE])).tracks] == [None, None]


def test_gaps_are_filled_and_marked_only_where_the_recipe_says_so() -> None:
    gone = (6, 7, 12)
    rows = [[("car", (20.0 + 6 * t, 50.0, 60.0 + 6 * t, 90.0), 0.9)] if t not in gone else [] for t in range(20)]
    bare = _given(_labelled(rows)).tracks[0]
    assert [o.frame for o in bare.observations] == [t for t in range(20) if t not in gone]
    result = TrackObjects(fill_gaps=True).process(None, [_labelled(rows)])[0]
    assert isinstance(result, TrackedClip)
    (full,) = result.tracks
    assert [o.frame for o in full.observations if o.interpolated] == list(gone)
    assert [o for o in full.observations if not o.interpolated] == list(bare.observations)
    assert full.switch_risk == bare.switch_risk
