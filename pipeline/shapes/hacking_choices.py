"""What a model of the hacking experiment is asked about a held-out film: choices between texts, by likelihood.

Wrong texts are true of other frames, of the other subject, or of the same motions in another order: who looks at one
frame finds them as good as the right one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.held_out import Film
from pipeline.shapes.lessons import WHICH, which
from schemas.clip import Trajectory
from stages.algorithms.asking import BOX_FORMAT, CAPTION_QUESTION, SPAN_FORMAT
from stages.algorithms.describe import COMPASS, STILL
from stages.algorithms.scene import Scene, global_caption, in_place, name, runs, span_text
from stages.algorithms.world import RGB, SHAPE_NAMES

TEMPORAL = ("direction", "order", "where", "when")
MOST = 2  # choices a film of where, when and asked, of as many as it has


@dataclass(frozen=True, slots=True)
class Choice:
    """Answers that are compared, each to its own question; `truth` indexes the right one."""

    skill: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    truth: int

    @classmethod
    def of(cls, skill: str, question: str, answers: tuple[str, ...], truth: int) -> "Choice":
        return cls(skill, (question,) * len(answers), answers, truth)


def choices(film: Film, rng: np.random.Generator) -> list[Choice]:
    """The choices of a film: each subject's direction and order, some places and times, one subject's looks.

    "when" compares frames for a place, "asked" is the composer's question for the time of a place, in words.
    """
    scene = film.scene
    found = [c for track in scene.tracks for c in (*_direction(scene, track), *_order(scene, track))]
    for own in (list(_where(scene)), list(_when(scene)), list(_asked(scene))):
        found += [own[i] for i in rng.permutation(len(own))[:MOST]]
    return [*found, *_static(scene, scene.tracks[int(rng.integers(len(scene.tracks)))])]


def _direction(scene: Scene, track: Trajectory) -> Iterator[Choice]:
    """Which way it moves first: the caption up to that word, eight ways."""
    steps = scene.phases(track)
    before, found, _ = global_caption(scene).partition(f"{name(track)} moves ")
    if found and steps and steps[0] != STILL:
        answers = tuple(f"{before}{found}{way}" for way in COMPASS)
        yield Choice.of("direction", CAPTION_QUESTION, answers, COMPASS.index(steps[0]))


def _order(scene: Scene, track: Trajectory) -> Iterator[Choice]:
    """Which way it moves first and which way then: the caption up to there, and the same with the two exchanged."""
    steps = scene.phases(track)
    before, found, _ = global_caption(scene).partition(f"{name(track)} moves ")
    if found and len(steps) == 2 and STILL not in steps:
        answers = tuple(f"{before}{found}{a}, then {b}," for a, b in (steps, steps[::-1]))
        yield Choice.of("order", CAPTION_QUESTION, answers, 0)


def _where(scene: Scene) -> Iterator[Choice]:
    """Where a subject that is seen in several places is at a frame: all places where the film shows anybody."""
    places = sorted({in_place(m.location) for t in scene.tracks for m in scene.seen(t).values()})
    answers = tuple(f"{place.capitalize()}," for place in places)
    for track in scene.tracks:
        seen = scene.seen(track)
        if len({m.location for m in seen.values()}) > 1:
            for k, moment in seen.items():
                yield Choice.of("where", _where_at(scene, track, k), answers, places.index(in_place(moment.location)))


def _where_at(scene: Scene, track: Trajectory, frame: int) -> str:
    return f"Where is the {name(track)} at frame{frame}, {scene.time(frame)}? {BOX_FORMAT}"


def _when(scene: Scene) -> Iterator[Choice]:
    """At which of two frames somebody is at a place, where it comes to another place from one to the next.

    The same answer to the question for each frame: the base knows time and place in this form only.
    """
    for track in scene.tracks:
        seen = scene.seen(track)
        for k in seen:
            if k + 1 in seen and seen[k].location != seen[k + 1].location:
                questions = (_where_at(scene, track, k), _where_at(scene, track, k + 1))
                for truth, frame in enumerate((k, k + 1)):
                    answer = f"{in_place(seen[frame].location).capitalize()},"
                    yield Choice("when", questions, (answer, answer), truth)


def _asked(scene: Scene) -> Iterator[Choice]:
    """When a subject that is seen in several places is at one of them: the spans of all stays in the film."""
    stays = {(t.track_id, place): spans for t in scene.tracks for place, spans in _stays(scene, t).items()}
    options = sorted({span for spans in stays.values() for span in spans})
    answers = tuple(f"From {span_text(scene, *span)}." for span in options)
    for (track_id, place), spans in stays.items():
        track = scene.track(track_id)
        if len(spans) == 1 and len(_stays(scene, track)) > 1:
            question = f"When is the {name(track)} {in_place(place)}? {SPAN_FORMAT}"
            yield Choice.of("asked", question, answers, options.index(spans[0]))


def _stays(scene: Scene, track: Trajectory) -> dict[str, list[tuple[int, int]]]:
    """Unbroken runs of frames by place."""
    seen = scene.seen(track)
    places = dict.fromkeys(m.location for m in seen.values())
    return {place: runs([k for k, m in seen.items() if m.location == place]) for place in places}


def _static(scene: Scene, track: Trajectory) -> Iterator[Choice]:
    """Colour and shape of a subject, in the text of who is there: what any frame tells."""
    size, colour = track.appearance.split(" ")
    text = which(scene).answer
    for word, words in ((colour, tuple(RGB)), (track.name, SHAPE_NAMES)):
        looks = [f"{size} {w} {track.name}" if words == tuple(RGB) else f"{size} {colour} {w}" for w in words]
        answers = tuple(text.replace(name(track), look) for look in looks)
        yield Choice.of("static", WHICH, answers, words.index(word))
