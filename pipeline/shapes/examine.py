"""Measures a scorer on films that it never saw: what it knows, what controls reach by chance, what its films look like.

Skill is choice by likelihood: the true word must be the likeliest of all words that could stand there.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.calibrate import calibrate
from pipeline.shapes.lessons import WHICH, Lesson, lesson, which
from stages.algorithms.asking import BOX_FORMAT, CAPTION_QUESTION
from stages.algorithms.compose import PAPER
from stages.algorithms.describe import COLUMNS, COMPASS, ROWS, STILL
from stages.algorithms.scene import in_place, name
from stages.algorithms.tpl import VIDEO, Context
from stages.algorithms.world import RGB, SHAPE_NAMES
from stages.measure import Measures, measure
from stages.models.checkpoint import CARD
from stages.models.onevision import OneVision
from stages.models.protocols import Scorer, Target
from stages.models.transformers_scorer import TransformersScorer

HELD_OUT_SEED = 10_001
PLACES = sorted({in_place(c if r == "centre" else r if c == "centre" else f"{r} {c}") for r in ROWS for c in COLUMNS})


@dataclass(frozen=True, slots=True)
class Choice:
    """One question with the answers that could stand there; `truth` indexes the right one."""

    skill: str
    question: str
    answers: tuple[str, ...]
    truth: int


def examine(model: OneVision, *, films: int, folder: Path) -> dict[str, Any]:
    """Writes the scorer's card into its folder and returns it."""
    lessons = [_held_out(i, model.pixel.side_px) for i in range(films)]
    scorer = _scorer(model)
    measured = {"skill": skill(model, lessons), "tpl": tpl_by_kind(scorer, lessons)}
    card = {"id": "utr-shapes", "films": films, "taught": list(PAPER), **measured}
    card = calibrate(scorer, n_frames=lessons[0].scene.n_frames, films=films).into(card)
    (folder / CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
    return card


def skill(model: OneVision, lessons: Sequence[Lesson]) -> dict[str, float]:
    """Share of choices that are right, by skill."""
    scorer = _scorer(model)
    right: dict[str, list[bool]] = defaultdict(list)
    for item in lessons:
        watched = scorer.watch(item.frames_THWC, item.times)
        every = Context(VIDEO, None, tuple(range(item.scene.n_frames)))
        for choice in _choices(item):
            asked = [Target(choice.skill, choice.question, answer) for answer in choice.answers]
            logprob = [float(reading.logprob[0].sum()) for reading in watched.read(asked, [every])]
            right[choice.skill].append(likeliest(choice.answers, logprob) == choice.truth)
    return {key: round(float(np.mean(values)), 4) for key, values in sorted(right.items())}


def likeliest(answers: Sequence[str], logprob: Sequence[float]) -> int:
    """The index of the likeliest answer that is said to its end.

    "moves down" is a beginning of "moves down right", and as a beginning never less likely: what goes on is taken off.
    """
    p = np.exp(np.asarray(logprob) - max(logprob))
    longer = [[j for j, b in enumerate(answers) if b.startswith(f"{a} ")] for a in answers]
    return int(np.argmax([p[i] - p[ends].sum() for i, ends in enumerate(longer)]))


def tpl_by_kind(scorer: Scorer, lessons: Sequence[Lesson]) -> dict[str, dict[str, float]]:
    """Means of tpl, tpl_key and text_gain (nats) by kind of text: static texts must come out near zero."""
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for item in lessons:
        scores = measure(
            scorer.watch(item.frames_THWC, item.times),
            [Target(c.kind, c.question, c.answer) for c in item.conversations],
            n_frames=item.scene.n_frames,
            key="",
            thresholds=None,
            measures=Measures(),
        )
        for s in scores:
            found[s.target_id].append((s.tpl, s.tpl_key, s.text_gain))
    keys = ("tpl", "tpl_key", "text_gain")
    return {
        kind: dict(zip(keys, (round(float(v), 3) for v in np.mean(values, axis=0)), strict=True))
        for kind, values in sorted(found.items())
    }


def _scorer(model: OneVision) -> TransformersScorer:
    """The model before it has a card."""
    return TransformersScorer(model, None, "utr-shapes")


def _choices(item: Lesson) -> Iterator[Choice]:
    scene = item.scene
    text = which(scene).answer
    for track in scene.tracks:
        size, colour = track.appearance.split(" ")
        for key, word, words in (("colour", colour, tuple(RGB)), ("shape", track.name, SHAPE_NAMES)):
            swapped = tuple(
                text.replace(name(track), f"{size} {w} {track.name}" if key == "colour" else f"{size} {colour} {w}")
                for w in words
            )
            yield Choice(key, WHICH, swapped, words.index(word))
        for k, moment in scene.seen(track).items():
            question = f"Where is the {name(track)} at frame{k}, {scene.time(k)}? {BOX_FORMAT}"
            answers = tuple(f"{p[0].upper()}{p[1:]}," for p in PLACES)
            yield Choice("place", question, answers, PLACES.index(in_place(moment.location)))
    first = scene.tracks[0]
    motions = scene.phases(first)
    if motions and scene.event(first, ("enters", "appears")) is None:
        words = (*(f"moves {c}" for c in COMPASS), "stays still", "waits")
        truth = f"moves {motions[0]}" if motions[0] != STILL else "stays still" if set(motions) == {STILL} else "waits"
        answers = tuple(f"A {name(first)} {w}" for w in words)
        yield Choice("direction", CAPTION_QUESTION, answers, words.index(truth))


def _held_out(i: int, side_px: int) -> Lesson:
    return lesson(np.random.default_rng([HELD_OUT_SEED, i]), side_px=side_px, n_frames=8)
