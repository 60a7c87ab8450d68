"""Which questions are asked about a clip: programs drawn by the clip's key, rendered, paired, made into samples.

Bidirectional pairs share a group: a record asked by a spatial and by a temporal attribute of one subject and frame; a
trajectory asked by identity, and the identity by the trajectory; when-at-place and where-at-time over one frame.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from schemas.clip import Trajectory
from schemas.sample import Message, Sample
from stages.algorithms.asking import Program, Rendered, Unanswerable, to_json
from stages.algorithms.compose_more import more
from stages.algorithms.compose_twins import showing_of, twins
from stages.algorithms.describe import COLOURS, COMPASS, SHAPES, SIZES
from stages.algorithms.draws import draws
from stages.algorithms.questions import render
from stages.algorithms.scene import Scene, is_followed
from stages.algorithms.twins import Showing

PAPER = ("record", "trajectory", "when", "where", "direction", "absent", "timeline", "caption")
ROLES = ("user", "assistant")
SPATIAL = ("coordinate", "location", "appearance")
TEMPORAL = ("frames", "time", "action")


def compose(
    scene: Scene,
    *,
    clip_id: str,
    seed: int,
    caption_share: float,
    max_subjects: int = 6,
    all_tracked: bool = True,
    curve: Sequence[float] | None = None,
    families: Collection[str] = PAPER,
    steady_camera: bool = True,
    wordings: int = 1,
    max_twins: int = 0,
) -> list[Sample]:
    """All samples of a clip, in a fixed order; of more subjects than `max_subjects`, as many are drawn.

    Without `all_tracked` somebody moves who has no track: then nothing is said to be absent, to be all, or so many.
    `curve` (nats by planned frame, of the clip's caption) draws the query frames from those that alone tell least.
    Speeds are compared only with a `steady_camera`. Questions are asked in one of `wordings` (phrasing.py), and at most
    `max_twins` of them again of twins.
    """
    rng = draws(seed, f"{clip_id}/compose")
    asked = sorted(rng.permutation(len(scene.tracks))[:max_subjects])
    groups: list[Sequence[Program]] = list(_groups(scene, rng, caption_share, asked, all_tracked, curve))
    if set(families) - set(PAPER):
        others = draws(seed, f"{clip_id}/more")  # so that the paper's families are drawn alike with and without them
        tracks = [scene.tracks[i] for i in asked]
        groups += more(scene, tracks, others, all_tracked=all_tracked, steady_camera=steady_camera)
    words = draws(seed, f"{clip_id}/wordings")
    samples: list[Sample] = []
    for group, programs in enumerate(groups):
        for program in programs:
            if program["op"] not in families:
                continue
            try:
                said = _worded(scene, program, int(words.integers(wordings)))
            except Unanswerable:
                continue  # not a loss: this scene has no single answer to that question
            samples.append(_sample(f"{clip_id}-q{len(samples):03d}", f"{clip_id}-g{group:03d}", *said))
    for program, group_id in twins(scene, samples, draws(seed, f"{clip_id}/twins"), max_twins, steady_camera):
        said = render(scene, program)
        samples.append(_sample(f"{clip_id}-q{len(samples):03d}", group_id, program, said, showing_of(scene, program)))
    return samples


def _worded(scene: Scene, program: Program, say: int) -> tuple[Program, Rendered]:
    """The program in that wording, or in the composer's own where it has no other."""
    if say:
        try:
            return (worded := {**program, "say": say}), render(scene, worded)
        except Unanswerable:
            pass
    return program, render(scene, program)


def _groups(
    scene: Scene,
    rng: np.random.Generator,
    caption_share: float,
    asked: Sequence[int],
    all_tracked: bool,
    curve: Sequence[float] | None,
) -> Iterator[list[Program]]:
    """Matched pairs of programs, subject by subject, then those about the whole clip."""
    can_tell_all = all_tracked or is_followed(scene)  # of a detector's subjects the texts say that there are others
    for track in (scene.tracks[i] for i in asked):
        seen = scene.seen(track)
        if not seen:
            continue
        frame = _query_frame(rng, list(seen), curve)
        whole = bool(rng.random() < caption_share)
        spatial, temporal = (_answerable(scene, track, frame, by, rng) for by in (SPATIAL, TEMPORAL))
        yield [
            {"op": "record", "by": by, "frame": frame, "track": track.track_id, "caption": whole and can_tell_all}
            for by in (spatial, temporal)
            if by
        ]
        yield [{"op": "trajectory", "ask": ask, "track": track.track_id} for ask in ("trajectory", "identity")]
        frame = _query_frame(rng, list(seen), curve)
        yield [
            {"op": "when", "track": track.track_id, "location": seen[frame].location},
            {"op": "where", "track": track.track_id, "frame": frame},
        ]
        if choice := _direction(scene, track, rng):
            yield [choice]
    if all_tracked and (subject := _absent(scene, rng)):
        yield [{"op": "absent", "subject": subject}]
    if can_tell_all:
        yield [{"op": "timeline"}]
        yield [{"op": "caption"}]


def _answerable(
    scene: Scene, track: Trajectory, frame: int, attributes: Sequence[str], rng: np.random.Generator
) -> str | None:
    """The first attribute, in random order, that leads to this subject alone."""
    for by in rng.permutation(attributes):
        try:
            render(scene, {"op": "record", "by": str(by), "frame": frame, "track": track.track_id, "caption": False})
        except Unanswerable:
            continue
        return str(by)
    return None


def _query_frame(rng: np.random.Generator, frames: Sequence[int], curve: Sequence[float] | None) -> int:
    """A frame of those given: any, or one of the half in which a single frame gives least away."""
    if curve is not None:
        # Rounded, so that the last bits of a sum on another processor do not ask another question.
        frames = sorted(frames, key=lambda k: (-round(curve[k - 1], 2), k))[: max(1, (len(frames) + 1) // 2)]
    return int(rng.choice(frames))


def _direction(scene: Scene, track: Trajectory, rng: np.random.Generator) -> Program | None:
    """The longest run of planned frames with one direction of motion, four options in random order."""
    runs: list[list[int]] = []
    seen = scene.seen(track)
    for k, moment in seen.items():
        if runs and runs[-1][-1] == k - 1 and seen[k - 1].action == moment.action:
            runs[-1].append(k)
        else:
            runs.append([k])
    moving = [r for r in runs if len(r) >= 2 and seen[r[0]].action != "still"]
    if not moving:
        return None
    run = max(moving, key=len)
    right = seen[run[0]].action.removeprefix("moving ")
    wrong = [w for w in COMPASS if w != right and (" " in w) == (" " in right)]
    options = [str(o) for o in rng.permutation([right, *wrong])]
    return {"op": "direction", "track": track.track_id, "first": run[0], "last": run[-1], "options": options}


def _absent(scene: Scene, rng: np.random.Generator) -> str | None:
    """A subject that differs from one that is there in a single attribute, so that the question is not idle."""
    if not scene.tracks:
        return None
    track = scene.tracks[int(rng.integers(len(scene.tracks)))]
    if is_followed(scene) or " " not in track.appearance:  # nothing can be said to be absent where a detector looked
        return None
    size, colour = track.appearance.split(" ")
    other_colours = [c for c in COLOURS if c != colour]
    wrong = [f"{size} {c} {track.name}" for c in other_colours]
    if track.name in SHAPES:
        wrong += [f"{size} {colour} {shape}" for shape in SHAPES if shape != track.name]
        wrong += [f"{s} {colour} {track.name}" for s in SIZES if s != size]
    free = [w for w in wrong if w not in scene.names]
    return str(rng.choice(free)) if free else None


def _sample(
    sample_id: str, group_id: str, program: Program, rendered: Rendered, shown: Showing | None = None
) -> Sample:
    return Sample(
        sample_id=sample_id,
        group_id=group_id,
        family=program["of"]["op"] if shown else program["op"],
        direction=rendered.direction,
        answer_type=rendered.answer_type,
        messages=messages(rendered),
        program=to_json(program),
        evidence=to_json({"tracks": list(rendered.track_ids), "frames": list(rendered.frames)}),
        reward=to_json(rendered.reward),
        risk=rendered.risk,
        difficulty=difficulty(rendered),
        twin=program["kind"] if shown else None,
        twin_effect=rendered.twin_effect,
        frame_order=shown.order if shown else None,
        mirrored=shown is not None and shown.mirrored,
    )


def difficulty(rendered: Rendered) -> int:
    """How many observations the answer rests on: its subjects, at its planned frames."""
    return max(1, len(rendered.track_ids)) * len(rendered.frames)


def messages(rendered: Rendered) -> tuple[Message, ...]:
    """The conversation: the field's `<video>` mark, the questions, the answers."""
    turns = (*rendered.history, (rendered.question, rendered.answer))
    said = [Message(role=role, content=text) for turn in turns for role, text in zip(ROLES, turn, strict=True)]
    return (Message(role="user", content=f"<video>\n{said[0].content}"), *said[1:])
