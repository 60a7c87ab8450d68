"""What samples ask that has few answers, so that it can be guessed; and what rules guess that see a single frame.

One sample may hold several such questions: a choice has a letter and a word. What is written beside the class, a box
or a whole track, cannot be guessed and is no part of it.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import permutations
from math import atan2, degrees

from schemas.clip import Moment, Trajectory
from schemas.sample import Sample
from stages.algorithms.ask_two import SIDES
from stages.algorithms.asking import LETTERS, Program, Unanswerable
from stages.algorithms.describe import COMPASS, PLACES, STILL
from stages.algorithms.questions import render
from stages.algorithms.scene import Scene, name

ASKS = {
    "letter": "the letter of a choice",
    "direction": "which way it moves, of the options given",
    "place": "where it is at a frame: nine places",
    "span": "when it is so: throughout, from the start, to the end, or in between",
    "action": "what it does at a frame: still, or one of eight ways",
    "identity": "which subject has a track: the names of all samples",
    "presence": "whether there is such a subject at all",
    "premise": "whether what is asked about happens at all",
    "motion": "what it does between two frames",
    "side": "on which side of another one it is",
    "count": "how many are seen at a frame",
    "order": "in which order things happen",
}
SPANS = ("between", "from the start", "throughout", "to the end")
ACTIONS = tuple(sorted([STILL, *(f"moving {way}" for way in COMPASS)]))
YES, NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class Closed:
    """A question with few answers, one of which is right."""

    ask: str  # of ASKS
    sample_id: str
    group_id: str
    video_id: str
    question: str  # all that who is blind may read
    answer: str
    options: tuple[str, ...]  # sorted; () where any answer that other samples have is possible
    guesses: tuple[tuple[str, str | None], ...] = ()  # (rule that sees one frame, its answer or none)


def closed(scene: Scene, video_id: str, samples: Iterable[Sample]) -> Iterator[Closed]:
    """The closed questions of a clip's samples. `scene` is the one that they were composed from."""
    for sample in samples:
        if sample.twin is not None:
            continue
        asks = FAMILIES.get(sample.family)
        program = json.loads(sample.program)
        question = sample.messages[0].content.removeprefix("<video>\n")
        for ask, answer, options, guesses in asks(scene, program) if asks else ():
            yield Closed(ask, sample.sample_id, sample.group_id, video_id, question, answer, options, guesses)


Asked = tuple[str, str, tuple[str, ...], tuple[tuple[str, str | None], ...]]


def _direction(scene: Scene, program: Program) -> Iterator[Asked]:
    track, options = scene.track(program["track"]), list(program["options"])
    first, last = scene.at(track, program["first"]), scene.at(track, program["last"])
    assert first is not None  # the composer saw it there, as at `last`
    assert last is not None
    word = first.action.removeprefix("moving ")
    yield "letter", LETTERS[options.index(word)], tuple(LETTERS[: len(options)]), ()
    guesses = (
        ("towards the centre from where it is at first", _nearest(_to_centre(track, first), options)),
        ("away from the centre from where it is at last", _nearest(_from_centre(track, last), options)),
    )
    yield "direction", word, tuple(sorted(options)), guesses


def _where(scene: Scene, program: Program) -> Iterator[Asked]:
    track = scene.track(program["track"])
    there, middle = scene.at(track, program["frame"]), scene.at(track, _middle(scene))
    assert there is not None
    yield "place", there.location, PLACES, (("where it is in the middle frame", middle and middle.location),)


def _spanned(scene: Scene, program: Program) -> Iterator[Asked]:
    first, last = render(scene, program).reward["value"]
    yield _span(first == 1, last == scene.n_frames)


def _span(starts: bool, ends: bool) -> Asked:
    """When it is so, of SPANS: by whether it is at the first frame, and at the last."""
    answer = SPANS[2 if starts and ends else 1 if starts else 3 if ends else 0]
    guess = SPANS[1] if starts else SPANS[3]
    return "span", answer, SPANS, (("from the start if there in the first frame, else to the end", guess),)


def _record(scene: Scene, program: Program) -> Iterator[Asked]:
    if program["by"] == "action":  # the question says it
        return
    track = scene.track(program["track"])
    moment = scene.at(track, program["frame"])
    assert moment is not None
    guess = f"moving {_nearest(_to_centre(track, moment), COMPASS)}"
    yield "action", moment.action, ACTIONS, (("towards the centre", guess),)


def _trajectory(scene: Scene, program: Program) -> Iterator[Asked]:
    track = scene.track(program["track"])
    if program["ask"] == "identity":
        yield "identity", name(track), (), (("the one nearest to the centre of the middle frame", _central(scene)),)
    else:
        yield "presence", YES, (NO, YES), ((IN_MIDDLE, _in_middle(scene, name(track))),)


def _absent(scene: Scene, program: Program) -> Iterator[Asked]:
    yield "presence", NO, (NO, YES), ((IN_MIDDLE, _in_middle(scene, program["subject"])),)


def _lettered(scene: Scene, program: Program) -> Iterator[Asked]:
    """Events and subjects of this clip alone are the options: only where the right one stands can be guessed."""
    said = render(scene, program)
    value, n = said.reward["value"], len(said.reward.get("options", program.get("events", ())))
    if said.answer_type == "order":
        yield "order", "".join(value), tuple(sorted(map("".join, permutations(LETTERS[:n])))), ()
        return
    yield "letter", value, tuple(LETTERS[:n]), ()
    if program["op"] == "choice" and program["of"]["op"] == "happens":
        yield from _happens(scene, program["of"])


def _happens(scene: Scene, program: Program) -> Iterator[Asked]:
    yield "premise", YES if render(scene, program).answer_type == "interval" else NO, (NO, YES), ()


def _doing(scene: Scene, program: Program) -> Iterator[Asked]:
    yield "motion", render(scene, program).answer, (), ()


def _beside(scene: Scene, program: Program) -> Iterator[Asked]:
    answers = tuple(f"{side.capitalize()} it." for side in SIDES[program["axis"]])
    middle = {**program, "frame": _middle(scene)}
    yield (
        "side",
        render(scene, program).answer,
        tuple(sorted(answers)),
        (("as in the middle frame", _said(scene, middle)),),
    )


def _count(scene: Scene, program: Program) -> Iterator[Asked]:
    middle = {**program, "frame": _middle(scene)}
    yield "count", render(scene, program).answer, (), (("as many as in the middle frame", _said(scene, middle)),)


def _said(scene: Scene, program: Program) -> str | None:
    try:
        return render(scene, program).answer
    except Unanswerable:
        return None


FAMILIES: dict[str, Callable[[Scene, Program], Iterator[Asked]]] = {
    "direction": _direction, "where": _where, "when": _spanned, "record": _record, "trajectory": _trajectory,
    "absent": _absent, "order": _lettered, "next": _lettered, "faster": _lettered, "choice": _lettered,
    "happens": _happens, "doing": _doing, "beside": _beside, "count": _count,
    "acting": _spanned, "beside_when": _spanned,
}  # fmt: skip
IN_MIDDLE = "yes if seen in the middle frame"


def _middle(scene: Scene) -> int:
    return (scene.n_frames + 1) // 2


def _in_middle(scene: Scene, subject: str) -> str:
    return YES if any(name(t) == subject and scene.at(t, _middle(scene)) for t in scene.tracks) else NO


def _central(scene: Scene) -> str | None:
    """The name of the subject nearest to the centre of the middle frame; None where nobody is seen in it."""
    here = [(t, m) for t in scene.tracks if (m := scene.at(t, _middle(scene)))]
    return name(min(here, key=lambda pair: sum(v * v for v in _to_centre(*pair)))[0]) if here else None


def _to_centre(track: Trajectory, moment: Moment) -> tuple[float, float]:
    """From the subject to the centre of the frame, in pixels, y down."""
    x1, y1, x2, y2 = moment.box_xyxy_px
    return (track.frame_width_px - x1 - x2) / 2, (track.frame_height_px - y1 - y2) / 2


def _from_centre(track: Trajectory, moment: Moment) -> tuple[float, float]:
    x, y = _to_centre(track, moment)
    return -x, -y


def _nearest(vector: tuple[float, float], ways: Iterable[str]) -> str:
    """The way of COMPASS that turns least from a vector."""
    angle = degrees(atan2(vector[1], vector[0]))
    return min(ways, key=lambda way: abs((45 * COMPASS.index(way) - angle + 180) % 360 - 180))
