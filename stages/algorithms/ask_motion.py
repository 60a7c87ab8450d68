"""Families about one subject's motion: what it does between two frames, when it does that, and for how long."""

from itertools import pairwise
from math import ceil
from statistics import median

from schemas.clip import Trajectory
from stages.algorithms.asking import (
    SPAN_FORMAT,
    TIME_FORMAT,
    Program,
    Rendered,
    Unanswerable,
    named,
)
from stages.algorithms.describe import EDGE, LABELLED_WINDOW_S, STILL, WINDOW_S, Phase, edge_gap, is_labelled
from stages.algorithms.scene import Scene, name, runs, span_text

MIN_FRAMES = 2  # that show a motion which is asked about


def doing(scene: Scene, program: Program) -> Rendered:
    """What a subject does between two planned frames, motions in order."""
    track, first, last = named(scene, program["track"]), program["first"], program["last"]
    seen = scene.seen(track)
    if not 1 <= first < last <= scene.n_frames or any(k not in seen for k in range(first, last + 1)):
        raise Unanswerable(f"track {track.track_id} is not seen at all frames from frame{first} to frame{last}")
    said: list[str] = []
    for k in range(first, last + 1):
        word = _word(seen[k].action)
        if not said or said[-1] != word:
            said.append(word)
    span = scene.frame_tick[first - 1], scene.frame_tick[last - 1]
    ends = [(p.word, *_ticks(track, p)) for p in scene.steady(track)]
    within = [word for word, start, end in ends if start <= span[1] and end >= span[0]]
    if said != within:  # a short motion between two frames, or a blend of two at one
        raise Unanswerable(f"track {track.track_id}: the frames tell {said}, all moments {within}")
    window = (LABELLED_WINDOW_S if is_labelled(track) else WINDOW_S) * scene.time_base_den / scene.time_base_num
    if any(a[2] - window <= tick <= b[1] + window for a, b in pairwise(ends) for tick in span):
        raise Unanswerable(f"track {track.track_id} changes its motion just at frame{first} or frame{last}")
    answer = f"It {_told(said)}."
    return Rendered(
        f"What does the {name(track)} do from frame{first} to frame{last}?", answer, "time->motion", "text",
        {"kind": "exact", "value": answer}, (track.track_id,), tuple(range(first, last + 1)),
        max(track.risk, *(seen[k].action_risk for k in range(first, last + 1))),
    )  # fmt: skip


def acting(scene: Scene, program: Program) -> Rendered:
    """When a subject moves so: the way back of `doing`."""
    track, word = named(scene, program["track"]), program["motion"]
    phase = _only(scene, track, word)
    seen = scene.seen(track)
    frames = [k for k, m in seen.items() if _word(m.action) == word]
    found = runs(frames)
    if len(found) != 1 or len(frames) < MIN_FRAMES:
        raise Unanswerable(f"track {track.track_id} is seen {len(found)} times to do so, at {len(frames)} frames")
    first, last = found[0]
    _ends_seen(scene, track, phase)
    near = [seen[k].action_risk for k in (first - 1, first, last, last + 1) if k in seen]
    return Rendered(
        f"When does the {name(track)} {_does(word)}? {SPAN_FORMAT}", f"From {span_text(scene, first, last)}.",
        "motion->time", "interval", {"kind": "interval_iou", "value": [first, last]}, (track.track_id,),
        tuple(k for k in range(first - 1, last + 2) if k in seen), max(track.risk, *near),
    )  # fmt: skip


def lasting(scene: Scene, program: Program) -> Rendered:
    """For how long a subject moves so, to within the spacing of the frames shown."""
    track, word = named(scene, program["track"]), program["motion"]
    phase = _only(scene, track, word)
    _ends_seen(scene, track, phase)
    ticks, tick_s = [m.tick for m in track.moments], scene.time_base_num / scene.time_base_den
    steadies = scene.steady(track)
    at = steadies.index(phase)
    # A change lies between the last moment of one motion and the first of the next one; half of that is not known.
    before = steadies[at - 1].last if at else 0
    after = steadies[at + 1].first if at + 1 < len(steadies) else len(ticks) - 1
    seconds = (ticks[phase.last] + ticks[after] - ticks[before] - ticks[phase.first]) / 2 * tick_s
    off_s = (ticks[phase.first] - ticks[before] + ticks[after] - ticks[phase.last]) / 2 * tick_s
    spacing_s = median(b - a for a, b in pairwise(scene.frame_tick)) * tick_s
    within_s = max(spacing_s, off_s)
    if seconds < 2 * within_s:
        raise Unanswerable(f"{seconds:.2f} s are not twice what the frames leave open, {within_s:.2f} s")
    risks = [m.action_risk for m in track.moments[phase.first : phase.last + 1]]
    first, last = _ticks(track, phase)
    frames = tuple(k for k, m in scene.seen(track).items() if first <= m.tick <= last)
    return Rendered(
        f"For how long does the {name(track)} {_does(word)}? {TIME_FORMAT}", f"For about {seconds:.1f} s.",
        "motion->duration", "number",
        {"kind": "seconds", "value": {"seconds": round(seconds, 1), "within": ceil(within_s * 10) / 10}},
        (track.track_id,), frames, max(track.risk, median(risks)),
    )  # fmt: skip


def away(scene: Scene, program: Program) -> Rendered:
    """When a subject that comes back is out of view: it was at the edge before, and is after."""
    track = named(scene, program["track"])
    seen = list(scene.seen(track))
    gaps = [(a + 1, b - 1) for a, b in pairwise(seen) if b > a + 1]
    if len(gaps) != 1:
        raise Unanswerable(f"track {track.track_id} is {len(gaps)} times out of view")
    first, last = gaps[0]
    span = scene.frame_tick[first - 2], scene.frame_tick[last]
    around = [m for m in track.moments if span[0] <= m.tick <= span[1]]
    before, after = max(pairwise(around), key=lambda pair: pair[1].tick - pair[0].tick)
    size = track.frame_width_px, track.frame_height_px
    gap = max(edge_gap(m.box_xyxy_px, *size) for m in (before, after))
    if gap > EDGE:
        raise Unanswerable(f"track {track.track_id} is lost away from the edge: it may be there unseen")
    return Rendered(
        f"When is the {name(track)} out of view? {SPAN_FORMAT}", f"From {span_text(scene, first, last)}.",
        "identity->absence", "interval", {"kind": "interval_iou", "value": [first, last]}, (track.track_id,),
        tuple(range(first - 1, last + 2)), track.risk,
    )  # fmt: skip


def _only(scene: Scene, track: Trajectory, word: str) -> Phase:
    found = [p for p in scene.steady(track) if p.word == word]
    if len(found) != 1:
        raise Unanswerable(f"track {track.track_id} moves so {len(found)} times: {word}")
    return found[0]


def _ends_seen(scene: Scene, track: Trajectory, phase: Phase) -> None:
    """Raises where a labelled subject may move so before or after it is tracked."""
    if not is_labelled(track):
        return
    seen = scene.seen(track)
    if (phase.first == 0 and 1 not in seen) or (phase.last == len(track.moments) - 1 and scene.n_frames not in seen):
        raise Unanswerable(f"track {track.track_id} may move so unseen")


def _ticks(track: Trajectory, phase: Phase) -> tuple[int, int]:
    return track.moments[phase.first].tick, track.moments[phase.last].tick


def _word(action: str) -> str:
    return action.removeprefix("moving ")


def _does(word: str) -> str:
    return "stay still" if word == STILL else f"move {word}"


def _told(words: list[str]) -> str:
    """ "moves right, then stops"; "stays still, then moves down" """
    if words == [STILL]:
        return "stays still"
    first = "stays still" if words[0] == STILL else f"moves {words[0]}"
    rest = ["stops" if w == STILL else f"moves {w}" if before == STILL else w for before, w in pairwise(words)]
    return ", then ".join([first, *rest])
