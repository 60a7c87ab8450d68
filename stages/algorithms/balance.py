"""Which samples to leave out so that no answer can be guessed: as few as make every blind baseline chance.

No answer may be more than chance + margin of those that the same options allow: an integer program, solved exactly
(HiGHS), so no plan with the same bounds drops less. Then the n-gram model is measured on what stays; where it still
guesses, the words that give most away become strata with the same bound, and all is solved again, to about 1 %.
Matched pairs stay or go together. Of equal groups those with the highest hash go, so no order of work can matter.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from stages.algorithms.closed import NO, Closed
from stages.algorithms.draws import stable_hash
from stages.algorithms.shortcuts import (
    MIN_SAMPLES,
    ROUNDING,
    WITHIN,
    answers,
    by_ask,
    chance,
    drawn,
    grams,
    measure,
    words_and_pairs,
)

ROUNDS = 8
NEW_CUES = 10  # words that become strata in a round, of a question that can still be guessed
SHRINK = 0.6  # of the margin, in a round without new words
# No limit of time: a slow machine must give the same plan. With words there are thousands of kinds of groups, and the
# last percent takes minutes (5,359 kinds under 644 rules: over 5 min); the root of the search takes seconds.
EXACT = {"mip_rel_gap": 1e-6, "node_limit": 1_000}
WITH_WORDS = {"mip_rel_gap": 1e-2, "node_limit": 1}


@dataclass(frozen=True, slots=True)
class Group:
    """Samples that stay or go together."""

    group_id: str
    samples: int
    questions: tuple[Closed, ...]  # of those, the closed ones


@dataclass(frozen=True, slots=True)
class BalancePlan:
    dropped: frozenset[str]  # group ids
    asks: tuple[str, ...]  # that were asked often enough to be balanced
    given_up: tuple[str, ...]  # "presence" where only dropping all negatives makes their wording tell nothing
    left: tuple[str, ...]  # asks that can still be guessed after the last round
    rounds: int


@dataclass(slots=True)
class Bound:
    """How even one kind of question has to be."""

    chance: float  # of a question that any answer is possible to
    margin: float
    cues: list[str] = field(default_factory=list)  # words that are strata, beside the options

    def share(self, options: tuple[str, ...]) -> float:
        """Of one answer, at most."""
        return min(1.0, (1 / len(options) if options else self.chance) + self.margin)


def balance(
    groups: Iterable[Group], asks: Iterable[str], *, within: float = WITHIN, min_samples: int = MIN_SAMPLES
) -> BalancePlan:
    """The plan for the asks named; one with fewer than `min_samples` is left alone, since nothing can be told of it."""
    available = sorted(groups, key=lambda g: (stable_hash(g.group_id), g.group_id))
    everyone = frozenset(g.group_id for g in available)
    found = by_ask(q for g in available for q in g.questions)
    bounds = {
        ask: Bound(chance(found[ask]), within) for ask in sorted(set(asks)) if len(found.get(ask, ())) >= min_samples
    }
    named, given_up, rounds = tuple(bounds), list[str](), 0
    while True:
        rounds += 1
        kept = solve(available, bounds)
        if "presence" in bounds and not any(q.ask == "presence" for g in kept for q in g.questions):
            # Their wording gives the negatives away. Without them nobody asks, and the others may stay.
            given_up.append("presence")
            del bounds["presence"]
            available = [g for g in available if not any(q.ask == "presence" and q.answer == NO for q in g.questions)]
            continue
        stay = [q for g in kept for q in g.questions if q.ask in bounds]
        left = [m.ask for m in measure(drawn(stay)) if m.excess > within + ROUNDING]
        if not left or rounds == ROUNDS:
            break
        for ask in left:
            _tighten(bounds[ask], [q for q in stay if q.ask == ask])
    return BalancePlan(everyone - {g.group_id for g in kept}, named, tuple(given_up), tuple(left), rounds)


def solve(groups: Sequence[Group], bounds: Mapping[str, Bound]) -> list[Group]:
    """The groups that stay: most samples, no answer above its share in any stratum; of equal ones the first stay."""
    kinds: defaultdict[_Kind, list[Group]] = defaultdict(list)
    for group in groups:
        kinds[_kind(group, bounds)].append(group)
    ordered = sorted(kinds)
    counts = np.array([len(kinds[kind]) for kind in ordered], float)
    rules = _rules(ordered, bounds)
    if rules is None:
        return list(groups)
    has_words = any(bound.cues for bound in bounds.values())
    found = milp(
        -np.array([samples for _, samples in ordered], float),
        integrality=np.ones(len(ordered)),
        bounds=Bounds(0, counts),  # pyright: ignore[reportArgumentType]
        constraints=LinearConstraint(rules, ub=0),
        options=dict(WITH_WORDS if has_words else EXACT),  # a copy: milp takes entries out
    )
    if found.x is None:
        raise ArithmeticError(f"no plan for {', '.join(bounds)}: {found.message}")
    stay = {g.group_id for kind, n in zip(ordered, found.x, strict=True) for g in kinds[kind][: round(float(n))]}
    return [g for g in groups if g.group_id in stay]


_Stratum = tuple[str, tuple[str, ...], str]  # ask, options, cue or "" for all
_Kind = tuple[tuple[tuple[_Stratum, str], ...], int]  # (stratum, answer) of each question, and samples


def _kind(group: Group, bounds: Mapping[str, Bound]) -> _Kind:
    """What the bounds see of a group: groups of one kind are equal to them."""
    cells: list[tuple[_Stratum, str]] = []
    for question in (q for q in group.questions if q.ask in bounds):
        cues = bounds[question.ask].cues
        inside = words_and_pairs(question.question).intersection(cues) if cues else ()
        cells += [((question.ask, question.options, cue), question.answer) for cue in ("", *inside)]
    return tuple(sorted(cells)), group.samples


def _rules(kinds: Sequence[_Kind], bounds: Mapping[str, Bound]) -> csr_array | None:
    """(rules, kinds): for each stratum and answer, samples of it less its share of all; none may be above 0."""
    per_kind = [Counter(cells) for cells, _ in kinds]
    rows = {cell: k for k, cell in enumerate(sorted({cell for cells in per_kind for cell in cells}))}
    of_stratum: defaultdict[_Stratum, list[int]] = defaultdict(list)
    for (stratum, _), row in rows.items():
        of_stratum[stratum].append(row)
    entries: defaultdict[tuple[int, int], float] = defaultdict(float)
    for column, cells in enumerate(per_kind):
        for (stratum, answer), n in cells.items():
            entries[rows[stratum, answer], column] += n
            for row in of_stratum[stratum]:
                entries[row, column] -= n * bounds[stratum[0]].share(stratum[1])
    if not rows:
        return None
    at = np.array(list(entries))
    return csr_array((np.array(list(entries.values())), (at[:, 0], at[:, 1])), shape=(len(rows), len(kinds)))


def _tighten(bound: Bound, questions: Sequence[Closed]) -> None:
    """The words of which one answer is most above its share become strata; where there are none, the margin shrinks."""
    found, known = grams([q.question for q in questions])
    counts_AG = np.array([[q.answer == a for q in questions] for a in answers(questions)], float) @ found
    above = counts_AG.max(0) - (bound.chance + bound.margin) * counts_AG.sum(0)
    new: dict[tuple[float, ...], str] = {}  # "the" and "which way" are in the same questions
    for k in np.lexsort((np.arange(len(known)), -above)):
        if above[k] > 0 and known[k] not in bound.cues and len(new) < NEW_CUES:
            new.setdefault(tuple(counts_AG[:, k]), known[k])
    bound.cues += new.values()
    if not new:
        bound.margin *= SHRINK
