"""Judges of the families about how subjects move, and how two of them stand to each other."""

from collections.abc import Generator, Iterator
from itertools import combinations, groupby, pairwise
from math import hypot

from benchmarks.label_claims import Case, answered, asked, asked_by_name, ends, named, timed
from benchmarks.label_moments import offsets
from benchmarks.label_text import SPAN, Unreadable, names, read
from benchmarks.label_truth import Subject

LEVEL = 0.1  # sides of the frame: two that are less apart along an axis may be said to be level
DURATION_S = 0.25  # off which a time that is said to be about so long may be


def doing(case: Case) -> Iterator[str]:
    """All motions between two planned frames, in order; one of less than `turn_s` may be left out."""
    first, last = int(case.program["first"]), int(case.program["last"])
    yield from asked(case, first, last)
    yield from asked_by_name(case)
    told = read(r"It (.+)\.", case.answer)[1].split(", then ")
    said = tuple("still" if t in ("stops", "stays still") else t.removeprefix("moves ") for t in told)
    begin_s, end_s = case.time_s(first), case.time_s(last)
    parts = [(m.word, min(m.end_s, end_s) - max(m.start_s, begin_s)) for m in case.subject.known_motions()]
    parts = [(word, long_s) for word, long_s in parts if long_s > 0]
    must = {i for i, (_, long_s) in enumerate(parts) if long_s > case.tolerance.turn_s}
    some = [c for n in range(1, len(parts) + 1) for c in combinations(range(len(parts)), n) if must <= set(c)]
    if said not in {tuple(word for word, _ in groupby(parts[i][0] for i in chosen)) for chosen in some}:
        yield f"motion: said {said}, true {parts}"


def acting(case: Case) -> Iterator[str]:
    """When it moves so, planned frame by planned frame."""
    word = case.program["motion"]
    case.subject.known_motions()
    yield from asked_by_name(case)
    yield from timed(case, case.answer)
    first, last = ends(case, read(rf"From ({SPAN})\.", case.answer)[1])
    for frame in range(1, len(case.truth.plan) + 1):
        around = case.subject.words(case.time_s(frame), case.tolerance.turn_s) or frozenset()
        if first <= frame <= last and (word not in around or case.truth.look(case.subject, frame) is None):
            yield f"span: frame{frame}, said {word!r}, true {sorted(around)}"
        if not first <= frame <= last and around == {word} and case.seen(case.subject, frame):
            yield f"span: frame{frame} is left out of it"


def lasting(case: Case) -> Iterator[str]:
    """For how long it is seen to move so."""
    yield from asked_by_name(case)
    said_s = float(read(r"For about ([\d.]+) s\.", case.answer)[1])
    seen = [case.truth.time_s[k] for k in case.subject.seen(case.tolerance)]
    own = [m for m in case.subject.known_motions() if m.word == case.program["motion"]]
    true_s = sum(max(0.0, min(m.end_s, seen[-1]) - max(m.start_s, seen[0])) for m in own) if seen else 0.0
    if abs(said_s - true_s) > DURATION_S:
        yield f"duration: said {said_s} s, true {true_s:.2f} s"


def away(case: Case) -> Iterator[str]:
    """At which planned frames it is out of view."""
    yield from asked_by_name(case)
    yield from timed(case, case.answer)
    first, last = ends(case, read(rf"From ({SPAN})\.", case.answer)[1])
    for frame in range(1, len(case.truth.plan) + 1):
        if first <= frame <= last and case.seen(case.subject, frame):
            yield f"span: frame{frame} shows it"
        if frame in (first - 1, last + 1) and case.truth.look(case.subject, frame) is None:
            yield f"span: frame{frame} does not show it"


def beside(case: Case) -> Iterator[str]:
    one, other = yield from _two(case)
    frame, axis = int(case.program["frame"]), int(case.program["axis"])
    yield from asked(case, frame)
    sides = (("To the left of it.", "To the right of it."), ("Above it.", "Below it."))[axis]
    if case.answer not in sides:
        raise Unreadable(case.answer)
    off = offsets(case.truth, one, other).get(case.truth.at(frame))
    if off is None or off[axis] * (sides.index(case.answer) * 2 - 1) <= 0:
        yield f"side: said {case.answer!r}, true {off}"


def beside_when(case: Case) -> Iterator[str]:
    one, other = yield from _two(case)
    axis, sign = int(case.program["axis"]), 1 if case.program["side"] in ("right of", "below") else -1
    yield from timed(case, case.answer)
    first, last = ends(case, read(rf"From ({SPAN})\.", case.answer)[1])
    found = offsets(case.truth, one, other)
    for frame in range(1, len(case.truth.plan) + 1):
        off = found.get(case.truth.at(frame))
        if first <= frame <= last and (off is None or off[axis] * sign <= 0):
            yield f"span: frame{frame} is not on that side, true {off}"
        if not first <= frame <= last and off is not None and off[axis] * sign > LEVEL:
            yield f"span: frame{frame} is left out of it, true {off}"


def faster(case: Case) -> Iterator[str]:
    """By the way that the centre of the visible part goes in the picture while it is seen."""
    yield from _two(case)
    ids = case.program["tracks"]
    letter = read(r"\(([A-Z])\) .+\.", case.answer)[1]
    speeds = [_speed(case, case.shown(i)) for i in ids]
    best = max(speeds) if case.program["ask"] == "faster" else min(speeds)
    if speeds["AB".index(letter)] != best:
        yield f"speed: said {letter}, true {speeds}"
    yield from answered(case, letter)


def count(case: Case) -> Iterator[str]:
    """Of the subjects that move in the clip; of which less than half is visible may be counted or not."""
    frame = int(case.program["frame"])
    yield from asked(case, frame)
    said = int(read(r"(\d+)\.", case.answer)[1])
    moving = [s for s in case.truth.subjects if case.truth.moves(s, case.tolerance)]
    least = sum(case.seen(s, frame) for s in moving)
    most = sum(case.truth.look(s, frame) is not None for s in moving)
    if not least <= said <= most:
        yield f"count: said {said}, true {least} to {most}"


def _two(case: Case) -> Generator[str, None, tuple[Subject, Subject]]:
    """The two subjects that the question names, in this order."""
    pair, said = [case.shown(i) for i in case.program["tracks"]], names(case.question)
    if len(said) != 2 or len(pair) != 2:
        raise Unreadable(case.question)
    for subject, name in zip(pair, said, strict=True):
        yield from named(case, subject, name, alone=True)
    return pair[0], pair[1]


def _speed(case: Case, subject: Subject) -> float:
    seen = subject.seen(case.tolerance)
    centres = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in (subject.looks[k].box for k in seen)]
    way = sum(hypot(x2 - x1, y2 - y1) for (x1, y1), (x2, y2) in pairwise(centres))
    return way / (case.truth.time_s[seen[-1]] - case.truth.time_s[seen[0]])
