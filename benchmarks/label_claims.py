"""The single claims of a sample against the truth of its clip: each function yields what is wrong of one."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.label_text import TRACK, Unreadable, boxes, names, read
from benchmarks.label_truth import ClipTruth, Subject, Tolerance, places
from schemas.clip import Box
from tests.scenes import iou


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A sample beside the truth of its clip."""

    program: Mapping[str, Any]  # which family, and what it asks about; the words are in the texts
    question: str
    answer: str
    owners: Mapping[int, Subject | None]  # by track
    truth: ClipTruth
    tolerance: Tolerance

    @property
    def subject(self) -> Subject:
        """The subject that is asked about."""
        return self.shown(self.program["track"])

    def shown(self, track_id: int) -> Subject:
        """The subject that a track shows; that every track of a sample shows one is judged before all else."""
        found = self.owners[track_id]
        assert found is not None
        return found

    @property
    def rivals(self) -> list[Subject]:
        """Whom the question may mean, too."""
        others = [s for s in self.truth.subjects if s is not self.subject]
        return [s for s in others if self.tolerance.standing_rivals or self.truth.moves(s, self.tolerance)]

    def seen(self, subject: Subject, frame: int) -> bool:
        """At a planned frame, from 1."""
        return subject.is_seen(self.truth.at(frame), self.tolerance)

    def time_s(self, frame: int) -> float:
        return self.truth.time_s[self.truth.at(frame)]


def no_rival(is_one: bool, what: str) -> Iterator[str]:
    if is_one:
        yield f"rival: another subject fits {what!r}, too"


def asked(case: Case, *words: str | int) -> Iterator[str]:
    """That the question says what its program asks: frames by number, places as they are."""
    text = case.question.partition(" Write ")[0]  # then follows how to write the answer
    for word in words:
        said = rf"\bframe{word}\b" if isinstance(word, int) else rf" the {word}\b"
        if not re.search(said, text):
            yield f"question: does not say {word}"


def asked_by_name(case: Case) -> Iterator[str]:
    """That the question names the subject, and it alone."""
    found = names(case.question)
    if len(found) != 1:
        raise Unreadable(case.question)
    yield from named(case, case.subject, found[0], alone=True)


def named(case: Case, subject: Subject, name: str, *, alone: bool) -> Iterator[str]:
    if subject.fits(name, case.tolerance) is False:
        yield f"name: said {name!r}, true {subject.name!r}"
    if alone:
        seen = [s for s in case.truth.subjects if s is not subject and s.seen(case.tolerance)]
        yield from no_rival(any(s.fits(name, case.tolerance) for s in seen), name)


def moves(case: Case, frame: int, said: str) -> Iterator[str]:
    words = case.subject.words(case.time_s(frame), case.tolerance.turn_s)
    if words is not None and said.removeprefix("moving ") not in words:
        yield f"motion: said {said!r} at frame{frame}, true {sorted(words)}"


def stands(case: Case, frame: int, said: str) -> Iterator[str]:
    look = case.truth.look(case.subject, frame)
    there = places(look.box, case.tolerance.place) if look else frozenset[str]()
    if said not in there:
        yield f"place: said {said!r} at frame{frame}, true {sorted(there)}"


def whole_track(case: Case, text: str) -> Iterator[str]:
    """Name, boxes, and that none is missing."""
    said = read(TRACK, text)
    yield from named(case, case.subject, said["name"], alone=False)
    found = boxes(said["boxes"])
    yield from boxed(case, found)
    for frame in range(1, len(case.truth.plan) + 1):
        if case.tolerance.needs_all and frame not in found and case.seen(case.subject, frame):
            yield f"missing box: frame{frame}"


def boxes_of(case: Case, text: str) -> Iterator[str]:
    yield from boxed(case, boxes(text))


def boxed(case: Case, found: Mapping[int, Box]) -> Iterator[str]:
    for frame, box in found.items():
        look = case.truth.look(case.subject, frame)
        if look is None:
            yield f"unseen: frame{frame}"
        elif not (box[0] < box[2] and box[1] < box[3] and iou(box, look.box) >= case.tolerance.min_iou):
            yield f"box: frame{frame}, said {box}, true {look.box}"


def seen_span(case: Case, text: str) -> Iterator[str]:
    yield from timed(case, text)
    yield from seen_from(case, *ends(case, text))


def seen_from(case: Case, first: int, last: int) -> Iterator[str]:
    """That the subject is there at the first and the last planned frame, and seen before and after at none."""
    for frame in range(1, len(case.truth.plan) + 1):
        if frame in (first, last) and case.subject.is_unseen(case.truth.at(frame), case.tolerance):
            yield f"span: not there at frame{frame}"
        if not first <= frame <= last and case.tolerance.needs_all and case.seen(case.subject, frame):
            yield f"span: there at frame{frame}, too"


def true_span(case: Case, subject: Subject) -> tuple[int, int] | None:
    seen = [k for k in range(1, len(case.truth.plan) + 1) if case.seen(subject, k)]
    return (seen[0], seen[-1]) if seen else None


def ends(case: Case, text: str) -> tuple[int, int]:
    """The planned frames of a span that is said by frames, or by times alone."""
    frames = [int(k) for k in re.findall(r"frame(\d+)", text)]
    if not frames:
        times = [f"{case.time_s(k):.2f} s" for k in range(1, len(case.truth.plan) + 1)]
        said = re.findall(r"[\d.]+ s", text)
        frames = [times.index(t) + 1 for t in said if t in times]
    if len(frames) != 2:
        raise Unreadable(text)
    return frames[0], frames[1]


def timed(case: Case, text: str) -> Iterator[str]:
    """The times beside the frames."""
    frames, times = re.findall(r"frame(\d+)", text), re.findall(r"([\d.]+) s\b", text)
    if len(frames) != len(times):
        raise Unreadable(text)
    for frame, said in zip(frames, times, strict=True):
        if said != f"{case.time_s(int(frame)):.2f}":
            yield f"time: said {said} s at frame{frame}, true {case.time_s(int(frame)):.2f}"


def answered(case: Case, letter: str) -> Iterator[str]:
    """That the words behind the letter are those of the option."""
    said = read(r"\([A-Z]\) (.+)\.", case.answer)[1]
    if f"({letter}) {said}" not in case.question:
        yield f"option: ({letter}) is not {said!r}"
