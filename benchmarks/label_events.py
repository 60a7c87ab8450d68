"""Judges of the families about events: when one happens, in which order, which is next, where somebody is then."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from benchmarks.label_claims import Case, answered, asked_by_name, ends, named, timed
from benchmarks.label_moments import MOMENT, moments
from benchmarks.label_text import SPAN, Unreadable, names, place, read
from benchmarks.label_truth import places

KINDS = {
    "enter": "enters", "appear": "appears", "leave": "leaves", "disappear": "disappears", "start to move": "starts",
    "stop": "stops", "turn": "turns",
}  # fmt: skip
TOO_LONG_S = 0.25  # before or after an event at which a frame shows that it has not begun, or is over


def happens(case: Case) -> Iterator[str]:
    """The planned frames around an event, or that there is none."""
    yield from asked_by_name(case)
    kind = case.program["kind"]
    true = moments(case.truth, (case.subject,), {"kind": kind}, case.tolerance)
    never = re.fullmatch(r"The (.+) does not (.+) in this video\.", case.answer)
    if never:
        if KINDS.get(never[2]) != kind:
            raise Unreadable(case.answer)
        yield from named(case, case.subject, never[1], alone=True)
        if true:
            yield f"event: {kind} at {true}, which is denied"
        return
    first, last = ends(case, read(rf"From ({SPAN})\.", case.answer)[1])
    yield from timed(case, case.answer)
    if len(true) != 1:
        yield f"event: {kind} {len(true)} times"
        return
    yield from _around(case, true[0], first, last)


def order(case: Case) -> Iterator[str]:
    """Letters in order; or the first or the last event of those that are listed."""
    listed = _listed(case, case.program["events"])
    true = {letter: moment for letter, moment in listed.items() if isinstance(moment, tuple)}
    yield from (f"event: {wrong}" for wrong in listed.values() if isinstance(wrong, str))
    letters = re.findall(r"\(([A-Z])\)", case.answer)
    if len(true) < len(listed) or not letters or any(letter not in true for letter in letters):
        return
    if case.program["ask"] == "order":
        if sorted(letters) != sorted(true) or any(not _is_before(case, true[a], true[b]) for a, b in pairwise(letters)):
            yield f"order: said {letters}, true {true}"
        return
    others = [true[letter] for letter in true if letter != letters[0]]
    is_first = case.program["ask"] == "first"
    pairs = [(true[letters[0]], o) if is_first else (o, true[letters[0]]) for o in others]
    if any(not _is_before(case, a, b) for a, b in pairs):
        yield f"order: {letters[0]} is not the {case.program['ask']}, true {true}"
    yield from answered(case, letters[0])


def following(case: Case) -> Iterator[str]:
    """The next of the listed events after another one, or the last before it."""
    listed = _listed(case, case.program["events"])
    anchor = _moment(case, case.program["event"])
    yield from (f"event: {wrong}" for wrong in (*listed.values(), anchor) if isinstance(wrong, str))
    true = {letter: moment for letter, moment in listed.items() if isinstance(moment, tuple)}
    letter = read(r"\(([A-Z])\) .+\.", case.answer)[1]
    if len(true) < len(listed) or isinstance(anchor, str) or letter not in true:
        return
    is_after = case.program["ask"] == "after"
    beyond = [k for k, m in true.items() if (_is_before(case, anchor, m) if is_after else _is_before(case, m, anchor))]
    best = [k for k in beyond if all(k == o or _is_before(case, *_pair(true[k], true[o], is_after)) for o in beyond)]
    if best != [letter]:
        yield f"order: said {letter}, true {best} of {true}, {case.program['ask']} {anchor}"
    yield from answered(case, letter)


def during(case: Case) -> Iterator[str]:
    """Where a subject is when something happens to another."""
    moment, said = _moment(case, case.program["event"]), place(case.answer.removesuffix("."))
    if isinstance(moment, str):
        yield f"event: {moment}"
        return
    subject, step_s = case.subject, case.truth.step_s
    around = [k for k, t in enumerate(case.truth.time_s) if moment[0] - step_s < t < moment[1] + step_s]
    there = [places(subject.looks[k].box, case.tolerance.place) for k in around if k in subject.looks]
    if len(there) < len(around) or not all(said in found for found in there):
        yield f"place: said {said!r}, true {[sorted(found) for found in there]}"


def _around(case: Case, true: MOMENT, first: int, last: int) -> Iterator[str]:
    """That it has not yet happened at the first of two planned frames, and has at the last.

    No frame between them may be clearly before or after it: then the span is too long.
    """
    slack_s = case.tolerance.turn_s
    if case.time_s(first) >= true[1] + slack_s or case.time_s(last) <= true[0] - slack_s:
        yield f"span: said {case.time_s(first):.2f} s to {case.time_s(last):.2f} s, true {true}"
    inside = [case.time_s(k) for k in range(first + 1, last)]
    if any(t < true[0] - TOO_LONG_S or t > true[1] + TOO_LONG_S for t in inside):
        yield f"span: said {case.time_s(first):.2f} s to {case.time_s(last):.2f} s, which is too long, true {true}"


def _moment(case: Case, event: Mapping[str, Any]) -> MOMENT | str:
    """When the event of a program happens; what is wrong where it does not, or more than once."""
    ids = [event["track"], *([event["other"]] if "other" in event else [])]
    found = moments(case.truth, tuple(case.shown(i) for i in ids), event, case.tolerance)
    return found[0] if len(found) == 1 else f"{dict(event)} happens {len(found)} times"


def _listed(case: Case, events: Sequence[Mapping[str, Any]]) -> dict[str, MOMENT | str]:
    """By letter: when it happens, or what is wrong with it; also where it is told by another's name."""
    told = re.findall(r"\(([A-Z])\) (.+?)(?= \([A-Z]\)| Answer)", case.question)
    if len(told) != len(events):
        raise Unreadable(case.question)
    found: dict[str, MOMENT | str] = {}
    for (letter, text), event in zip(told, events, strict=True):
        ids = [event["track"], *([event["other"]] if "other" in event else [])]
        said = names(text)
        fits = len(said) == len(ids) and all(
            case.shown(i).fits(n, case.tolerance) is not False for i, n in zip(ids, said, strict=True)
        )
        found[letter] = _moment(case, event) if fits else f"{text} is told of others"
    return found


def _is_before(case: Case, one: MOMENT, other: MOMENT) -> bool:
    return one[1] <= other[0] + case.tolerance.turn_s and sum(one) < sum(other)


def _pair(one: MOMENT, other: MOMENT, is_forward: bool) -> tuple[MOMENT, MOMENT]:
    return (one, other) if is_forward else (other, one)
