"""Programs over a scene, and the conversations that follow from them: one pure function a family.

A program is a small query, stored as JSON beside its sample. `render` turns program and scene into question, answer,
reward and evidence; composing renders it once, `utr verify` renders it again from the shards and compares.
Families and text after the paper (Video-UTR, Eq. 9; format of Merlin): bidirectional in time and in attribute.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.clip import Moment, Trajectory
from stages.algorithms.describe import is_labelled, place_risk
from stages.algorithms.scene import (
    MAX_NAMED,
    Scene,
    a_name,
    coordinates,
    fits,
    global_caption,
    in_place,
    is_followed,
    name,
    runs,
    span_text,
    timeline,
    track_text,
)

Program = Mapping[str, Any]  # JSON: {"op": family, ...}
TRACK_FORMAT = "Write tracks as Track1: name<id1>frame1:[x1,y1,x2,y2]</id1>."
BOX_FORMAT = "Write boxes as frame1:[x1,y1,x2,y2]."
SPAN_FORMAT = "Answer with frames and times."
LETTER_FORMAT = "Answer with the letter."
NAME_FORMAT = "Answer with the subject."
LETTERS = "ABCDEFGH"
CAPTION_QUESTION = "What happens in this video?"
TIMELINE_QUESTION = "Where is each moving subject over time? Answer in order, with frames."
FOLLOWED_QUESTION = "Where are the tracked subjects over time? Answer in order, with frames."


class Unanswerable(ValueError):
    """The program has no single right answer on this scene."""


@dataclass(frozen=True, slots=True)
class Rendered:
    question: str
    answer: str
    direction: str  # what is given -> what is asked
    answer_type: str
    reward: dict[str, Any]
    track_ids: tuple[int, ...]
    frames: tuple[int, ...]  # planned frames that the answer needs, 1-based
    risk: float  # 0..1


def render(scene: Scene, program: Program) -> Rendered:
    """Question and answer of a program; raises Unanswerable where the scene gives none, or more than one."""
    op = program.get("op")
    if op not in FAMILIES:
        raise Unanswerable(f"unknown op {op!r}; known: {', '.join(FAMILIES)}")
    return FAMILIES[op](scene, program)


def record(scene: Scene, program: Program) -> Rendered:
    """One attribute of a subject -> its whole record (paper, Eq. 9)."""
    track = _track(scene, program["track"])
    by, frame = program["by"], program["frame"]
    moment = _moment(scene, track, frame)
    seen = scene.seen(track)
    first, last = min(seen), max(seen)
    times = f"{scene.time(first)} to {scene.time(last)}"
    asks = {
        "coordinate": f"What is the subject at frame{frame}:{coordinates(track, moment)} doing?",
        "location": f"What is the subject {in_place(moment.location)} at frame{frame} doing?",
        "appearance": f"What is the {name(track)} doing at frame{frame}?",
        "frames": f"What is the subject that is seen from frame{first} to frame{last} only doing at frame{frame}?",
        "time": f"What is the subject that is seen from {times} only doing at frame{frame}?",
        "action": f"Which subject is {moment.action} at frame{frame}?",
    }
    same = {
        "coordinate": lambda t, m: m is not None and coordinates(t, m) == coordinates(track, moment),
        "location": lambda t, m: m is not None and m.location == moment.location,
        "appearance": lambda t, _: fits(track, t),
        "frames": lambda t, _: _span(scene, t) == (first, last),
        "time": lambda t, _: _span(scene, t) == (first, last),
        "action": lambda t, m: m is not None and m.action == moment.action,
    }
    if by not in asks:
        raise Unanswerable(f"unknown attribute {by!r}")
    if by in ("frames", "time") and (first, last) == (1, scene.n_frames):
        raise Unanswerable(f"track {track.track_id} is seen throughout")
    if by in ("frames", "time"):
        _ends_known(scene, track, first, last)
    _unique([t for t in scene.tracks if same[by](t, scene.at(t, frame))], f"{by} at frame{frame}")
    question = f"{asks[by]} What is its whole track? {TRACK_FORMAT}"
    # Motion tells subjects apart by size and colour; of cars without a sure colour there may be more than one.
    is_one = not is_labelled(track) or sum(fits(track, t) for t in scene.tracks) == 1
    answer = (
        f"It is {f'the {name(track)}' if is_one else a_name(track)}, {moment.action} {in_place(moment.location)}, "
        f"and its track is {track_text(scene, track)}. It is {'tracked' if is_labelled(track) else 'seen'} from "
        f"{span_text(scene, first, last)}."
    )
    if program["caption"]:
        question += " By the way, what happens in this video?"
        caption = global_caption(scene)
        answer += f" This video shows that {caption[0].lower()}{caption[1:]}"
    spatial = by in ("coordinate", "location", "appearance")
    risk = max(_place_risk(track, moment), moment.action_risk, track.risk, _rival_risk(scene, track, by, frame))
    if program["caption"]:
        risk = max(risk, _caption_risk(scene))
    return Rendered(
        question, answer, f"{'spatial' if spatial else 'temporal'}->record", "text",
        _track_reward(scene, track), (track.track_id,), tuple(seen), risk,
    )  # fmt: skip


def trajectory(scene: Scene, program: Program) -> Rendered:
    """Identity -> trajectory, or the way back."""
    track = _track(scene, program["track"])
    frames = tuple(scene.seen(track))
    if program["ask"] == "trajectory":
        _unique([t for t in scene.tracks if fits(track, t)], name(track))
        return Rendered(
            f"What is the track of the {name(track)}? {TRACK_FORMAT}", f"{track_text(scene, track)}.",
            "identity->trajectory", "text", _track_reward(scene, track), (track.track_id,), frames, track.risk,
        )  # fmt: skip
    text = track_text(scene, track, named=False)
    _unique([t for t in scene.tracks if scene.seen(t) and _boxes(scene, t) == _boxes(scene, track)], "track")
    if is_labelled(track):
        _unique([t for t in scene.tracks if fits(track, t)], name(track))
    answer = f"The {name(track)}."
    return Rendered(
        f"Which subject has this track? {text}. {NAME_FORMAT}", answer,
        "trajectory->identity", "text", {"kind": "exact", "value": answer}, (track.track_id,), frames, track.risk,
    )  # fmt: skip


def when(scene: Scene, program: Program) -> Rendered:
    """Identity and place -> when: one unbroken run of planned frames."""
    track, location = _named(scene, program["track"]), program["location"]
    seen = scene.seen(track)
    at = runs([k for k, m in seen.items() if m.location == location])
    if len(at) != 1:
        raise Unanswerable(f"track {track.track_id} is {len(at)} times {in_place(location)}")
    first, last = at[0]
    _ends_known(scene, track, first, last)
    risk = max([track.risk, *(_place_risk(track, seen[k]) for k in (first - 1, first, last, last + 1) if k in seen)])
    return Rendered(
        f"When is the {name(track)} {in_place(location)}? {SPAN_FORMAT}", f"From {span_text(scene, first, last)}.",
        "place->time", "interval", {"kind": "interval_iou", "value": [first, last]},
        (track.track_id,), tuple(seen), risk,
    )  # fmt: skip


def where(scene: Scene, program: Program) -> Rendered:
    """Identity and frame -> place and box: the way back of `when`."""
    track, frame = _named(scene, program["track"]), program["frame"]
    moment = _moment(scene, track, frame)
    return Rendered(
        f"Where is the {name(track)} at frame{frame}, {scene.time(frame)}? {BOX_FORMAT}",
        f"{in_place(moment.location).capitalize()}, at frame{frame}:{coordinates(track, moment)}.",
        "time->place", "box", {"kind": "iou", "value": {str(frame): coordinates(track, moment)}},
        (track.track_id,), (frame,), max(_place_risk(track, moment), track.risk),
    )  # fmt: skip


def direction(scene: Scene, program: Program) -> Rendered:
    """Identity and a pair of frames -> direction of motion, as a choice of letters."""
    track, options = _named(scene, program["track"]), list(program["options"])
    first, last = program["first"], program["last"]
    between = [m for k, m in scene.seen(track).items() if first <= k <= last]
    words = {m.action for m in between}
    if len(between) < 2 or len(words) != 1 or "still" in words:
        raise Unanswerable(f"track {track.track_id} has no single direction from frame{first} to frame{last}")
    word = words.pop().removeprefix("moving ")
    if options.count(word) != 1 or len(set(options)) != len(options):
        raise Unanswerable(f"{word!r} is not exactly one of {options}")
    listed = " ".join(f"({LETTERS[i]}) {option}" for i, option in enumerate(options))
    letter = LETTERS[options.index(word)]
    return Rendered(
        f"Which way does the {name(track)} move from frame{first} to frame{last}? {listed} {LETTER_FORMAT}",
        f"({letter}) {word}.", "identity->motion", "choice", {"kind": "choice", "value": letter, "options": options},
        (track.track_id,), tuple(range(first, last + 1)), max(track.risk, *(m.action_risk for m in between)),
    )  # fmt: skip


def absent(scene: Scene, program: Program) -> Rendered:
    """A subject that is not there (paper: negatives). About motion only: the expert sees what moves.

    Nothing is absent where a detector looked: it misses subjects, small and hidden ones above all.
    """
    subject = program["subject"]
    if is_followed(scene):
        raise Unanswerable("a detector may have missed it")
    if subject in scene.names:
        raise Unanswerable(f"a {subject} is there")
    answer = f"No {subject} moves in this video."
    return Rendered(
        f"What is the track of the moving {subject}? {TRACK_FORMAT}", answer, "identity->none", "text",
        {"kind": "exact", "value": answer}, (), tuple(range(1, scene.n_frames + 1)), 0.0,
    )  # fmt: skip


def dense(scene: Scene, program: Program) -> Rendered:
    """The dense caption, ordered in time."""
    _someone(scene)
    if len(scene.tracks) > MAX_NAMED:
        raise Unanswerable(f"{len(scene.tracks)} subjects are too many for one timeline")
    risk = max(
        [_place_risk(t, m) for t in scene.tracks for m in scene.seen(t).values()] + [t.risk for t in scene.tracks]
    )
    return Rendered(
        FOLLOWED_QUESTION if is_followed(scene) else TIMELINE_QUESTION, timeline(scene),
        "video->timeline", "text", {"kind": "exact", "value": timeline(scene)},
        tuple(t.track_id for t in scene.tracks), tuple(range(1, scene.n_frames + 1)), risk,
    )  # fmt: skip


def caption(scene: Scene, program: Program) -> Rendered:
    """The global caption."""
    _someone(scene)
    text = global_caption(scene)
    return Rendered(
        CAPTION_QUESTION, text, "video->caption", "text",
        {"kind": "exact", "value": text}, tuple(t.track_id for t in scene.tracks),
        tuple(range(1, scene.n_frames + 1)), _caption_risk(scene),
    )  # fmt: skip


FAMILIES: dict[str, Callable[[Scene, Program], Rendered]] = {
    "record": record, "trajectory": trajectory, "when": when, "where": where, "direction": direction,
    "absent": absent, "timeline": dense, "caption": caption,
}  # fmt: skip


def _someone(scene: Scene) -> None:
    if not scene.tracks:
        raise Unanswerable("nobody is there")


def _track(scene: Scene, track_id: int) -> Trajectory:
    found = [t for t in scene.tracks if t.track_id == track_id]
    if len(found) != 1 or not scene.seen(found[0]):
        raise Unanswerable(f"no track {track_id} at the planned frames")
    return found[0]


def _named(scene: Scene, track_id: int) -> Trajectory:
    track = _track(scene, track_id)
    _unique([t for t in scene.tracks if fits(track, t)], name(track))
    return track


def _moment(scene: Scene, track: Trajectory, frame: int) -> Moment:
    moment = scene.at(track, frame) if 1 <= frame <= scene.n_frames else None
    if moment is None:
        raise Unanswerable(f"track {track.track_id} is not seen at frame{frame}")
    return moment


def _unique(candidates: list[Trajectory], what: str) -> None:
    if len(candidates) != 1:
        raise Unanswerable(f"{len(candidates)} subjects fit: {what}")


def _span(scene: Scene, track: Trajectory) -> tuple[int, int] | None:
    seen = scene.seen(track)
    return (min(seen), max(seen)) if seen else None


def _ends_known(scene: Scene, track: Trajectory, first: int, last: int) -> None:
    """Raises Unanswerable where a labelled subject may be there before `first` or after `last`, only not detected."""
    if not is_labelled(track):
        return
    seen = scene.seen(track)
    before = first == 1 or first - 1 in seen or scene.event(track, ("enters", "appears"))
    after = last == scene.n_frames or last + 1 in seen or scene.event(track, ("leaves", "disappears"))
    if not (before and after):
        raise Unanswerable(f"track {track.track_id} may be there before frame{first} or after frame{last}, undetected")


def _boxes(scene: Scene, track: Trajectory) -> list[tuple[int, str]]:
    return [(k, coordinates(track, m)) for k, m in scene.seen(track).items()]


def _place_risk(track: Trajectory, moment: Moment) -> float:
    return place_risk(moment.box_xyxy_px, track.frame_width_px, track.frame_height_px)


def _caption_risk(scene: Scene) -> float:
    """The caption names first and last places, and motions, of each subject."""
    ends = [(t, m) for t in scene.tracks for m in (t.moments[0], t.moments[-1])]
    return max([_place_risk(t, m) for t, m in ends] + [t.risk for t in scene.tracks])


def _rival_risk(scene: Scene, track: Trajectory, by: str, frame: int) -> float:
    """How near another subject is to fitting the question as well."""
    rivals = [(t, m) for t in scene.tracks if t is not track and (m := scene.at(t, frame))]
    if by == "location":
        return max((_place_risk(t, m) for t, m in rivals), default=0.0)
    return max((m.action_risk for _, m in rivals), default=0.0) if by == "action" else 0.0


def _track_reward(scene: Scene, track: Trajectory) -> dict[str, Any]:
    return {"kind": "iou", "value": {str(k): box for k, box in _boxes(scene, track)}}
