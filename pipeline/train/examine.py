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
import torch

from pipeline.train.lessons import WHICH, Conversation, Lesson, lesson, which
from stages.algorithms.describe import COLUMNS, COMPASS, ROWS, STILL
from stages.algorithms.domain import look
from stages.algorithms.prompt import header
from stages.algorithms.questions import BOX_FORMAT, CAPTION_QUESTION
from stages.algorithms.scene import in_place, name
from stages.algorithms.tpl import Context, Thresholds, contexts, target_score
from stages.algorithms.world import RGB, SHAPE_NAMES
from stages.models.checkpoint import CARD
from stages.models.onevision import OneVision, Shown

HELD_OUT_SEED = 10_001
PLACES = sorted({in_place(c if r == "centre" else r if c == "centre" else f"{r} {c}") for r in ROWS for c in COLUMNS})
NO_THRESHOLDS = Thresholds(text_gain=0.0, tpl_key=0.0)


@dataclass(frozen=True, slots=True)
class Choice:
    """One question with the answers that could stand there; `truth` indexes the right one."""

    skill: str
    question: str
    answers: tuple[str, ...]
    truth: int


def examine(scorer: OneVision, *, films: int, folder: Path) -> dict[str, Any]:
    """Writes the scorer's card into its folder and returns it."""
    lessons = [_held_out(i, scorer) for i in range(films)]
    card = {
        "id": "utr-shapes",
        "n_frames": lessons[0].scene.n_frames,
        "films": films,
        "skill": skill(scorer, lessons),
        "thresholds": thresholds(scorer, lessons),
        "tpl": tpl_by_kind(scorer, lessons),
        "domain": _domain(lessons),
    }
    (folder / CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
    return card


@torch.inference_mode()
def skill(scorer: OneVision, lessons: Sequence[Lesson]) -> dict[str, float]:
    """Share of choices that are right, by skill."""
    right: dict[str, list[bool]] = defaultdict(list)
    for item in lessons:
        features = scorer.encode(scorer.pixel.normalise(item.frames_THWC))
        every = Shown(tuple(range(item.scene.n_frames)), header(range(1, item.scene.n_frames + 1), item.times))
        for choice in _choices(item):
            branches = [scorer.branch(choice.question, answer) for answer in choice.answers]
            (logprobs,) = scorer.logprobs(features, [every], branches)
            right[choice.skill].append(int(np.argmax([v.sum() for v in logprobs])) == choice.truth)
    return {key: round(float(np.mean(values)), 4) for key, values in sorted(right.items())}


def thresholds(scorer: OneVision, lessons: Sequence[Lesson]) -> dict[str, float]:
    """95th percentiles on controls: captions of other films for text_gain, static and frozen films for tpl_key."""
    strange, static = [], []
    for item, other in zip(lessons, [*lessons[1:], lessons[0]], strict=True):
        if {name(t) for t in item.scene.tracks} != {name(t) for t in other.scene.tracks}:
            strange.append(_score(scorer, item, item.frames_THWC, _caption(other)).text_gain)
        if all(len(item.scene.seen(t)) == item.scene.n_frames for t in item.scene.tracks):
            static.append(_score(scorer, item, item.frames_THWC, which(item.scene)).tpl_key)
            frozen = np.repeat(item.frames_THWC[len(item.frames_THWC) // 2][None], item.scene.n_frames, axis=0)
            static.append(_score(scorer, item, frozen, which(item.scene)).tpl_key)
    high = {"text_gain": strange, "tpl_key": static}
    return {key: round(float(np.percentile(values, 95)), 4) for key, values in high.items()}


def tpl_by_kind(scorer: OneVision, lessons: Sequence[Lesson]) -> dict[str, dict[str, float]]:
    """Means of tpl, tpl_key and text_gain (nats) by kind of text: static texts must come out near zero."""
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for item in lessons:
        for conversation in item.conversations:
            s = _score(scorer, item, item.frames_THWC, conversation)
            found[conversation.kind].append((s.tpl, s.tpl_key, s.text_gain))
    keys = ("tpl", "tpl_key", "text_gain")
    return {
        kind: dict(zip(keys, (round(float(v), 3) for v in np.mean(values, axis=0)), strict=True))
        for kind, values in sorted(found.items())
    }


@torch.inference_mode()
def _score(scorer: OneVision, item: Lesson, frames_THWC: np.ndarray, said: Conversation) -> Any:
    features = scorer.encode(scorer.pixel.normalise(frames_THWC))
    seen = contexts(len(frames_THWC), shuffles=0, key="")
    branch = scorer.branch(said.question, said.answer)
    read: dict[Context, np.ndarray] = {}
    # Contexts of equal size go together: all frames, none, and the single ones.
    for group in (seen[:1], seen[1:2], seen[2:]):
        shown = [Shown(c.index, header([i + 1 for i in c.index], item.times)) for c in group]
        for context, (logprob,) in zip(group, scorer.logprobs(features, shown, [branch]), strict=True):
            read[context] = logprob
    return target_score(said.kind, branch.token_id[-branch.n_target :], read, NO_THRESHOLDS)


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


def _caption(item: Lesson) -> Conversation:
    (found,) = [c for c in item.conversations if c.kind == "caption"]
    return found


def _held_out(i: int, scorer: OneVision) -> Lesson:
    rng = np.random.default_rng([HELD_OUT_SEED, i])
    return lesson(rng, side_px=scorer.pixel.side_px, n_frames=8)


def _domain(lessons: Sequence[Lesson]) -> dict[str, float]:
    """Bounds that 99 of 100 held-out films keep, each for itself."""
    looks = [look(item.frames_THWC) for item in lessons]
    return {
        "min_background": round(float(np.percentile([k.background for k in looks], 1)), 4),
        "max_spread": round(float(np.percentile([k.spread for k in looks], 99)), 4),
        "min_colours": round(float(np.percentile([k.colours for k in looks], 1)), 4),
    }
