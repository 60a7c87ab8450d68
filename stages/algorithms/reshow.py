"""The same question about other frames: scenes of the frames that a trainer's loader shows.

Tracks are known at the tracking grid, loaders show any frame. Between two sightings a subject moves on a straight line
(that is checked against its neighbours); between a sighting and none it may be there or not, so an answer must be the
same either way. What cannot be known is not asked.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import inf
from statistics import median
from typing import Any

from schemas.clip import Box, Event, Moment, Trajectory
from stages.algorithms.asking import Program, Rendered, Unanswerable
from stages.algorithms.describe import phases, place
from stages.algorithms.questions import render
from stages.algorithms.scene import Scene

BOX_ERROR = 0.01  # of the frame side: that of a good track (describe.PLACE_MARGIN is twice that)
KEYS = frozenset(
    {"op", "track", "by", "frame", "first", "last", "caption", "ask", "location", "options", "subject", "say", "kind"}
    | {"event", "events", "motion", "tracks", "axis", "side", "of"}
)
MAX_DOUBTS = 3  # subjects that may be there or not at a shown frame: scenes double with each


class NotShown(ValueError):
    """The frames shown do not carry the sample; `reason` is one word for the table of drops."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a loader shows of a clip."""

    frame_tick: tuple[int, ...]  # ascending
    grid_tick: tuple[int, ...]  # the tracking frames of the clip, ascending
    start_tick: int  # from which times in texts run
    time_base: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Views:
    """What may be true of the frames shown."""

    scenes: tuple[Scene, ...]  # one where nothing is in doubt
    off: frozenset[tuple[int, int]]  # track and 1-based frame at which its box is not known well enough


def views(
    shown: Shown, tracks: Sequence[Trajectory], events: tuple[Event, ...], *, box_error: float = BOX_ERROR
) -> Views:
    """The scenes that may be true of the frames shown; raises NotShown."""
    doubts: list[tuple[int, int]] = []  # track, tick
    off: set[tuple[int, int]] = set()
    moments = {t.track_id: {m.tick: m for m in t.moments} for t in tracks}
    for track in tracks:
        for frame, tick in enumerate(shown.frame_tick, start=1):
            found = _at(track, tick, shown.grid_tick)
            if found.moment is not None:
                moments[track.track_id][tick] = found.moment
            if not found.is_sure:
                doubts.append((track.track_id, tick))
            if found.off > box_error:
                off.add((track.track_id, frame))
    if len(doubts) > MAX_DOUBTS:
        raise NotShown("presence_in_doubt", f"{len(doubts)} times a subject comes or goes just where a frame is shown")
    scenes = []
    for choice in product((True, False), repeat=len(doubts)):
        gone = {doubt for doubt, is_there in zip(doubts, choice, strict=True) if not is_there}
        these = [_with(t, [m for k, m in moments[t.track_id].items() if (t.track_id, k) not in gone]) for t in tracks]
        scenes.append(Scene.of(shown.frame_tick, shown.start_tick, shown.time_base, these, events))
    return Views(tuple(scenes), frozenset(off))


def moved(program: Program, old_tick: Sequence[int], new_tick: Sequence[int]) -> dict[str, Any]:
    """The program with its frames, 1-based indices of `old_tick`, as indices of `new_tick`; raises NotShown.

    A query frame becomes the nearest one shown, at most half their spacing away; a pair of frames stays inside itself.
    """
    if unknown := sorted(program.keys() - KEYS):  # which may hold frames, and would be taken over unmoved
        raise NotShown("unknown_program", f"its program has {', '.join(unknown)}, which exports do not know")
    new = dict(program)
    options = program.get("options", ())
    if tuple(old_tick) != tuple(new_tick) and any("frame" in option for option in options):
        raise NotShown("options_not_shown", "its options name frames and times of the plan")
    if "of" in program:
        new["of"] = moved(program["of"], old_tick, new_tick)
    if "frame" in program:
        asked = old_tick[program["frame"] - 1]
        nearest = min(range(len(new_tick)), key=lambda k: abs(new_tick[k] - asked))
        spacing = median(b - a for a, b in pairwise(new_tick))
        if abs(new_tick[nearest] - asked) > spacing / 2:
            raise NotShown("query_frame_not_shown", f"nothing is shown near frame{program['frame']}")
        new["frame"] = nearest + 1
    if "first" in program:
        inside = [
            k
            for k, tick in enumerate(new_tick, start=1)
            if old_tick[program["first"] - 1] <= tick <= old_tick[program["last"] - 1]
        ]
        if len(inside) < 2:
            raise NotShown("query_frame_not_shown", f"{len(inside)} frames shown between the two that are asked about")
        new["first"], new["last"] = inside[0], inside[-1]
    return new


def rerender(program: Program, seen: Views, tracks: Sequence[Trajectory], *, max_risk: float) -> Rendered:
    """The conversation that is true in all views; raises NotShown where there is none, or its risk is too high."""
    try:
        said = [render(scene, program) for scene in seen.scenes]
    except Unanswerable as error:
        raise NotShown("no_single_answer", str(error)) from error
    first = max(said, key=lambda r: r.risk)
    if any((r.question, r.answer, r.reward) != (first.question, first.answer, first.reward) for r in said):
        raise NotShown("presence_in_doubt", "a subject it tells of comes or goes just where a frame is shown")
    if lost := sorted(seen.off.intersection(product(first.track_ids, first.frames))):
        raise NotShown("box_between_moments", f"track {lost[0][0]} turns or jumps near frame{lost[0][1]}")
    if first.risk > max_risk:
        raise NotShown("label_risk", f"risk {first.risk:.2f} > {max_risk:g}")
    if program["op"] == "caption" or program.get("caption"):
        for scene in seen.scenes:
            _all_motion_shown(scene, tracks)
    return first


@dataclass(frozen=True, slots=True)
class _Found:
    moment: Moment | None
    is_sure: bool = True  # that it is there, or is not
    off: float = 0.0  # by which its box may be wrong, in frame sides


def _at(track: Trajectory, tick: int, grid: Sequence[int]) -> _Found:
    """The subject at any tick of the clip; after the last tracking frame it goes on as before."""
    seen = {m.tick: m for m in track.moments}
    k = bisect_right(grid, tick) - 1
    if k < 0:
        raise NotShown("frames_outside_clip", f"tick {tick} is before the first tracking frame")
    near = [seen.get(grid[i]) if 0 <= i < len(grid) else None for i in range(k - 2, k + 3)]
    before, after = near[2], near[3]
    is_last = k + 1 == len(grid)
    if grid[k] == tick or (is_last and before is None):
        return _Found(before)
    if is_last:
        if before is None or near[1] is None or tick - grid[k] > grid[k] - grid[k - 1]:
            return _Found(before and replace(before, tick=tick, action_risk=1.0), is_sure=False)
        return _between(track, near[1], before, tick, near[:3])
    if before is None or after is None:
        one = before or after
        return _Found(one and replace(one, tick=tick, action_risk=1.0), is_sure=one is None)
    return _between(track, before, after, tick, near[1:])


def _between(track: Trajectory, one: Moment, other: Moment, tick: int, around: Sequence[Moment | None]) -> _Found:
    """On the straight line through two moments. A turn between them shows in the second differences around it, and
    takes the subject off the line by at most the larger one times the share of the way from the nearer moment."""
    share = (tick - one.tick) / (other.tick - one.tick)
    width, height = track.frame_width_px, track.frame_height_px
    x1, y1, x2, y2 = (a + share * (b - a) for a, b in zip(one.box_xyxy_px, other.box_xyxy_px, strict=True))
    box: Box = (max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2))
    bends = [b for three in zip(around, around[1:], around[2:], strict=False) for b in _bends(three, width, height)]
    moment = Moment(
        tick=tick,
        box_xyxy_px=box,
        location=place(box, width, height),
        action=(one if share < 0.5 else other).action,
        action_risk=max(one.action_risk, other.action_risk) if one.action == other.action else 1.0,
    )
    return _Found(moment, off=max(bends, default=inf) * min(share, abs(1 - share)))


def _bends(three: Sequence[Moment | None], width_px: int, height_px: int) -> list[float]:
    """Second differences of a box over three grid steps, in frame sides; none where it was not seen at one of them."""
    boxes = [m.box_xyxy_px for m in three if m is not None]
    if len(boxes) < 3:
        return []
    sides = (width_px, height_px, width_px, height_px)
    return [abs(a - 2 * b + c) / side for a, b, c, side in zip(*boxes, sides, strict=True)]


def _with(track: Trajectory, moments: Sequence[Moment]) -> Trajectory:
    return replace(track, moments=tuple(sorted(moments, key=lambda m: m.tick)))


def _all_motion_shown(scene: Scene, tracks: Sequence[Trajectory]) -> None:
    """A caption tells all motions of a subject in order: a frame of each must be shown, and the words must not change
    for the moments that were put in."""
    tick_s = scene.time_base_num / scene.time_base_den
    for track in tracks:
        if all(t.track_id != track.track_id for t in scene.tracks):
            continue
        told = scene.phases(scene.track(track.track_id))
        if told != phases(track, tick_s):
            raise NotShown("motion_not_shown", f"track {track.track_id}: its motions are told in other words")
        words = iter([m.action.removeprefix("moving ") for m in scene.seen(scene.track(track.track_id)).values()])
        if not all(word in words for word in told):
            raise NotShown("motion_not_shown", f"track {track.track_id}: {', then '.join(told)} is not all shown")
