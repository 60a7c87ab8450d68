"""What questions are asked about: the tracks of a clip at its planned frames. Verify rebuilds it from the shards."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.clip import Box, Event, Moment, Trajectory
from schemas.time import seconds
from stages.algorithms.describe import Phase, is_labelled, steady
from stages.algorithms.events import ENDS, STARTS


@dataclass(frozen=True, slots=True)
class Scene:
    """Frames are named by their 1-based index in the plan, as in the paper; times run from the clip's start."""

    frame_tick: tuple[int, ...]
    start_tick: int
    time_base_num: int
    time_base_den: int
    tracks: tuple[Trajectory, ...]  # those that a planned frame shows: the others cannot be asked about
    events: tuple[Event, ...]
    names: frozenset[str]  # of all subjects of the clip, also of those between two planned frames
    _seen: Mapping[int, Mapping[int, Moment]] = field(init=False, repr=False, compare=False)  # by id() of a track

    def __post_init__(self) -> None:
        # Every question asks for it several times: without this, half of the time that composing takes.
        object.__setattr__(self, "_seen", {id(track): self._observed(track) for track in self.tracks})

    @classmethod
    def of(
        cls,
        frame_tick: tuple[int, ...],
        start_tick: int,
        time_base: tuple[int, int],
        tracks: Sequence[Trajectory],
        events: tuple[Event, ...],
    ) -> "Scene":
        """The scene of a clip: planned frames, time base as (num, den), all its tracks and events."""
        plan = set(frame_tick)
        return cls(
            frame_tick=frame_tick,
            start_tick=start_tick,
            time_base_num=time_base[0],
            time_base_den=time_base[1],
            tracks=tuple(t for t in tracks if any(m.tick in plan for m in t.moments)),
            events=events,
            names=frozenset(map(name, tracks)),
        )

    @property
    def n_frames(self) -> int:
        return len(self.frame_tick)

    @property
    def has_ends(self) -> bool:
        """Whether a subject comes or goes inside the clip."""
        return any(event.kind in (*STARTS, *ENDS) for event in self.events)

    def time(self, frame: int) -> str:
        """The time of a planned frame as text: "0.35 s"."""
        return f"{seconds(self.frame_tick[frame - 1] - self.start_tick, self.time_base_num, self.time_base_den):.2f} s"

    def track(self, track_id: int) -> Trajectory:
        (found,) = [t for t in self.tracks if t.track_id == track_id]
        return found

    def at(self, track: Trajectory, frame: int) -> Moment | None:
        """What the subject does at a planned frame, or None where it was not observed."""
        return self.seen(track).get(frame)

    def seen(self, track: Trajectory) -> Mapping[int, Moment]:
        """The planned frames at which the subject was observed, ascending."""
        known = self._seen.get(id(track))
        return self._observed(track) if known is None else known

    def _observed(self, track: Trajectory) -> Mapping[int, Moment]:
        by_tick = {m.tick: m for m in track.moments if not m.interpolated}
        return {k: by_tick[t] for k, t in enumerate(self.frame_tick, start=1) if t in by_tick}

    def between(self, event: Event) -> tuple[int, int] | None:
        """The planned frames around an event, the last that shows what was before and the first that shows what is
        after; None where one of them is not shown."""
        is_end = event.kind in ("leaves", "disappears")
        before = event.tick if is_end else event.tick - 1 if event.since_tick is None else event.since_tick
        after = event.tick + 1 if is_end else event.tick
        first = bisect_right(self.frame_tick, before)
        last = bisect_left(self.frame_tick, after) + 1
        return (first, last) if first >= 1 and last <= self.n_frames else None

    def event(self, track: Trajectory, kinds: tuple[str, str]) -> str | None:
        """Which of two kinds of event happens to the subject, if one does."""
        return next((e.kind for e in self.events if e.track_id == track.track_id and e.kind in kinds), None)

    def steady(self, track: Trajectory) -> tuple[Phase, ...]:
        return steady(track, self.time_base_num / self.time_base_den)

    def phases(self, track: Trajectory) -> tuple[str, ...]:
        return tuple(phase.word for phase in self.steady(track))


PEOPLE = ("person", "man", "woman", "boy", "girl", "child", "pedestrian", "rider")  # the colour is what they wear


def name(track: Trajectory) -> str:
    """ "small red circle", "red car", "person in red", "person" """
    if not track.appearance:
        return track.name
    return f"{track.name} in {track.appearance}" if track.name in PEOPLE else f"{track.appearance} {track.name}"


def a_name(track: Trajectory) -> str:
    """ "a small red circle", "an orange car" """
    return f"{'an' if name(track)[0] in 'aeiou' else 'a'} {name(track)}"


def fits(track: Trajectory, other: Trajectory) -> bool:
    """Whether the first one's name is right of the other, too: a car whose colour is not sure may be the red one."""
    is_unsure = track.name == other.name and is_labelled(track) and not (track.appearance and other.appearance)
    return name(other) == name(track) or is_unsure


def is_followed(scene: Scene) -> bool:
    """Whether a detector named the subjects: then there may be others, and these may be there unseen."""
    return any(map(is_labelled, scene.tracks))


def box_text(box: Box, width_px: int, height_px: int) -> str:
    """The paper's box: integers 0..1000 of the upright frame, per axis, unpadded (DESIGN section 5)."""
    sides = (width_px, height_px, width_px, height_px)
    values = (min(1000, max(0, round(1000 * v / side))) for v, side in zip(box, sides, strict=True))
    return "[" + ",".join(map(str, values)) + "]"


def coordinates(track: Trajectory, moment: Moment) -> str:
    return box_text(moment.box_xyxy_px, track.frame_width_px, track.frame_height_px)


def track_text(scene: Scene, track: Trajectory, *, named: bool = True) -> str:
    """The paper's track: "Track1: small red circle<id1>frame1:[x1,y1,x2,y2];frame2:[...]</id1>"."""
    boxes = ";".join(f"frame{k}:{coordinates(track, m)}" for k, m in scene.seen(track).items())
    i = track.track_id
    return f"Track{i}: {name(track) if named else ''}<id{i}>{boxes}</id{i}>"


def span_text(scene: Scene, first: int, last: int) -> str:
    """ "frame1 to frame3, 0.10 s to 0.50 s", ends included"""
    return f"frame{first} to frame{last}, {scene.time(first)} to {scene.time(last)}"


MAX_NAMED = 4  # subjects of one sentence or timeline: 17 cars made an answer of 400 words


def in_place(location: str) -> str:
    """ "on the left", "at the top", "in the top left" """
    preposition = {"left": "on", "right": "on", "top": "at", "bottom": "at"}.get(location, "in")
    return f"{preposition} the {location}"


def global_caption(scene: Scene) -> str:
    """One sentence over the subjects seen longest: who enters, moves how, from where to where, leaves."""
    longest = sorted(scene.tracks, key=lambda t: (-len(t.moments), t.track_id))[:MAX_NAMED]
    clauses = [_clause(scene, track) for track in scene.tracks if track in longest]
    others = len(scene.tracks) - len(clauses)
    if others and is_followed(scene):
        clauses.append("others are seen")
    elif others:
        clauses.append(f"{others} other{'s' if others > 1 else ''} move{'' if others > 1 else 's'}")
    text = ", and ".join(clauses) + "."
    return text[0].upper() + text[1:]


def timeline(scene: Scene) -> str:
    """The clip in order: for each run of planned frames without a change, where each subject is."""
    states: list[tuple[int, int, tuple[str, ...]]] = []
    for frame in range(1, scene.n_frames + 1):
        here = [(t, scene.at(t, frame)) for t in scene.tracks]
        state = tuple(f"{name(t)} {in_place(m.location)}" for t, m in here if m)
        if states and states[-1][2] == state:
            states[-1] = (states[-1][0], frame, state)
        else:
            states.append((frame, frame, state))
    nobody = "nothing tracked" if is_followed(scene) else "nothing"
    return " ".join(f"{_frames(a, b)}: {', '.join(state) or nobody}." for a, b, state in states)


def runs(frames: Sequence[int]) -> list[tuple[int, int]]:
    """Maximal runs of consecutive integers: [1, 2, 3, 6] -> [(1, 3), (6, 6)]."""
    found: list[tuple[int, int]] = []
    for k in frames:
        if found and found[-1][1] == k - 1:
            found[-1] = (found[-1][0], k)
        else:
            found.append((k, k))
    return found


def _clause(scene: Scene, track: Trajectory) -> str:
    steps = scene.phases(track)
    place = in_place(track.moments[-1].location)
    if not steps:
        said = f"is {place}" if is_labelled(track) else f"moves about {place}"
    elif all(s == "still" for s in steps):
        said = f"stays still {place}"
    elif steps[0] == "still":
        said = f"waits, then moves {_way(track, steps[1:])}"
    else:
        said = f"moves {_way(track, steps)}"
    start = scene.event(track, ("enters", "appears"))
    end = scene.event(track, ("leaves", "disappears"))
    return f"{a_name(track)} {f'{start} and ' if start else ''}{said}{f', then {end}' if end else ''}"


def _way(track: Trajectory, steps: Sequence[str]) -> str:
    """ "right from the left to the centre"; "left, then stops, in the centre" """
    first, last = track.moments[0].location, track.moments[-1].location
    where = in_place(last) if first == last else f"from the {first} to the {last}"
    return f"{', then '.join(_stop(s) for s in steps)}{',' if len(steps) > 1 else ''} {where}"


def _stop(word: str) -> str:
    return "stops" if word == "still" else word


def _frames(first: int, last: int) -> str:
    return f"frame{first}" if first == last else f"frame{first} to frame{last}"
