"""Twins: the same question about the same frames shown otherwise, and the answer that follows from the tracks.

Who looks at one frame, or knows what things usually do, answers a film and its twin alike. A twin is a plan of frames,
no new video: `order` of the planned frames at the plan's times, and whether they are mirrored.

reversed  from the last to the first: ways turn round, who leaves enters
swapped   the second part before the first
mirrored  left for right
frozen    one frame all the time: where things are can be told, what they do cannot
slowed    each frame twice, so half of the film

What a twin shows is known at planned frames only; words of motion at a seam are unsure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot

from schemas.clip import Box, Event, Moment, Trajectory
from stages.algorithms.asking import Unanswerable
from stages.algorithms.describe import STILL, motion_word, place
from stages.algorithms.scene import Scene

KINDS = ("reversed", "swapped", "mirrored", "frozen", "slowed")
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
BACKWARD = {
    "enters": "leaves", "leaves": "enters", "appears": "disappears", "disappears": "appears",
    "starts": "stops", "stops": "starts", "turns": "turns", "crosses": "crosses", "overtakes": "overtakes",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """How a twin shows the planned frames."""

    order: tuple[int, ...]  # 1-based
    mirrored: bool = False


def showing(kind: str, n_frames: int, at: int) -> Showing:
    """The frames of a twin. `at`: of "swapped" the last frame of the first part, of "frozen" the frame, of "slowed" 1
    or 2 for the half; of the others 0. Raises Unanswerable where there is no such twin."""
    every = tuple(range(1, n_frames + 1))
    if kind == "reversed" and at == 0:
        return Showing(order=every[::-1])
    if kind == "mirrored" and at == 0:
        return Showing(order=every, mirrored=True)
    if kind == "swapped" and 2 <= at <= n_frames - 2:
        return Showing(order=every[at:] + every[:at])
    if kind == "frozen" and 1 <= at <= n_frames:
        return Showing(order=(at,) * n_frames)
    if kind == "slowed" and at in (1, 2) and n_frames >= 4:
        first = 0 if at == 1 else n_frames // 2
        return Showing(order=tuple(every[first + k // 2] for k in range(n_frames)))
    raise Unanswerable(f"no twin {kind!r} of {n_frames} frames at {at}; known: {', '.join(KINDS)}")


def in_one_part(shown: Showing, first: int, last: int) -> bool:
    """Whether the frames from one to another of the film are shown in a row."""
    return shown.order.index(last) - shown.order.index(first) == last - first


def shown_scene(scene: Scene, kind: str, at: int) -> Scene:
    """What a perfect tracker would report of the twin's frames."""
    shown = showing(kind, scene.n_frames, at)
    tracks = tuple(path for t in scene.tracks if (path := _shown_track(scene, t, kind, shown)) is not None)
    present = {t.track_id for t in tracks}
    events = [event for e in scene.events if (event := _shown_event(scene, e, kind, shown)) is not None]
    told = tuple(e for e in events if e.track_id in present)
    return Scene(
        frame_tick=scene.frame_tick, start_tick=scene.start_tick, time_base_num=scene.time_base_num,
        time_base_den=scene.time_base_den, tracks=tracks, events=told, names=scene.names,
    )  # fmt: skip


def _shown_track(scene: Scene, track: Trajectory, kind: str, shown: Showing) -> Trajectory | None:
    seen = scene.seen(track)
    moments: list[Moment] = []
    for position, frame in enumerate(shown.order, start=1):
        if (moment := seen.get(frame)) is not None:
            moments.append(_shown_moment(scene, track, moment, position, shown))
    if not moments:
        return None
    if kind == "slowed":
        moments = [_slowed(scene, track, moments, k) for k in range(len(moments))]
    words = {"reversed": _backward, "mirrored": _mirrored, "frozen": lambda _: STILL}.get(kind)
    if words:
        moments = [replace(m, action=words(m.action)) for m in moments]
    if kind == "frozen":
        moments = [replace(m, action_risk=0.0) for m in moments]
    if kind == "swapped":
        second = shown.order.index(1)
        seam = scene.frame_tick[second - 1 : second + 1]
        moments = [replace(m, action_risk=1.0) if m.tick in seam else m for m in moments]
    return replace(track, moments=tuple(moments))


def _shown_moment(scene: Scene, track: Trajectory, moment: Moment, position: int, shown: Showing) -> Moment:
    box = moment.box_xyxy_px
    if shown.mirrored:
        box = _flipped(box, track.frame_width_px)
    return replace(
        moment,
        tick=scene.frame_tick[position - 1],
        box_xyxy_px=box,
        location=place(box, track.frame_width_px, track.frame_height_px),
    )


def _slowed(scene: Scene, track: Trajectory, moments: Sequence[Moment], k: int) -> Moment:
    """At half the speed, what moved may stand: told by the way between the distinct frames around this one."""
    near = moments[max(0, k - 2)], moments[min(len(moments) - 1, k + 2)]
    seconds = (near[1].tick - near[0].tick) * scene.time_base_num / scene.time_base_den
    if seconds <= 0:
        return replace(moments[k], action_risk=1.0)
    (a1, b1, a2, b2), (c1, d1, c2, d2) = (m.box_xyxy_px for m in near)
    diagonal = hypot(track.frame_width_px, track.frame_height_px)
    word, risk = motion_word((c1 + c2 - a1 - a2) / 2, (d1 + d2 - b1 - b2) / 2, seconds, diagonal)
    same = word == moments[k].action.removeprefix("moving ")
    return replace(moments[k], action_risk=max(risk, moments[k].action_risk) if same else 1.0)


def _shown_event(scene: Scene, event: Event, kind: str, shown: Showing) -> Event | None:
    """The event as the twin shows it; None where it does not, or where that cannot be known."""
    if kind == "mirrored":
        return replace(event, detail=_mirrored(event.detail))
    span = scene.between(event)
    if span is None:
        return None
    if kind == "swapped":  # what lies on both sides of the seam, or at it, is not shown
        if not in_one_part(shown, max(1, span[0] - 1), min(scene.n_frames, span[1] + 1)):
            return None
        first, last = (shown.order.index(k) for k in span)
        return _at(event, (scene.frame_tick[first], scene.frame_tick[last]))
    if kind != "reversed" or event.kind not in BACKWARD:
        return None
    first, last = (scene.n_frames - k for k in reversed(span))
    return _backward_event(event, (scene.frame_tick[first], scene.frame_tick[last]))


def _at(event: Event, ticks: tuple[int, int]) -> Event:
    """The event between two moments, the last of what was before and the first of what is after."""
    is_end = event.kind in ("leaves", "disappears")
    return replace(
        event, tick=ticks[0] if is_end else ticks[1], since_tick=None if event.since_tick is None else ticks[0]
    )  # fmt: skip


def _backward_event(event: Event, ticks: tuple[int, int]) -> Event:
    before, _, after = event.detail.partition(" to ")
    if event.kind == "turns":
        detail = f"{_backward(after)} to {_backward(before)}"
    elif event.kind == "crosses":
        detail = f"{after} to {before}"
    elif event.kind == "overtakes":
        detail = _backward(event.detail)
    else:
        detail = f"{_backward(after)} to {_backward(before)}" if after else ""
    return _at(replace(event, kind=BACKWARD[event.kind], detail=detail), ticks)


def _flipped(box: Box, width_px: int) -> Box:
    x1, y1, x2, y2 = box
    return width_px - x2, y1, width_px - x1, y2


def _backward(words: str) -> str:
    return " ".join(OPPOSITE.get(word, word) for word in words.split(" "))


def _mirrored(words: str) -> str:
    return " ".join(OPPOSITE[word] if word in ("left", "right") else word for word in words.split(" "))
