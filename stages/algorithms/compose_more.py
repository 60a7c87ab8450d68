"""Questions beyond the paper's: what happens, in which order, how long, beside whom; drawn by the clip's key.

Each group is asked about one evidence, from both sides where there are two: a thing that happens and one that does not,
the first and the last event, before and after, what somebody does and when, a side and the time of it.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from schemas.clip import Event, Trajectory
from stages.algorithms.ask_events import ASKED, event_of, has_order, spec
from stages.algorithms.ask_turns import CHOOSABLE
from stages.algorithms.asking import MAX_RISK, Program, Rendered, Unanswerable
from stages.algorithms.describe import COMPASS, PLACES
from stages.algorithms.events import AXES
from stages.algorithms.questions import render
from stages.algorithms.scene import Scene, in_place, is_followed, name, span_text

MAX_LISTED = 4  # events of one question
MAX_PAIRS = 2  # of subjects that are compared in a clip
MAX_CHOICES = 3  # questions of a clip that are asked with options, too
N_OPTIONS = 4
TRIES = 8
Group = list[dict[str, Any]]


def more(
    scene: Scene, asked: Sequence[Trajectory], rng: np.random.Generator, *, all_tracked: bool, steady_camera: bool
) -> Iterator[Group]:
    """Matched groups of programs, those about one subject first. Speeds are compared only where the camera stands."""
    told: list[dict[str, Any]] = []
    for track in asked:
        for group in (
            _happens(scene, track, rng),
            _motion(scene, track, rng),
            [{"op": "away", "track": track.track_id}],
        ):
            told += [program for program in group if _answer(scene, program)]
            yield group
    events = _told_apart(scene)
    for group in (*_order(scene, events, rng), _during(scene, events, rng)):
        told += [program for program in group if _answer(scene, program)]
        yield group
    yield from _beside(scene, rng)
    if steady_camera:
        yield from _faster(scene, rng)
    if all_tracked:
        yield _count(scene, rng)
    yield from _choices(scene, told, rng)
    yield from _conversations(told, rng, [{"op": "caption"}] if all_tracked or is_followed(scene) else [])


def _answer(scene: Scene, program: Program) -> Rendered | None:
    try:
        return render(scene, program)
    except Unanswerable:
        return None


def _happens(scene: Scene, track: Trajectory, rng: np.random.Generator) -> Group:
    """One event that the subject has, and one that it has not; both or none, so that half of them are true."""
    programs: Group = [{"op": "happens", "kind": kind, "track": track.track_id} for kind in ASKED]
    said = [(program, found) for program in programs if (found := _answer(scene, program))]
    chosen: Group = []
    for has in (True, False):
        fitting = [program for program, found in said if (found.answer_type == "interval") == has]
        if fitting:
            chosen.append(fitting[int(rng.integers(len(fitting)))])
    return chosen if len(chosen) == 2 else []


def _motion(scene: Scene, track: Trajectory, rng: np.random.Generator) -> Group:
    """What it does between two frames, the longer the better; when, and for how long, it does one thing."""
    group: Group = []
    seen = list(scene.seen(track))
    for _ in range(TRIES if len(seen) > 1 else 0):
        first, last = sorted(int(k) for k in rng.choice(seen, 2, replace=False))
        program = {"op": "doing", "track": track.track_id, "first": first, "last": last}
        if last - first >= scene.n_frames // 3 and _answer(scene, program):
            group.append(program)
            break
    words = sorted({m.action.removeprefix("moving ") for m in scene.seen(track).values()})
    if words:
        word = str(rng.choice(words))
        group += [{"op": op, "track": track.track_id, "motion": word} for op in ("acting", "lasting")]
    return group


def _told_apart(scene: Scene) -> list[Event]:
    """Events that words tell apart and frames show, in order of time; the sure ones."""
    found: list[Event] = []
    for event in scene.events:
        try:
            event_of(scene, spec(event))
        except Unanswerable:
            continue
        if event.risk <= MAX_RISK and scene.between(event):
            found.append(event)
    return sorted(found, key=lambda e: (scene.between(e), e.track_id, e.kind))


def _order(scene: Scene, events: Sequence[Event], rng: np.random.Generator) -> Iterator[Group]:
    """Of events that have an order: which is first, which last, all of them; what follows one, and goes before."""
    chain: list[Event] = []
    for i in rng.permutation(len(events)):
        if len(chain) < MAX_LISTED and has_order(scene, [*chain, events[i]]):
            chain.append(events[i])
    if len(chain) < 2:
        return
    listed = [spec(e) for e in chain]
    yield [{"op": "order", "events": listed, "ask": ask} for ask in ("first", "last", "order")[: 2 + (len(chain) > 2)]]
    if len(chain) > 2:
        inner = sorted(chain, key=lambda e: scene.between(e) or (0, 0))[1:-1]
        anchor = inner[int(rng.integers(len(inner)))]
        others = [spec(e) for e in chain if e is not anchor]
        yield [{"op": "next", "event": spec(anchor), "events": others, "ask": ask} for ask in ("after", "before")]


def _during(scene: Scene, events: Sequence[Event], rng: np.random.Generator) -> Group:
    """Where one subject is at two events of others, in two places if it can be."""
    for i in rng.permutation(len(scene.tracks)):
        track = scene.tracks[i]
        programs: Group = [{"op": "during", "event": spec(e), "track": track.track_id} for e in events]
        said = {found.answer: program for program in programs if (found := _answer(scene, program))}
        if said:
            return list(said.values())[:2]
    return []


def _beside(scene: Scene, rng: np.random.Generator) -> Iterator[Group]:
    """The side of one beside another at two frames, where it changes if it does; and the time of a side."""
    pairs = list(combinations(scene.tracks, 2))
    for i in rng.permutation(len(pairs))[:MAX_PAIRS]:
        ids, axis = [t.track_id for t in pairs[i]], int(rng.integers(2))
        programs: Group = [
            {"op": "beside", "tracks": ids, "axis": axis, "frame": k} for k in range(1, scene.n_frames + 1)
        ]
        said = [(program, found) for program in programs if (found := _answer(scene, program))]
        by_answer = {found.answer: [p for p, f in said if f.answer == found.answer] for _, found in said}
        chosen = [group[int(rng.integers(len(group)))] for group in by_answer.values()]
        yield [*chosen, {"op": "beside_when", "tracks": ids, "axis": axis, "side": str(rng.choice(AXES[axis]))}]


def _faster(scene: Scene, rng: np.random.Generator) -> Iterator[Group]:
    pairs = list(combinations(scene.tracks, 2))
    for i in rng.permutation(len(pairs))[:MAX_PAIRS]:
        ids = [t.track_id for t in pairs[i]]
        yield [
            {"op": "faster", "tracks": [ids[k] for k in rng.permutation(2)], "ask": ask} for ask in ("faster", "slower")
        ]


def _count(scene: Scene, rng: np.random.Generator) -> Group:
    """At two frames, with two numbers if there are."""
    programs: Group = [{"op": "count", "frame": int(k)} for k in rng.permutation(scene.n_frames) + 1]
    said = {found.answer: program for program in programs if (found := _answer(scene, program))}
    return list(said.values())[:2]


def _choices(scene: Scene, told: Sequence[Program], rng: np.random.Generator) -> Iterator[Group]:
    """Some of the questions that were asked, with options: wrong ones are answers that others of the clip have."""
    able = [program for program in told if program["op"] in CHOOSABLE]
    for i in rng.permutation(len(able))[:MAX_CHOICES]:
        base = _answer(scene, able[i])
        assert base is not None
        wrong: list[str] = []
        for option in _distractors(scene, able[i], told, rng):
            options = [base.answer, *wrong, option]
            if len(wrong) < N_OPTIONS - 1 and _answer(scene, {"op": "choice", "of": able[i], "options": options}):
                wrong.append(option)
        if wrong:
            options = [str(o) for o in rng.permutation([base.answer, *wrong])]
            yield [{"op": "choice", "of": able[i], "options": options}]


def _distractors(scene: Scene, program: Program, told: Sequence[Program], rng: np.random.Generator) -> Iterator[str]:
    """Answers to questions of the same kind about this clip; then such as it might have had."""
    same = [found for other in told if other["op"] == program["op"] and (found := _answer(scene, other))]
    base = _answer(scene, program)
    assert base is not None
    for i in rng.permutation(len(same)):
        if same[i].answer_type == base.answer_type != "text" or program["op"] != "happens":
            yield same[i].answer
    for _ in range(TRIES):
        if program["op"] == "happens":  # a premise that is false is told by no form of the options
            track = scene.track(program["track"])
            yield f"The {name(track)} does not {ASKED[program['kind']]} in this video."
        if base.answer_type == "interval" or program["op"] == "happens":
            first, last = sorted(int(k) for k in rng.integers(1, scene.n_frames + 1, 2))
            yield f"From {span_text(scene, first, last)}."
        elif program["op"] == "doing":
            yield f"It moves {rng.choice(COMPASS)}."
        elif program["op"] == "during":
            yield f"{in_place(str(rng.choice(PLACES))).capitalize()}."
        elif program["op"] == "lasting":
            yield f"For about {base.reward['value']['seconds'] * float(rng.choice([0.25, 0.5, 2.0, 3.0])):.1f} s."


def _conversations(told: Sequence[Program], rng: np.random.Generator, first: Group) -> Iterator[Group]:
    """What happens, where that can be told, then what one subject does, and one thing more about it."""
    ids = sorted({program["track"] for program in told if "track" in program})
    for track_id in rng.permutation(ids)[:1]:
        about = [p for p in told if p.get("track") == track_id]
        chosen = [about[i] for i in rng.permutation(len(about))[:2]]
        yield [{"op": "conversation", "turns": [*first, *chosen]}]
