"""Judges of the families about one subject, and about the clip as a whole."""

from collections.abc import Iterator

from benchmarks.label_captions import caption_wrong, timeline_wrong
from benchmarks.label_claims import (
    Case,
    asked,
    asked_by_name,
    boxes_of,
    ends,
    moves,
    named,
    no_rival,
    seen_from,
    seen_span,
    stands,
    timed,
    true_span,
    whole_track,
)
from benchmarks.label_text import IN_PLACE, MOTION, RECORD, SPAN, Unreadable, names, options, place, read
from benchmarks.label_truth import places


def record(case: Case) -> Iterator[str]:
    said, frame = read(RECORD, case.answer), int(case.program["frame"])
    yield from asked(case, frame)
    yield from _premise(case)
    yield from named(case, case.subject, said["name"], alone=said["article"] == "the")
    yield from moves(case, frame, said["motion"])
    yield from stands(case, frame, place(said["place"]))
    yield from whole_track(case, said["track"])
    yield from seen_span(case, said["span"])
    if case.program["caption"]:
        yield from caption_wrong(case.truth, said["caption"] or "", case.tolerance)


def trajectory(case: Case) -> Iterator[str]:
    """Both ways: the track of a name, and the name of a track, of which only the boxes given are judged."""
    if case.program["ask"] == "trajectory":
        yield from asked_by_name(case)
        yield from whole_track(case, case.answer)
        return
    yield from boxes_of(case, case.question)
    yield from named(case, case.subject, read(r"The (.+)\.", case.answer)[1], alone=True)


def when(case: Case) -> Iterator[str]:
    """Planned frame by planned frame: it is there at these, and at no other."""
    wanted = case.program["location"]
    yield from asked(case, wanted)
    yield from asked_by_name(case)
    first, last = ends(case, read(rf"From ({SPAN})\.", case.answer)[1])
    yield from timed(case, case.answer)
    for frame in range(1, len(case.truth.plan) + 1):
        look = case.truth.look(case.subject, frame)
        there = places(look.box, case.tolerance.place) if look else frozenset[str]()
        if first <= frame <= last and wanted not in there:
            yield f"span: frame{frame} is said to be in it, true: {sorted(there)}"
        if not first <= frame <= last and there == {wanted} and case.seen(case.subject, frame):
            yield f"span: frame{frame} is left out of it"


def where(case: Case) -> Iterator[str]:
    frame = int(case.program["frame"])
    said = read(rf"({IN_PLACE}), at (frame\d+:\[.*\])\.", case.answer[0].lower() + case.answer[1:])
    yield from asked(case, frame)
    yield from asked_by_name(case)
    yield from timed(case, case.question.partition(" Write ")[0])
    yield from stands(case, frame, place(said[1]))
    yield from boxes_of(case, said[2])


def direction(case: Case) -> Iterator[str]:
    """One way over the whole span, but for a turn at its very ends."""
    first, last = int(case.program["first"]), int(case.program["last"])
    said, listed = read(r"\(([A-Z])\) (.+)\.", case.answer), options(case.question)
    yield from asked(case, first, last)
    yield from asked_by_name(case)
    if listed.get(said[1]) != said[2] or len(set(listed.values())) != len(listed):
        yield f"option: {said[0]} of {listed}"
    slack_s = min(case.tolerance.turn_s, (case.time_s(last) - case.time_s(first)) / 2)
    middle_s, half_s = (case.time_s(first) + case.time_s(last)) / 2, (case.time_s(last) - case.time_s(first)) / 2
    case.subject.known_motions()
    words = case.subject.words(middle_s, half_s - slack_s) or frozenset()
    if words != {said[2]}:
        yield f"motion: said {said[2]!r}, true {sorted(words)}"
    for frame in range(first, last + 1):
        if case.truth.look(case.subject, frame) is None:
            yield f"unseen: frame{frame}"


def absent(case: Case) -> Iterator[str]:
    (name, *more) = names(case.question)
    if more or read(r"No (.+) moves in this video\.", case.answer)[1] != name:
        raise Unreadable(case.answer)
    for subject in case.truth.subjects:
        if subject.fits(name, case.tolerance) is not False and case.truth.moves(subject, case.tolerance):
            yield f"name: {name} moves"


def timeline(case: Case) -> Iterator[str]:
    yield from timeline_wrong(case.truth, case.answer, case.tolerance)


def caption(case: Case) -> Iterator[str]:
    yield from caption_wrong(case.truth, case.answer, case.tolerance)


def _premise(case: Case) -> Iterator[str]:
    """What a record's question takes for granted: true of the subject, and of nobody else."""
    by, frame, question = case.program["by"], int(case.program["frame"]), case.question.partition("?")[0]
    if by == "appearance":
        yield from asked_by_name(case)
    elif by == "coordinate":
        yield from boxes_of(case, question)
    elif by == "location":
        word = place(read(rf".*({IN_PLACE}).*", question)[1])
        yield from stands(case, frame, word)
        looks = [case.truth.look(s, frame) for s in case.rivals if case.seen(s, frame)]
        yield from no_rival(any(look and word in places(look.box, 0.0) for look in looks), word)
    elif by in ("frames", "time"):
        span = read(r".*seen from (.*) only.*", question)[1]
        first, last = ends(case, span)
        yield from seen_from(case, first, last)
        yield from no_rival(any(true_span(case, s) == (first, last) for s in case.rivals), span)
    elif by == "action":
        word = read(rf".*\b({MOTION}) at frame.*", question)[1].removeprefix("moving ")
        yield from moves(case, frame, word)
        others = [s.words(case.time_s(frame), 0.0) for s in case.rivals if case.seen(s, frame)]
        yield from no_rival(any(words and word in words for words in others), word)
    else:
        raise Unreadable(f"a record by {by!r}")
