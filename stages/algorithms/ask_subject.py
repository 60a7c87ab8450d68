"""Families about one subject: its record, its track, when and where it is, which way it moves.

Families and text after the paper (Video-UTR, Eq. 9; format of Merlin): bidirectional in time and in attribute.
"""

from schemas.clip import Trajectory
from stages.algorithms.asking import (
    BOX_FORMAT,
    LETTER_FORMAT,
    LETTERS,
    NAME_FORMAT,
    SPAN_FORMAT,
    TRACK_FORMAT,
    Program,
    Rendered,
    Unanswerable,
    boxes,
    caption_risk,
    ends_known,
    moment_of,
    named,
    place_risk_of,
    track_of,
    track_reward,
    unique,
)
from stages.algorithms.describe import STILL, is_labelled
from stages.algorithms.scene import (
    Scene,
    a_name,
    coordinates,
    fits,
    global_caption,
    in_place,
    name,
    runs,
    span_text,
    track_text,
)


def record(scene: Scene, program: Program) -> Rendered:
    """One attribute of a subject -> its whole record (paper, Eq. 9)."""
    track = track_of(scene, program["track"])
    by, frame = program["by"], program["frame"]
    moment = moment_of(scene, track, frame)
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
    if by == "action" and moment.action == STILL:
        raise Unanswerable("what stands still all the time is not tracked, and may be meant")
    if by in ("frames", "time"):
        ends_known(scene, track, first, last)
    unique([t for t in scene.tracks if same[by](t, scene.at(t, frame))], f"{by} at frame{frame}")
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
    risk = max(place_risk_of(track, moment), moment.action_risk, track.risk, _rival_risk(scene, track, by, frame))
    if program["caption"]:
        risk = max(risk, caption_risk(scene))
    return Rendered(
        question, answer, f"{'spatial' if spatial else 'temporal'}->record", "text",
        track_reward(scene, track), (track.track_id,), tuple(seen), risk,
    )  # fmt: skip


def trajectory(scene: Scene, program: Program) -> Rendered:
    """Identity -> trajectory, or the way back."""
    track = track_of(scene, program["track"])
    frames = tuple(scene.seen(track))
    if program["ask"] == "trajectory":
        unique([t for t in scene.tracks if fits(track, t)], name(track))
        return Rendered(
            f"What is the track of the {name(track)}? {TRACK_FORMAT}", f"{track_text(scene, track)}.",
            "identity->trajectory", "text", track_reward(scene, track), (track.track_id,), frames, track.risk,
        )  # fmt: skip
    if program["ask"] != "identity":
        raise Unanswerable(f"unknown ask {program['ask']!r}; known: trajectory, identity")
    text = track_text(scene, track, named=False)
    unique([t for t in scene.tracks if scene.seen(t) and boxes(scene, t) == boxes(scene, track)], "track")
    if is_labelled(track):
        unique([t for t in scene.tracks if fits(track, t)], name(track))
    answer = f"The {name(track)}."
    return Rendered(
        f"Which subject has this track? {text}. {NAME_FORMAT}", answer,
        "trajectory->identity", "text", {"kind": "exact", "value": answer}, (track.track_id,), frames, track.risk,
    )  # fmt: skip


def when(scene: Scene, program: Program) -> Rendered:
    """Identity and place -> when: one unbroken run of planned frames."""
    track, location = named(scene, program["track"]), program["location"]
    seen = scene.seen(track)
    at = runs([k for k, m in seen.items() if m.location == location])
    if len(at) != 1:
        raise Unanswerable(f"track {track.track_id} is {len(at)} times {in_place(location)}")
    first, last = at[0]
    ends_known(scene, track, first, last)
    risk = max([track.risk, *(place_risk_of(track, seen[k]) for k in (first - 1, first, last, last + 1) if k in seen)])
    return Rendered(
        f"When is the {name(track)} {in_place(location)}? {SPAN_FORMAT}", f"From {span_text(scene, first, last)}.",
        "place->time", "interval", {"kind": "interval_iou", "value": [first, last]},
        (track.track_id,), tuple(seen), risk,
    )  # fmt: skip


def where(scene: Scene, program: Program) -> Rendered:
    """Identity and frame -> place and box: the way back of `when`."""
    track, frame = named(scene, program["track"]), program["frame"]
    moment = moment_of(scene, track, frame)
    return Rendered(
        f"Where is the {name(track)} at frame{frame}, {scene.time(frame)}? {BOX_FORMAT}",
        f"{in_place(moment.location).capitalize()}, at frame{frame}:{coordinates(track, moment)}.",
        "time->place", "box", {"kind": "iou", "value": {str(frame): coordinates(track, moment)}},
        (track.track_id,), (frame,), max(place_risk_of(track, moment), track.risk),
    )  # fmt: skip


def direction(scene: Scene, program: Program) -> Rendered:
    """Identity and a pair of frames -> direction of motion, as a choice of letters."""
    track, options = named(scene, program["track"]), list(program["options"])
    first, last = program["first"], program["last"]
    seen = scene.seen(track)
    between = [m for k, m in seen.items() if first <= k <= last]
    words = {m.action for m in between}
    if first not in seen or last not in seen or len(between) < 2 or len(words) != 1 or "still" in words:
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


def _span(scene: Scene, track: Trajectory) -> tuple[int, int] | None:
    seen = scene.seen(track)
    return (min(seen), max(seen)) if seen else None


def _rival_risk(scene: Scene, track: Trajectory, by: str, frame: int) -> float:
    """How near another subject is to fitting the question as well."""
    rivals = [(t, m) for t in scene.tracks if t is not track and (m := scene.at(t, frame))]
    if by == "location":
        return max((place_risk_of(t, m) for t, m in rivals), default=0.0)
    return max((m.action_risk for _, m in rivals), default=0.0) if by == "action" else 0.0
