"""Which questions are asked about a clip: programs drawn by the clip's key, rendered, paired, made into samples.

Bidirectional pairs share a group: a record asked by a spatial and by a temporal attribute of one subject and frame; a
trajectory asked by identity, and the identity by the trajectory; when-at-place and where-at-time over one frame.
"""

import json
from collections.abc import Iterator, Sequence

import numpy as np

from schemas.clip import Trajectory
from schemas.sample import Message, Sample
from stages.algorithms.describe import COLOURS, COMPASS, SHAPES, SIZES, is_labelled
from stages.algorithms.draws import draws
from stages.algorithms.questions import Program, Rendered, Unanswerable, render
from stages.algorithms.scene import Scene

SPATIAL = ("coordinate", "location", "appearance")
TEMPORAL = ("frames", "time", "action")


def compose(
    scene: Scene,
    *,
    clip_id: str,
    seed: int,
    caption_share: float,
    max_subjects: int = 6,
    negatives: bool = True,
    curve: Sequence[float] | None = None,
) -> list[Sample]:
    """All samples of a clip, in a fixed order; of more subjects than `max_subjects`, as many are drawn.

    Without `negatives` nothing is said to be absent: where tracks were rejected, somebody unnamed is there.
    `curve` (nats by planned frame, of the clip's caption) draws the query frames from those that alone tell least.
    """
    rng = draws(seed, f"{clip_id}/compose")
    samples: list[Sample] = []
    for group, programs in enumerate(_groups(scene, rng, caption_share, max_subjects, negatives, curve)):
        for program in programs:
            try:
                rendered = render(scene, program)
            except Unanswerable:
                continue  # not a loss: this scene has no single answer to that question
            samples.append(_sample(f"{clip_id}-q{len(samples):03d}", f"{clip_id}-g{group:03d}", program, rendered))
    return samples


def _groups(
    scene: Scene,
    rng: np.random.Generator,
    caption_share: float,
    max_subjects: int,
    negatives: bool,
    curve: Sequence[float] | None,
) -> Iterator[list[Program]]:
    """Matched pairs of programs, subject by subject, then those about the whole clip."""
    asked = sorted(rng.permutation(len(scene.tracks))[:max_subjects])
    for track in (scene.tracks[i] for i in asked):
        seen = scene.seen(track)
        if not seen:
            continue
        frame = _query_frame(rng, list(seen), curve)
        whole = bool(rng.random() < caption_share)
        spatial, temporal = (_answerable(scene, track, frame, by, rng) for by in (SPATIAL, TEMPORAL))
        yield [
            {"op": "record", "by": by, "frame": frame, "track": track.track_id, "caption": whole}
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
    if negatives and (subject := _absent(scene, rng)):
        yield [{"op": "absent", "subject": subject}]
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
    if is_labelled(track):  # has no size word, and nothing can be said to be absent beside it
        return None
    size, colour = track.appearance.split(" ")
    other_colours = [c for c in COLOURS if c != colour]
    wrong = [f"{size} {c} {track.name}" for c in other_colours]
    if track.name in SHAPES:
        wrong += [f"{size} {colour} {shape}" for shape in SHAPES if shape != track.name]
        wrong += [f"{s} {colour} {track.name}" for s in SIZES if s != size]
    free = [w for w in wrong if w not in scene.names]
    return str(rng.choice(free)) if free else None


def _sample(sample_id: str, group_id: str, program: Program, rendered: Rendered) -> Sample:
    return Sample(
        sample_id=sample_id,
        group_id=group_id,
        family=program["op"],
        direction=rendered.direction,
        answer_type=rendered.answer_type,
        messages=messages(rendered),
        program=to_json(program),
        evidence=to_json({"tracks": list(rendered.track_ids), "frames": list(rendered.frames)}),
        reward=to_json(rendered.reward),
        risk=rendered.risk,
    )


def messages(rendered: Rendered) -> tuple[Message, Message]:
    """The conversation: the field's `<video>` mark, the question, the answer."""
    return (
        Message(role="user", content=f"<video>\n{rendered.question}"),
        Message(role="assistant", content=rendered.answer),
    )


def to_json(value: object) -> str:
    """JSON with one spelling for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
