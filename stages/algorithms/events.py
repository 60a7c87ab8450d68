"""What happens to subjects: their coming and going, their changes of motion, and what passes between two.

Geometry with margins, no model. A change of motion lies between two moments, the last that is surely of the old motion
and the first that is surely of the new one; finer it is not known. Meetings of two are told from the difference of
their centres, in which the motion of the camera cancels. Ends need the clip's tracking grid; all the rest follows from
the trajectories alone, so that `utr verify` finds it again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import hypot
from statistics import median

from schemas.clip import Event, Moment, Relation, Trajectory
from stages.algorithms.describe import COMPASS, EDGE, LABELLED_WINDOW_S, STILL, WINDOW_S, edge_gap, is_labelled, steady

STARTS, ENDS = ("enters", "appears"), ("leaves", "disappears")
CHANGES = ("starts", "stops", "turns")
MEETINGS = ("crosses", "overtakes", "nears")
MIN_TURN = 2  # compass steps of 45 degrees: one step is what a slow curve and a shaky box show
BESIDE = 0.08  # of the frame side: how far a centre is to one side before it counts; four times PLACE_MARGIN
BESIDE_MARGIN = 0.04  # further on, a side is safe
NEARED = 0.5  # of the distance that is left where two have come near each other
NEARED_BY = 0.2  # frame diagonals that it must have become less
NEARED_MARGIN = 0.1  # further on, it is safe
UNSEEN = 1.5  # steps of the grid between two moments: one is missing
INWARD = 4  # moments in which a subject that comes in through the edge is seen to do so
GROWS = 1.1  # times as much of it is in view then
MAX_RELATED = 6  # subjects, those seen longest: pairs grow with the square
AXES = (("left of", "right of"), ("above", "below"))  # where the difference of centres is negative, positive


def events(path: Trajectory, track_tick: Sequence[int]) -> tuple[Event, ...]:
    """Entering and appearing, leaving and disappearing, where they happen inside the clip.

    A detector that finds or loses a subject away from the edge tells of itself: that is no event.
    """
    found: list[Event] = []
    first, last = path.moments[0], path.moments[-1]
    # Two grid steps: the tracker needs two frames to confirm a subject.
    if first.tick > track_tick[min(2, len(track_tick) - 1)]:
        found.append(end_of(path, is_start=True))
    if last.tick < track_tick[max(0, len(track_tick) - 3)]:
        found.append(end_of(path, is_start=False))
    return tuple(e for e in found if not is_labelled(path) or e.kind in ("enters", "leaves"))


def end_of(path: Trajectory, *, is_start: bool) -> Event:
    """How a subject comes or goes, if it does: at the edge or away from it. The risk is how near the box is to counting
    as the other."""
    moment, kinds = (path.moments[0], STARTS) if is_start else (path.moments[-1], ENDS)
    gap = _gap(path, moment)
    risk = max(0.0, 1.0 - abs(gap - EDGE) / EDGE)
    if gap <= EDGE and not _comes_in(path, path.moments[:INWARD] if is_start else path.moments[: -INWARD - 1 : -1]):
        risk = 1.0  # it lies at the edge and is no more in view a little further on: it may have appeared there
    return Event(kind=kinds[gap > EDGE], track_id=path.track_id, tick=moment.tick, risk=risk)


def goes_out(path: Trajectory) -> bool:
    """Whether it may leave and come back while it is tracked: unseen for a while, and at the edge before or after."""
    steps = [b.tick - a.tick for a, b in pairwise(path.moments)]
    return any(
        step > UNSEEN * median(steps) and min(_gap(path, a), _gap(path, b)) <= EDGE
        for step, (a, b) in zip(steps, pairwise(path.moments), strict=True)
    )


def happenings(paths: Sequence[Trajectory], tick_s: float) -> tuple[Event, ...]:
    """Changes of motion and meetings, in order of time; recomputable from the trajectories."""
    found = [event for path in paths for event in _changes(path, tick_s)]
    found += [event for one, other in combinations(_longest(paths), 2) for event in _meetings(one, other)]
    return tuple(sorted(found, key=lambda e: (e.tick, e.track_id, e.kind, e.other_id or 0, e.detail)))


def relations(paths: Sequence[Trajectory]) -> tuple[Relation, ...]:
    """Over time, on which side of another a subject is, for the subjects seen longest."""
    found: list[Relation] = []
    for one, other in combinations(_longest(paths), 2):
        for axis, words in enumerate(AXES):
            for side, first, last in _sides(_together(one, other), axis):
                found.append(
                    Relation(
                        track_id=one.track_id, other_id=other.track_id, word=words[side > 0], start_tick=first,
                        end_tick=last,
                    )
                )  # fmt: skip
    return tuple(found)


def side_of(one: Moment, other: Moment, width_px: int, height_px: int, axis: int) -> tuple[int, float]:
    """-1, 0 or 1: on which side of the other the first one is along an axis (x 0, y 1), 0: neither; and the risk."""
    off = _offset(one, other, width_px, height_px)[axis]
    risk = max(0.0, 1.0 - abs(abs(off) - BESIDE) / BESIDE_MARGIN)
    return (0 if abs(off) < BESIDE else -1 if off < 0 else 1), risk


def _comes_in(path: Trajectory, moments: Sequence[Moment]) -> bool:
    """Whether more of the subject is in view, or it is farther from the edge, at the last of these moments."""
    gaps = [_gap(path, m) for m in (moments[0], moments[-1])]
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (m.box_xyxy_px for m in (moments[0], moments[-1]))]
    return gaps[1] > gaps[0] + EDGE / 2 or areas[1] > GROWS * areas[0]


def _changes(path: Trajectory, tick_s: float) -> Iterator[Event]:
    window = (LABELLED_WINDOW_S if is_labelled(path) else WINDOW_S) / tick_s
    for before, after in pairwise(steady(path, tick_s)):
        kind = "starts" if before.word == STILL else "stops" if after.word == STILL else "turns"
        if kind == "turns" and _turned(before.word, after.word) < MIN_TURN:
            continue
        risks = [median(m.action_risk for m in path.moments[p.first : p.last + 1]) for p in (before, after)]
        # The window sees motion to both sides: who stops is still for it late, who starts moves for it early.
        early, late = {"stops": (1.0, 0.0), "starts": (0.0, 1.0), "turns": (0.5, 0.5)}[kind]
        ticks = [m.tick for m in path.moments]
        since = bisect_right(ticks, ticks[before.last] - early * window) - 1
        until = bisect_left(ticks, ticks[after.first] + late * window)
        yield Event(
            kind=kind,
            track_id=path.track_id,
            tick=ticks[min(until, len(ticks) - 1)],
            since_tick=ticks[max(since, 0)],
            detail=f"{before.word} to {after.word}",
            risk=max(risks),
        )


def _turned(before: str, after: str) -> int:
    """Steps of 45 degrees between two ways of COMPASS."""
    steps = abs(COMPASS.index(before) - COMPASS.index(after)) % len(COMPASS)
    return min(steps, len(COMPASS) - steps)


@dataclass(frozen=True, slots=True)
class _Both:
    """Two subjects at a moment at which both were observed: centre of the one minus centre of the other."""

    one: Moment
    other: Moment
    off: tuple[float, float]  # frame sides


def _together(one: Trajectory, other: Trajectory) -> list[_Both]:
    at = {m.tick: m for m in other.moments}
    size = one.frame_width_px, one.frame_height_px
    return [_Both(m, at[m.tick], _offset(m, at[m.tick], *size)) for m in one.moments if m.tick in at]


def _offset(one: Moment, other: Moment, width_px: int, height_px: int) -> tuple[float, float]:
    (a1, b1, a2, b2), (c1, d1, c2, d2) = one.box_xyxy_px, other.box_xyxy_px
    return (a1 + a2 - c1 - c2) / 2 / width_px, (b1 + b2 - d1 - d2) / 2 / height_px


def _sides(both: Sequence[_Both], axis: int) -> Iterator[tuple[int, int, int]]:
    """(-1 or 1, first tick, last tick) of each stretch on one side."""
    side, first, last = 0, 0, 0
    for pair in both:
        off, tick = pair.off[axis], pair.one.tick
        now = 0 if abs(off) < BESIDE else -1 if off < 0 else 1
        if now != side:
            if side:
                yield side, first, last
            side, first = now, tick
        last = tick
    if side:
        yield side, first, last


def _meetings(one: Trajectory, other: Trajectory) -> Iterator[Event]:
    both = _together(one, other)
    for axis, words in enumerate((("left", "right"), ("above", "below"))):
        for (was, begun, since), (now, until, ended) in pairwise(_sides(both, axis)):
            if was != now:
                risk = max(_reach_risk(both, axis, begun, since), _reach_risk(both, axis, until, ended))
                yield _passing(both, one, other, axis, (since, until), (words[was > 0], words[now > 0]), risk)
    if near := _nearing(both, one, other):
        yield near


def _reach_risk(both: Sequence[_Both], axis: int, first: int, last: int) -> float:
    """How far a subject gets to one side in a stretch."""
    reach = max(abs(p.off[axis]) for p in both if first <= p.one.tick <= last)
    return max(0.0, 1.0 - (reach - BESIDE) / BESIDE_MARGIN)


def _passing(
    both: Sequence[_Both], one: Trajectory, other: Trajectory, axis: int, span: tuple[int, int],
    sides: tuple[str, str], risk: float,
) -> Event:  # fmt: skip
    """Who passes is who moves more. Overtaking: both go that way all the while."""
    since, until = span
    between = [p for p in both if since <= p.one.tick <= until]
    moved_one, moved_other = (
        abs(_centre(getattr(between[-1], who))[axis] - _centre(getattr(between[0], who))[axis])
        for who in ("one", "other")
    )
    if moved_other > moved_one:
        one, other = other, one
        sides = sides[1], sides[0]
    way = {"left": "left", "right": "right", "above": "up", "below": "down"}[sides[1]]
    same_way = all(way in m.action.split(" ") for p in between for m in (p.one, p.other))
    doubt = max(m.action_risk for p in (between[0], between[-1]) for m in (p.one, p.other)) if same_way else 0.0
    return Event(
        kind="overtakes" if same_way else "crosses",
        track_id=one.track_id, tick=until, since_tick=since, other_id=other.track_id,
        detail=way if same_way else f"{sides[0]} to {sides[1]}", risk=max(risk, doubt),
    )  # fmt: skip


def _nearing(both: Sequence[_Both], one: Trajectory, other: Trajectory) -> Event | None:
    """The way from the farthest that two were before they were nearest, where most of it was made good."""
    if len(both) < 2:
        return None
    diagonal = hypot(one.frame_width_px, one.frame_height_px)
    gaps = [hypot(p.off[0] * one.frame_width_px, p.off[1] * one.frame_height_px) / diagonal for p in both]
    nearest = min(range(len(gaps)), key=gaps.__getitem__)
    farthest = max(range(nearest + 1), key=gaps.__getitem__)
    drop = gaps[farthest] - gaps[nearest]
    if drop < NEARED_BY or gaps[nearest] > NEARED * gaps[farthest]:
        return None
    share = gaps[nearest] / gaps[farthest]
    risk = max(1.0 - (drop - NEARED_BY) / NEARED_MARGIN, 1.0 - (NEARED - share) / NEARED_MARGIN, 0.0)
    return Event(
        kind="nears", track_id=one.track_id, other_id=other.track_id, since_tick=both[farthest].one.tick,
        tick=both[nearest].one.tick, risk=risk,
    )  # fmt: skip


def _longest(paths: Sequence[Trajectory]) -> list[Trajectory]:
    """The subjects seen longest, in order of their numbers."""
    chosen = sorted(paths, key=lambda p: (-len(p.moments), p.track_id))[:MAX_RELATED]
    return sorted(chosen, key=lambda p: p.track_id)


def _gap(path: Trajectory, moment: Moment) -> float:
    return edge_gap(moment.box_xyxy_px, path.frame_width_px, path.frame_height_px)


def _centre(moment: Moment) -> tuple[float, float]:
    x1, y1, x2, y2 = moment.box_xyxy_px
    return (x1 + x2) / 2, (y1 + y2) / 2
