"""What is true of a twin: the planned frames of a clip shown in another order, or mirrored, at the plan's own times.

Its frames are the planned ones alone. Between two of them film time is taken to pass evenly, backward in a reversed
film; where a swapped film jumps there is no motion that a word could be right of.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from benchmarks.label_truth import STILL, ClipTruth, Look, Motion, Subject

OTHER = {"left": "right", "right": "left", "up": "down", "down": "up"}
GOING = {"enters": "leaves", "appears": "disappears", "leaves": "enters", "disappears": "appears"}
JUMP = "jump"


def frames_of(kind: str, at: int, n_frames: int) -> tuple[int, ...]:
    """The planned frames in the order in which the twin shows them, from 1."""
    every = tuple(range(1, n_frames + 1))
    if kind == "reversed":
        return every[::-1]
    if kind == "swapped":
        return every[at:] + every[:at]
    if kind == "frozen":
        return (at,) * n_frames
    if kind == "slowed":
        begin = n_frames // 2 if at == 2 else 0
        return tuple(every[begin + k // 2] for k in range(n_frames))
    if kind == "mirrored":
        return every
    raise ValueError(f"unknown twin {kind!r}")


def twin_truth(truth: ClipTruth, kind: str, at: int) -> ClipTruth:
    """The subjects in their old order."""
    order, plan_s = frames_of(kind, at, len(truth.plan)), [truth.time_s[k] for k in truth.plan]
    subjects = tuple(_shown(truth, subject, kind, order, plan_s) for subject in truth.subjects)
    return ClipTruth(subjects, tuple(plan_s), tuple(range(len(plan_s))))


def _shown(truth: ClipTruth, subject: Subject, kind: str, order: Sequence[int], plan_s: Sequence[float]) -> Subject:
    seen = {k: truth.look(subject, frame) for k, frame in enumerate(order)}
    looks = {k: _mirrored(look) if kind == "mirrored" else look for k, look in seen.items() if look}
    found = replace(subject, looks=looks, motions=None)
    if kind == "reversed":
        found = replace(found, comes=GOING[subject.goes], goes=GOING[subject.comes])
    if subject.motions is None:
        return found
    if kind == "frozen":
        return replace(found, motions=(Motion(STILL, 0.0, plan_s[-1] + 1.0),))
    word: Callable[[str], str] = {"reversed": _backward, "mirrored": _flipped}.get(kind, str)
    return replace(found, motions=tuple(_joined(_motions(subject.motions, word, order, plan_s))))


def _motions(
    motions: Sequence[Motion], word: Callable[[str], str], order: Sequence[int], plan_s: Sequence[float]
) -> Iterator[Motion]:
    """Piece by piece between the twin's frames, the film's motions there, at the twin's times."""
    for k, (frame, after) in enumerate(pairwise(order)):
        begin_s, end_s = plan_s[k], plan_s[k + 1]
        film = sorted((plan_s[frame - 1], plan_s[after - 1]))
        if abs(after - frame) > 1:
            yield Motion(JUMP, begin_s, end_s)
            continue
        parts = [(m.word, max(m.start_s, film[0]), min(m.end_s, film[1])) for m in motions]
        parts = [(w, a, b) for w, a, b in parts if a < b]
        if frame == after:  # slowed: shown twice, moving as it does there
            parts = [(m.word, film[0], film[0]) for m in motions if m.start_s <= film[0] < m.end_s]
        long_s, at_s = sum(b - a for _, a, b in parts), begin_s
        for w, a, b in parts[::-1] if after < frame else parts:
            share = (b - a) / long_s if long_s else 1 / len(parts)
            yield Motion(word(w), at_s, at_s + share * (end_s - begin_s))
            at_s += share * (end_s - begin_s)


def _joined(motions: Iterator[Motion]) -> list[Motion]:
    """Neighbours of one word as one; the last one lasts beyond the last frame."""
    found: list[Motion] = []
    for motion in motions:
        if found and found[-1].word == motion.word:
            found[-1] = Motion(motion.word, found[-1].start_s, motion.end_s)
        else:
            found.append(motion)
    return [*found[:-1], replace(found[-1], end_s=found[-1].end_s + 1.0)] if found else []


def _mirrored(look: Look) -> Look:
    x1, y1, x2, y2 = look.box
    return Look((1 - x2, y1, 1 - x1, y2), look.share)


def _backward(word: str) -> str:
    return " ".join(OTHER.get(part, part) for part in word.split(" "))


def _flipped(word: str) -> str:
    return " ".join(OTHER[part] if part in ("left", "right") else part for part in word.split(" "))
