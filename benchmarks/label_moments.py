"""When something truly happens to subjects: their coming and going, changes of motion, meetings of two."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from math import hypot
from typing import Any

from benchmarks.label_truth import STILL, ClipTruth, Subject, Tolerance

AXES = (("left", "right"), ("above", "below"))
NEARED = 0.5  # two come near each other where half of their distance is made good, at least
MOMENT = tuple[float, float]  # from, to: seconds of the clip


def moments(
    truth: ClipTruth, subjects: tuple[Subject, ...], event: Mapping[str, Any], tolerance: Tolerance
) -> list[MOMENT]:
    """All times at which an event of that kind and detail happens to these subjects (one, or two that meet)."""
    kind, detail = event["kind"], event.get("detail", "")
    if kind in ("enters", "appears"):
        return _coming(truth, subjects[0], tolerance) if subjects[0].comes == kind else []
    if kind in ("leaves", "disappears"):
        return _going(truth, subjects[0], tolerance) if subjects[0].goes == kind else []
    if kind in ("starts", "stops", "turns"):
        found = changes(truth, subjects[0], tolerance)
        return [(at, at) for at, was, now in found if kind_of(was, now) == kind and detail in ("", f"{was} to {now}")]
    if kind in ("crosses", "overtakes"):
        return list(_passing(truth, subjects, detail, is_overtaking=kind == "overtakes"))
    if kind == "nears":
        return _nearing(truth, subjects)
    raise ValueError(f"unknown event {kind!r}")


def kind_of(was: str, now: str) -> str:
    return "starts" if was == STILL else "stops" if now == STILL else "turns"


def changes(truth: ClipTruth, subject: Subject, tolerance: Tolerance) -> list[tuple[float, str, str]]:
    """Its changes of motion that are in view: when, from what, to what."""
    seen = [truth.time_s[k] for k in subject.seen(tolerance)]
    both = pairwise(subject.known_motions())
    return [
        (b.start_s, a.word, b.word) for a, b in both if a.word != b.word and seen and seen[0] < b.start_s <= seen[-1]
    ]


def _coming(truth: ClipTruth, subject: Subject, tolerance: Tolerance) -> list[MOMENT]:
    """Each time that it is seen after it was not: from the last frame without it to the first at which it is seen."""
    found: list[MOMENT] = []
    unseen: int | None = None
    for k in range(len(truth.time_s)):
        if subject.is_seen(k, tolerance):
            found += [] if unseen is None else [(truth.time_s[unseen], truth.time_s[k])]
            unseen = None
        elif subject.is_unseen(k, tolerance) or k == 0:  # a part of it at the very begin may be told as coming
            unseen = k
    return found


def _going(truth: ClipTruth, subject: Subject, tolerance: Tolerance) -> list[MOMENT]:
    """The same from the end of the clip."""
    n, end_s = len(truth.time_s), truth.time_s[-1]
    back = ClipTruth((), tuple(end_s - t for t in truth.time_s[::-1]), ())
    looks = {n - 1 - k: look for k, look in subject.looks.items()}
    return [(end_s - b, end_s - a) for a, b in _coming(back, replace(subject, looks=looks), tolerance)][::-1]


def offsets(truth: ClipTruth, one: Subject, other: Subject) -> dict[int, tuple[float, float]]:
    """By tracking frame at which both are in view: centre of the one minus centre of the other, sides of the frame."""
    found: dict[int, tuple[float, float]] = {}
    for k, look in one.looks.items():
        if k in other.looks:
            (a1, b1, a2, b2), (c1, d1, c2, d2) = look.box, other.looks[k].box
            found[k] = ((a1 + a2 - c1 - c2) / 2, (b1 + b2 - d1 - d2) / 2)
    return found


def _passing(truth: ClipTruth, pair: tuple[Subject, ...], detail: str, *, is_overtaking: bool) -> Iterator[MOMENT]:
    """Where the difference of the centres changes its sign: "left to right", or "right" of who overtakes."""
    words = detail.split(" to ")
    way = {"up": "above", "down": "below"}.get(words[-1], words[-1])
    axis = next(i for i, names in enumerate(AXES) if way in names)
    sign = AXES[axis].index(way) * 2 - 1
    for (a, was), (b, now) in pairwise(offsets(truth, *pair).items()):
        if was[axis] * sign <= 0 < now[axis] * sign:
            moment = (truth.time_s[a], truth.time_s[b])
            now_s = sum(moment) / 2
            motions = [m.word for s in pair for m in s.known_motions() if m.start_s <= now_s < m.end_s]
            same_way = all(words[-1] in word.split(" ") for word in motions)
            if same_way == is_overtaking:
                yield moment


def _nearing(truth: ClipTruth, pair: tuple[Subject, ...]) -> list[MOMENT]:
    gaps = {k: hypot(*off) for k, off in offsets(truth, *pair).items()}
    if not gaps:
        return []
    nearest = min(gaps, key=gaps.__getitem__)
    farthest = max((k for k in gaps if k <= nearest), key=gaps.__getitem__)
    if gaps[nearest] > NEARED * gaps[farthest]:
        return []
    return [(truth.time_s[farthest], truth.time_s[nearest])]
