"""What does not follow inside the tracks of one clip: boxes, moments and their grid, words of motion, events.

A place follows from its box. Words of motion follow from the boxes, too, where the camera is known to stand. The grid
is that of schemas.time.grid: its steps begin at the clip's first frame, and no two of its frames lie in one step.
"""

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from pipeline.sealed import Problem, short
from schemas.clip import Affine, Detection, Track, Trajectory
from schemas.sample import PublishedClip, PublishedSample
from stages.algorithms.describe import OBJECT, SHAPES, Frame, is_labelled, place, trajectory
from stages.algorithms.events import CHANGES, ENDS, MEETINGS, STARTS, end_of, happenings, relations

STANDS: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CONFIRMED = 2  # steps of the grid, from each end of the clip, in which a track may begin or end without an event


def track_problems(
    clip: PublishedClip, sample: PublishedSample | None, *, camera_stands: bool, track_fps: float | None
) -> Iterator[Problem]:
    """Everything about a clip's tracks, events and relations; `sample` is one of its, and tells its time.

    `track_fps` is the plan's; null where the plan is not of this engine.
    """
    found = [problem for track in clip.tracks for problem in _moment_problems(clip.clip_id, track)]
    yield from found
    yield from _between_tracks(clip)
    yield from _end_problems(clip)
    if sample is None or found:
        return
    yield from _follow_problems(clip, sample)
    if camera_stands:
        yield from _motion_problems(clip, sample)
    if track_fps is not None and sample.frame_tick:
        yield from _grid_problems(clip, sample, track_fps)


def _between_tracks(clip: PublishedClip) -> Iterator[Problem]:
    ids = [track.track_id for track in clip.tracks]
    if len(set(ids)) != len(ids):
        yield Problem(clip.clip_id, f"track ids {ids} are not unique")
    if len({(track.frame_width_px, track.frame_height_px) for track in clip.tracks}) > 1:
        yield Problem(clip.clip_id, "its tracks lie in frames of different sizes")


def _moment_problems(clip_id: str, track: Trajectory) -> Iterator[Problem]:
    ticks = [m.tick for m in track.moments]
    if not ticks or any(b <= a for a, b in pairwise(ticks)):
        yield Problem(clip_id, f"the moments of track {track.track_id} do not ascend")
        return
    for m in track.moments:
        where = f"track {track.track_id} at tick {m.tick}"
        x1, y1, x2, y2 = m.box_xyxy_px
        if not (0 <= x1 < x2 <= track.frame_width_px and 0 <= y1 < y2 <= track.frame_height_px):
            yield Problem(clip_id, f"{where}: box {m.box_xyxy_px} is not in the frame")
        elif place(m.box_xyxy_px, track.frame_width_px, track.frame_height_px) != m.location:
            yield Problem(clip_id, f"{where}: box is not at {m.location!r}")
    if track.moments[0].interpolated or track.moments[-1].interpolated:
        yield Problem(clip_id, f"track {track.track_id} begins or ends with a box that was filled in")
    for before, m in pairwise(track.moments):
        if m.interpolated and (m.action, m.action_risk) != (before.action, 1.0):
            yield Problem(clip_id, f"track {track.track_id} at tick {m.tick}: filled in, and not as sure as that")


def _end_problems(clip: PublishedClip) -> Iterator[Problem]:
    """Ends that are at no end of their track, or not told by the box there."""
    tracks = {track.track_id: track for track in clip.tracks if track.moments}
    ends = [event for event in clip.events if event.kind in (*STARTS, *ENDS)]
    places = [(event.track_id, event.kind in STARTS) for event in ends]
    if len(set(places)) != len(places):
        yield Problem(clip.clip_id, "a track has two events at one end")
    for event in clip.events:
        if event.kind not in (*STARTS, *ENDS, *CHANGES, *MEETINGS):
            yield Problem(clip.clip_id, f"event {event.kind!r} at tick {event.tick}: there is no such kind")
    for event in ends:
        what = f"event {event.kind!r} of track {event.track_id} at tick {event.tick}"
        if event.track_id not in tracks:
            yield Problem(clip.clip_id, f"{what}: there is no such track")
            continue
        track, is_start = tracks[event.track_id], event.kind in STARTS
        if event.tick != track.moments[0 if is_start else -1].tick:
            yield Problem(clip.clip_id, f"{what}: not the {'first' if is_start else 'last'} of the track")
        elif event != end_of(track, is_start=is_start):
            yield Problem(clip.clip_id, f"{what}: the box there tells otherwise")


def _follow_problems(clip: PublishedClip, sample: PublishedSample) -> Iterator[Problem]:
    """Changes, meetings and relations that do not follow from the tracks, and events in another order."""
    follow = happenings(clip.tracks, _tick_s(sample))
    told = tuple(event for event in clip.events if event.kind not in (*STARTS, *ENDS))
    if told != follow:
        wrong = [event for event in (*told, *follow) if (event in told) != (event in follow)]
        yield Problem(clip.clip_id, f"events do not follow from the tracks, or not in order: {short(wrong or told)}")
    order = {track.track_id: k for k, track in enumerate(clip.tracks)}
    ends = [event for event in clip.events if event.kind in (*STARTS, *ENDS)]
    ends.sort(key=lambda e: (order.get(e.track_id, len(order)), e.kind in ENDS))
    if clip.events[: len(ends)] != tuple(ends):
        yield Problem(clip.clip_id, "events at the ends of tracks do not come first, track by track")
    if clip.relations != relations(clip.tracks):
        yield Problem(clip.clip_id, "its relations do not follow from the tracks")


def _motion_problems(clip: PublishedClip, sample: PublishedSample) -> Iterator[Problem]:
    """Words of motion, and how sure they are, that the boxes do not tell."""
    for track in clip.tracks:
        # A word of a shape may be a detector's label, too, and then the window is longer.
        labels = ("", track.name) if track.name in (*SHAPES, OBJECT) else (track.name,)
        said = [(m.action, m.action_risk) for m in track.moments]
        again = [_words(track, label, _tick_s(sample)) for label in labels]
        if said not in again:
            k = next(k for k, word in enumerate(said) if word != again[0][k])
            what = f"track {track.track_id} at tick {track.moments[k].tick}: published {said[k]}"
            yield Problem(clip.clip_id, f"{what}, its boxes tell {again[0][k]}, and the camera stands")


def _words(track: Trajectory, label: str, tick_s: float) -> list[tuple[str, float]]:
    """Action and its risk by moment, as they are described where the camera stands. Colours play no part in that."""
    seen = tuple(
        Detection(
            frame=k, box_xyxy_px=m.box_xyxy_px, label=label, score=0.0, rgb=(0.0, 0.0, 0.0), fill=0.0, outline=0.0,
            interpolated=m.interpolated,
        )
        for k, m in enumerate(track.moments)
    )  # fmt: skip
    path = trajectory(
        Track(track_id=track.track_id, label=label, observations=seen),
        [m.tick for m in track.moments],
        [STANDS] * len(seen),
        Frame(track.frame_width_px, track.frame_height_px, tick_s),
    )
    return [(m.action, m.action_risk) for m in path.moments]


def _grid_problems(clip: PublishedClip, sample: PublishedSample, track_fps: float) -> Iterator[Problem]:
    """Ticks that cannot both be of the grid, and what the part of the grid that is known says about each track."""
    known = sorted({*sample.frame_tick, *(m.tick for track in clip.tracks for m in track.moments)})
    at: defaultdict[int, list[int]] = defaultdict(list)
    for tick in known:
        at[_step(tick, sample, track_fps)].append(tick)
    for ticks in at.values():
        if len(ticks) > 1:
            yield Problem(clip.clip_id, f"ticks {ticks[0]} and {ticks[1]} lie in one step of {track_fps:g} a second")
    last_step = _step(sample.end_tick - 1, sample, track_fps)
    for track in clip.tracks:
        seen = {m.tick for m in track.moments if not m.interpolated}
        first, last = min(seen), max(seen)
        unseen = sum(first < tick < last and tick not in seen for tick in known)
        if track.risk < 1 - len(seen) / (len(seen) + unseen) - 1e-9:
            yield Problem(clip.clip_id, f"track {track.track_id}: lost {unseen} times, risk {track.risk:.3f}")
        # Grid frames before and after it: at least those that are known, at most the steps that there are.
        before = sum(tick < first for tick in known), _step(first, sample, track_fps)
        after = sum(tick > last for tick in known), last_step - _step(last, sample, track_fps)
        yield from _end_there(clip, track, before, is_start=True)
        yield from _end_there(clip, track, after, is_start=False)


def _end_there(clip: PublishedClip, track: Trajectory, beyond: tuple[int, int], *, is_start: bool) -> Iterator[Problem]:
    """Whether a track that has `beyond` (at least, at most) frames of the grid beyond an end has an event there."""
    kinds = STARTS if is_start else ENDS
    has = any(event.track_id == track.track_id and event.kind in kinds for event in clip.events)
    kind = end_of(track, is_start=is_start).kind
    counts = not is_labelled(track) or kind in ("enters", "leaves")
    if has and (beyond[1] <= CONFIRMED or not counts):
        yield Problem(clip.clip_id, f"track {track.track_id} {kind} where that is no event")
    if not has and beyond[0] > CONFIRMED and counts:
        yield Problem(clip.clip_id, f"track {track.track_id} {kind}, and there is no such event")


def _step(tick: int, sample: PublishedSample, track_fps: float) -> int:
    """The step of the grid, from 0, in which a tick lies; half a tick of slack as in schemas.time.grid."""
    step = Fraction(sample.time_base_den, sample.time_base_num) / Fraction(track_fps).limit_denominator(1_000_000)
    return (2 * (tick - sample.start_tick) + 1) * step.denominator // (2 * step.numerator)


def _tick_s(sample: PublishedSample) -> float:
    return sample.time_base_num / sample.time_base_den
