"""Is a caption, or a timeline, right in every clause, and does it leave nobody out?"""

from collections.abc import Iterator, Sequence
from itertools import combinations, groupby

from benchmarks.label_text import Clause, clauses, states
from benchmarks.label_truth import ClipTruth, NotKnown, Subject, Tolerance, places


def caption_wrong(truth: ClipTruth, text: str, tolerance: Tolerance) -> Iterator[str]:
    """Names, comings, motions, places and goings of all that is said to happen, and who is left out."""
    _known(truth)
    told: list[Subject] = []
    said = clauses(text)
    for clause in said:
        if clause.name is None:
            continue
        subject = _named(truth.subjects, clause.name, tolerance)
        if subject is None or subject in told:
            yield f"name: {clause.name!r} is {'told twice' if subject else 'none of them, or more than one'}"
            continue
        told.append(subject)
        yield from _clause_wrong(truth, subject, clause, tolerance)
    left_out = [s.name for s in truth.subjects if s not in told and _happens(truth, s, tolerance)]
    counted = next((clause.others for clause in said if clause.others), None)
    if counted is None and left_out:
        yield f"left out: {', '.join(left_out)}"
    elif counted and counted[0].isdigit() and int(counted.split(" ")[0]) != len(left_out):
        yield f"left out: {counted}, true {len(left_out)}"


def timeline_wrong(truth: ClipTruth, text: str, tolerance: Tolerance) -> Iterator[str]:
    """At each planned frame who is where; whoever moves in the clip and is seen must be told."""
    _known(truth)
    by_frame = states(text)
    for frame, k in enumerate(truth.plan, start=1):
        if frame not in by_frame:
            yield f"span: frame{frame} is left out"
            continue
        told: list[Subject] = []
        for name, word in by_frame[frame]:
            subject = _named(truth.subjects, name, tolerance)
            if subject is None or subject in told:
                yield f"name: {name!r} at frame{frame}"
                continue
            told.append(subject)
            look = subject.looks.get(k)
            if look is None:
                yield f"unseen: {name!r} at frame{frame}"
            elif word not in places(look.box, tolerance.place):
                yield f"place: {name!r} at frame{frame} {word!r}, true {sorted(places(look.box, tolerance.place))}"
        for subject in truth.subjects:
            if subject not in told and subject.is_seen(k, tolerance) and truth.moves(subject, tolerance):
                yield f"left out: {subject.name} at frame{frame}"


def _known(truth: ClipTruth) -> None:
    """Who is told can be found by looks alone."""
    if not all(subject.has_known_looks for subject in truth.subjects):
        raise NotKnown("the truth knows no looks")


def _named(subjects: Sequence[Subject], name: str, tolerance: Tolerance) -> Subject | None:
    """The one subject that a name fits."""
    found = [s for s in subjects if s.fits(name, tolerance)]
    return found[0] if len(found) == 1 else None


def _happens(truth: ClipTruth, subject: Subject, tolerance: Tolerance) -> bool:
    """Whether it must be told: seen at a planned frame, and moving, coming or going."""
    shown = any(subject.is_seen(k, tolerance) for k in truth.plan)
    ends = (0, len(truth.time_s) - 1)
    comes_or_goes = tolerance.standing_told and any(subject.is_unseen(k, tolerance) for k in ends)
    return shown and (truth.moves(subject, tolerance) or comes_or_goes)


def _clause_wrong(truth: ClipTruth, subject: Subject, clause: Clause, tolerance: Tolerance) -> Iterator[str]:
    if not subject.seen(tolerance):
        yield f"unseen: {subject.name}"
        return
    order = range(len(truth.time_s))
    yield from _event_wrong(truth, subject, (clause.comes, subject.comes), order, tolerance)
    yield from _event_wrong(truth, subject, (clause.goes, subject.goes), order[::-1], tolerance)
    if clause.motions not in _accounts(truth, subject, tolerance):
        yield f"motion: {subject.name} said {clause.motions}, true {subject.motions}"
    for said, frames in ((clause.first, order), (clause.last, order[::-1])):
        there = _end_places(truth, subject, frames, tolerance)
        if said not in there and (clause.motions or frames is not order):  # without a motion only the end is told
            yield f"place: {subject.name} said {said!r}, true {sorted(there)}"


def _event_wrong(
    truth: ClipTruth, subject: Subject, kinds: tuple[str | None, str], order: Sequence[int], tolerance: Tolerance
) -> Iterator[str]:
    """Coming, with the frames in `order` from the clip's begin; going, with those from its end. Kinds: said, true."""
    said, kind = kinds
    first = next(k for k in order if not subject.is_unseen(k, tolerance))
    if said and subject.is_seen(order[0], tolerance):
        yield f"event: {subject.name} {said}, but is there all along"
    elif said and said != kind:
        yield f"event: {subject.name} {said}, true {kind}"
    elif not said and abs(truth.time_s[first] - truth.time_s[order[0]]) > tolerance.event_s:
        yield f"event: {subject.name} {kind}, which is not said"


def _accounts(truth: ClipTruth, subject: Subject, tolerance: Tolerance) -> set[tuple[str, ...]]:
    """The orders of motions that may be told: all that are in view for long, and any of the others."""
    motions, must = [], set()
    for motion in subject.motions or ():
        inside = [k for k in subject.looks if motion.start_s <= truth.time_s[k] < motion.end_s]
        if not inside:
            continue
        if sum(subject.is_seen(k, tolerance) for k in inside) * truth.step_s >= tolerance.leg_s:
            must.add(len(motions))
        motions.append(motion.word)
    some = (chosen for n in range(len(motions) + 1) for chosen in combinations(range(len(motions)), n))
    return {tuple(w for w, _ in groupby(motions[i] for i in chosen)) for chosen in some if must <= set(chosen)}


def _end_places(truth: ClipTruth, subject: Subject, order: Sequence[int], tolerance: Tolerance) -> set[str]:
    """Where it may be said to be first (last, where `order` descends): until it has been seen for `event_s`."""
    first = next(k for k in order if subject.is_seen(k, tolerance))
    found: set[str] = set()
    for k in order:
        if (truth.time_s[k] - truth.time_s[first]) * (1 if order[0] <= order[-1] else -1) > tolerance.event_s:
            break
        if k in subject.looks:
            found |= places(subject.looks[k].box, tolerance.place)
    return found
