"""Families about several subjects: on which side of another one is, when, which is faster, how many there are."""

from math import hypot

from schemas.clip import Moment, Trajectory
from stages.algorithms.asking import (
    COUNT_FORMAT,
    LETTER_FORMAT,
    LETTERS,
    SPAN_FORMAT,
    Program,
    Rendered,
    Unanswerable,
    moment_of,
    named,
)
from stages.algorithms.describe import EDGE, SPEED_BORDER, edge_gap
from stages.algorithms.events import AXES, side_of
from stages.algorithms.scene import Scene, is_followed, name, runs, span_text

SIDES = (("to the left of", "to the right of"), ("above", "below"))
CHOICE = ("to the left or to the right of", "above or below")
FASTER = 1.5  # times as fast counts as faster
FASTER_MARGIN = 0.5  # further on, it is safe


def beside(scene: Scene, program: Program) -> Rendered:
    """On which side of another a subject is at a planned frame."""
    one, other, axis, frame = _pair(scene, program)
    side, risk = _side(scene, one, other, axis, frame)
    if not side:
        raise Unanswerable(f"tracks {one.track_id} and {other.track_id} are level at frame{frame}")
    answer = f"{SIDES[axis][side > 0].capitalize()} it."
    return Rendered(
        f"Is the {name(one)} {CHOICE[axis]} the {name(other)} at frame{frame}, {scene.time(frame)}?", answer,
        "time->relation", "text", {"kind": "exact", "value": answer}, (one.track_id, other.track_id), (frame,),
        max(risk, one.risk, other.risk),
    )  # fmt: skip


def beside_when(scene: Scene, program: Program) -> Rendered:
    """When a subject is on a side of another: the way back of `beside`, one unbroken run of planned frames."""
    one, other = (named(scene, i) for i in program["tracks"])
    axis, word = program["axis"], program["side"]
    if axis not in (0, 1) or word not in AXES[axis]:
        raise Unanswerable(f"unknown side {word!r}; known: {AXES}")
    wanted = AXES[axis].index(word) * 2 - 1
    both = [k for k in scene.seen(one) if k in scene.seen(other)]
    if len(both) < scene.n_frames:
        raise Unanswerable("they are not both seen all the time")
    sides = {k: _side(scene, one, other, axis, k) for k in both}
    found = runs([k for k, (side, _) in sides.items() if side == wanted])
    if len(found) != 1 or not any(side == -wanted for side, _ in sides.values()):
        raise Unanswerable(f"{len(found)} times on that side, or never on the other")
    first, last = found[0]
    risks = [sides[k][1] for k in (first - 1, first, last, last + 1) if k in sides]
    return Rendered(
        f"When is the {name(one)} {SIDES[axis][wanted > 0]} the {name(other)}? {SPAN_FORMAT}",
        f"From {span_text(scene, first, last)}.", "relation->time", "interval",
        {"kind": "interval_iou", "value": [first, last]}, (one.track_id, other.track_id), tuple(both),
        max(*risks, one.risk, other.risk),
    )  # fmt: skip


def faster(scene: Scene, program: Program) -> Rendered:
    """Which of two subjects moves faster, or slower, in the picture. The composer asks where the camera stands."""
    tracks, ask = [named(scene, i) for i in program["tracks"]], program["ask"]
    if ask not in ("faster", "slower") or len({t.track_id for t in tracks}) != 2:
        raise Unanswerable(f"two subjects are compared, which is faster or slower, not {program}")
    speeds = [_speed(scene, track) for track in tracks]
    ratio = max(speeds) / max(min(speeds), 1e-9)
    if min(speeds) < SPEED_BORDER or ratio < FASTER:
        raise Unanswerable(f"speeds of {speeds[0]:.3f} and {speeds[1]:.3f} diagonals a second are no order")
    chosen = speeds.index(max(speeds) if ask == "faster" else min(speeds))
    options = [f"the {name(t)}" for t in tracks]
    listed = " ".join(f"({LETTERS[i]}) {option}" for i, option in enumerate(options))
    frames = sorted({k for t in tracks for k in scene.seen(t)})
    return Rendered(
        f"Which moves {ask} on average? {listed} {LETTER_FORMAT}", f"({LETTERS[chosen]}) {options[chosen]}.",
        f"motion->{ask}", "choice", {"kind": "choice", "value": LETTERS[chosen], "options": options},
        tuple(sorted(t.track_id for t in tracks)), tuple(frames),
        max(0.0, 1.0 - (ratio - FASTER) / FASTER_MARGIN, *(t.risk for t in tracks)),
    )  # fmt: skip


def count(scene: Scene, program: Program) -> Rendered:
    """How many moving subjects are seen at a planned frame. Never where a detector looked: it misses some."""
    frame = program["frame"]
    if is_followed(scene) or not scene.tracks:
        raise Unanswerable("a detector may have missed some, or nobody is there")
    if not 1 <= frame <= scene.n_frames:
        raise Unanswerable(f"there is no frame{frame}")
    here = [t for t in scene.tracks if scene.at(t, frame)]
    risk = max(max(_comes_or_goes(scene, t, frame), t.risk) for t in scene.tracks)
    asked = f"of the subjects that move in this video are seen at frame{frame}, {scene.time(frame)}"
    return Rendered(
        f"How many {asked}? {COUNT_FORMAT}", f"{len(here)}.", "time->count", "number",
        {"kind": "count", "value": len(here)}, tuple(t.track_id for t in here),
        tuple(range(1, scene.n_frames + 1)), risk,
    )  # fmt: skip


def _pair(scene: Scene, program: Program) -> tuple[Trajectory, Trajectory, int, int]:
    one, other = (named(scene, i) for i in program["tracks"])
    axis = program["axis"]
    if one is other or axis not in (0, 1):
        raise Unanswerable(f"two subjects are compared along axis 0 or 1, not {program}")
    return one, other, axis, program["frame"]


def _side(scene: Scene, one: Trajectory, other: Trajectory, axis: int, frame: int) -> tuple[int, float]:
    pair = moment_of(scene, one, frame), moment_of(scene, other, frame)
    return side_of(*pair, one.frame_width_px, one.frame_height_px, axis)


def _speed(scene: Scene, track: Trajectory) -> float:
    """The way between neighbouring planned frames over the time between them, frame diagonals a second."""
    seen, size = scene.seen(track), (track.frame_width_px, track.frame_height_px)
    if any(edge_gap(m.box_xyxy_px, *size) <= EDGE for m in seen.values()):
        raise Unanswerable(f"track {track.track_id} is cut by the edge, and the centre of what is left is slower")
    steps = [(seen[k], seen[k + 1]) for k in seen if k + 1 in seen]
    if not steps:
        raise Unanswerable(f"track {track.track_id} is not seen at two frames in a row")
    way = sum(_way_px(a, b) for a, b in steps) / hypot(track.frame_width_px, track.frame_height_px)
    return way / (sum(b.tick - a.tick for a, b in steps) * scene.time_base_num / scene.time_base_den)


def _way_px(one: Moment, other: Moment) -> float:
    (a1, b1, a2, b2), (c1, d1, c2, d2) = one.box_xyxy_px, other.box_xyxy_px
    return hypot(a1 + a2 - c1 - c2, b1 + b2 - d1 - d2) / 2


def _comes_or_goes(scene: Scene, track: Trajectory, frame: int) -> float:
    """1 where a subject may be there at the frame or not: the grid saw it come or go within half a frame spacing."""
    tick = scene.frame_tick[frame - 1]
    near = min((abs(b - tick) for b in scene.frame_tick if b != tick), default=0) / 2
    ends = (track.moments[0].tick, track.moments[-1].tick)
    inside = scene.frame_tick[0] < ends[0], ends[1] < scene.frame_tick[-1]
    return float(any(is_in and abs(end - tick) <= near for end, is_in in zip(ends, inside, strict=True)))
