"""Changes of the tracks in one row of clips/: boxes, times, ids, labels."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from schemas.clip import Box, Moment, Trajectory
from schemas.sample import PublishedClip
from stages.algorithms.describe import COMPASS, PLACES, SHAPES, STILL
from tests.publish.mutate_basics import (
    LEAST_SHIFT,
    Rng,
    off,
    other,
    pick,
    put,
    risk_changed,
    swapped,
    ticks_off,
    word_changed,
)
from tests.publish.mutate_events import EVENT_CHANGES, ClipChange, doubled, dropped, reordered

ACTIONS = (STILL, *(f"moving {word}" for word in COMPASS))


def of_track(change: Callable[[Trajectory, Rng], Trajectory | None]) -> ClipChange:
    def changed(clip: PublishedClip, rng: Rng) -> PublishedClip | None:
        at = int(rng.integers(len(clip.tracks)))
        track = change(clip.tracks[at], rng)
        return None if track is None else replace(clip, tracks=put(clip.tracks, at, track))

    return changed


def of_moment(change: Callable[[Trajectory, Moment, Rng], Moment | None]) -> ClipChange:
    """One moment of one track, any of them: most lie between two planned frames."""

    def changed(track: Trajectory, rng: Rng) -> Trajectory | None:
        at = int(rng.integers(len(track.moments)))
        moment = change(track, track.moments[at], rng)
        return None if moment is None else replace(track, moments=put(track.moments, at, moment))

    return of_track(changed)


def _inside(track: Trajectory, box: Sequence[float]) -> Box | None:
    x1, y1, x2, y2 = box
    fits = 0 <= x1 < x2 <= track.frame_width_px and 0 <= y1 < y2 <= track.frame_height_px
    return (x1, y1, x2, y2) if fits else None


def _shifted(track: Trajectory, moment: Moment, rng: Rng) -> Moment | None:
    """The box stays in the frame and of its size."""
    dx, dy = off(rng, LEAST_SHIFT, 0.2) * track.frame_width_px, off(rng, LEAST_SHIFT, 0.2) * track.frame_height_px
    x1, y1, x2, y2 = moment.box_xyxy_px
    box = _inside(track, (x1 + dx, y1 + dy, x2 + dx, y2 + dy))
    return replace(moment, box_xyxy_px=box) if box else None


def _scaled(track: Trajectory, moment: Moment, rng: Rng) -> Moment | None:
    """The box in a picture of another size: all coordinates times one factor."""
    by = float(rng.uniform(0.4, 0.9) if rng.random() < 0.5 else rng.uniform(1.1, 2.0))
    box = _inside(track, [v * by for v in moment.box_xyxy_px])
    return replace(moment, box_xyxy_px=box) if box else None


def _resized(track: Trajectory, moment: Moment, rng: Rng) -> Moment | None:
    """The box about a point of it. Its side is a tenth of the frame's at least, so a fifth of that is LEAST_SHIFT."""
    x1, y1, x2, y2 = moment.box_xyxy_px
    x, y = float(rng.uniform(x1, x2)), float(rng.uniform(y1, y2))
    by = float(rng.uniform(0.4, 0.8) if rng.random() < 0.5 else rng.uniform(1.25, 2.0))
    box = _inside(track, (x + (x1 - x) * by, y + (y1 - y) * by, x + (x2 - x) * by, y + (y2 - y) * by))
    return replace(moment, box_xyxy_px=box) if box else None


def _track_shifted(track: Trajectory, rng: Rng) -> Trajectory | None:
    dx, dy = off(rng, LEAST_SHIFT, 0.1) * track.frame_width_px, off(rng, LEAST_SHIFT, 0.1) * track.frame_height_px
    boxes = [_inside(track, (a + dx, b + dy, c + dx, d + dy)) for a, b, c, d in (m.box_xyxy_px for m in track.moments)]
    pairs = zip(track.moments, boxes, strict=True)
    moments = tuple(replace(m, box_xyxy_px=box) for m, box in pairs if box)
    return replace(track, moments=moments) if len(moments) == len(boxes) else None


def _boxes_of_moments(track: Trajectory, rng: Rng) -> Trajectory | None:
    """The boxes of two moments exchanged, which lie apart by more than LEAST_SHIFT."""
    i, j = sorted(int(k) for k in rng.choice(len(track.moments), 2, replace=False))
    one, two = track.moments[i], track.moments[j]
    far = max(abs(a - b) for a, b in zip(one.box_xyxy_px, two.box_xyxy_px, strict=True))
    if far < LEAST_SHIFT * track.frame_width_px:
        return None
    moments = put(track.moments, i, replace(one, box_xyxy_px=two.box_xyxy_px))
    return replace(track, moments=put(moments, j, replace(two, box_xyxy_px=one.box_xyxy_px)))


def _boxes_of_tracks(clip: PublishedClip, rng: Rng) -> PublishedClip | None:
    """Two subjects change places at one moment."""
    if len(clip.tracks) < 2:
        return None
    i, j = (int(k) for k in rng.choice(len(clip.tracks), 2, replace=False))
    at = {m.tick: k for k, m in enumerate(clip.tracks[j].moments)}
    k = pick(rng, [k for k, m in enumerate(clip.tracks[i].moments) if m.tick in at])
    if k is None:
        return None
    one, two = clip.tracks[i].moments[k], clip.tracks[j].moments[at[clip.tracks[i].moments[k].tick]]
    moments = put(clip.tracks[i].moments, k, replace(one, box_xyxy_px=two.box_xyxy_px))
    others = put(clip.tracks[j].moments, at[one.tick], replace(two, box_xyxy_px=one.box_xyxy_px))
    tracks = put(clip.tracks, i, replace(clip.tracks[i], moments=moments))
    return replace(clip, tracks=put(tracks, j, replace(clip.tracks[j], moments=others)))


def _of_two_tracks(*fields: str) -> ClipChange:
    """Two tracks exchange what they are called."""

    def changed(clip: PublishedClip, rng: Rng) -> PublishedClip | None:
        pairs = [(a, b) for a in range(len(clip.tracks)) for b in range(a)]
        pair = pick(rng, pairs)
        if pair is None:
            return None
        one, two = (clip.tracks[k] for k in pair)
        values = [{f: getattr(t, f) for f in fields} for t in (two, one)]
        tracks = put(clip.tracks, pair[0], replace(one, **values[0]))
        return replace(clip, tracks=put(tracks, pair[1], replace(two, **values[1])))

    return changed


def _moment_dropped(track: Trajectory, rng: Rng) -> Trajectory | None:
    at = int(rng.integers(len(track.moments)))
    return replace(track, moments=put(track.moments, at)) if len(track.moments) > 1 else None


def _moment_added(track: Trajectory, rng: Rng) -> Trajectory | None:
    """A copy of a moment, in the middle of it and the next one."""
    at = int(rng.integers(max(1, len(track.moments) - 1)))
    if len(track.moments) < 2:
        return None
    one, two = track.moments[at : at + 2]
    return replace(track, moments=put(track.moments, at, one, replace(one, tick=(one.tick + two.tick) // 2)))


def _all_actions(track: Trajectory, rng: Rng) -> Trajectory | None:
    """One motion is another one all along."""
    old = pick(rng, sorted({m.action for m in track.moments}))
    new = other(rng, ACTIONS, old)
    moments = tuple(replace(m, action=str(new)) if m.action == old else m for m in track.moments)
    return replace(track, moments=moments)


def _frame_sides(clip: PublishedClip, rng: Rng) -> PublishedClip | None:
    """All tracks lie in a larger frame."""
    more = int(rng.integers(10, 200))
    wide, high = (more, 0) if rng.random() < 0.5 else (0, more)
    grown = (
        replace(t, frame_width_px=t.frame_width_px + wide, frame_height_px=t.frame_height_px + high)
        for t in clip.tracks
    )
    return replace(clip, tracks=tuple(grown))


CLIP_CHANGES: dict[str, ClipChange] = {
    "box of a moment: shifted": of_moment(_shifted),
    "box of a moment: scaled": of_moment(_scaled),
    "box of a moment: resized in place": of_moment(_resized),
    "boxes of a track: all shifted": of_track(_track_shifted),
    "boxes of two moments: exchanged": of_track(_boxes_of_moments),
    "boxes of two tracks at a moment: exchanged": _boxes_of_tracks,
    "moment: tick": of_moment(lambda t, m, rng: replace(m, tick=m.tick + ticks_off(rng))),
    "moment: location": of_moment(lambda t, m, rng: replace(m, location=other(rng, PLACES, m.location))),
    "moment: action": of_moment(lambda t, m, rng: replace(m, action=other(rng, ACTIONS, m.action))),
    "moment: action risk": of_moment(lambda t, m, rng: replace(m, action_risk=risk_changed(m.action_risk, rng))),
    "moment: interpolated": of_moment(lambda t, m, rng: replace(m, interpolated=not m.interpolated)),
    "moment: dropped": of_track(_moment_dropped),
    "moment: added": of_track(_moment_added),
    "moments: exchanged": of_track(
        lambda t, rng: replace(t, moments=moments) if (moments := swapped(t.moments, rng)) else None
    ),
    "track: an action all along": of_track(_all_actions),
    "track: name": of_track(lambda t, rng: replace(t, name=other(rng, (*SHAPES, "car", "object"), t.name))),
    "track: appearance": of_track(lambda t, rng: replace(t, appearance=word_changed(t.appearance, rng))),
    "track: risk": of_track(lambda t, rng: replace(t, risk=risk_changed(t.risk, rng))),
    "track: who named it": of_track(lambda t, rng: replace(t, named_by="clip/somebody@1")),
    "track: id": of_track(lambda t, rng: replace(t, track_id=t.track_id + int(rng.integers(1, 9)))),
    "track: frame width": of_track(lambda t, rng: replace(t, frame_width_px=t.frame_width_px + 20)),
    "tracks: frame sides": _frame_sides,
    "tracks: names exchanged": _of_two_tracks("name", "appearance"),
    "tracks: ids exchanged": _of_two_tracks("track_id"),
    "track: dropped": dropped("tracks"),
    "track: doubled": doubled("tracks"),
    "tracks: order": reordered("tracks"),
    **EVENT_CHANGES,
}
