"""Closed questions as a reader answers them: each option as a text, to be told apart by how likely it is.

What is asked is that of stages/algorithms/closed.py, read from the published row alone. Left out are presence, whose
negatives are told by their wording, and identity, whose options are the names of other samples.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement

from schemas.sample import PublishedSample
from stages.algorithms.asking import LETTERS
from stages.algorithms.closed import ACTIONS, PLACES
from stages.algorithms.draws import draws
from stages.algorithms.scene import in_place

MAX_SPANS = 8  # a plan of 32 frames has 528, and each is a reading of all frames
SPAN = re.compile(r"From frame(\d+) to frame(\d+), ")
RECORD = re.compile(rf"(It is (?:the|an?) .+?, )({'|'.join(ACTIONS)}) ((?:in|on|at) the )")


@dataclass(frozen=True, slots=True)
class Choice:
    """The answers that could stand there; none is the beginning of another."""

    ask: str  # "letter" | "place" | "span" | "action"
    answers: tuple[str, ...]
    truth: int  # which one is right
    goes_on: bool  # the sample's answer goes on where these end: then their end mark is no part of them


def choice(sample: PublishedSample) -> Choice | None:
    """The closed question of a sample; None where it asks none that its row tells."""
    asked = FAMILIES.get(sample.family)
    if asked is None or len(sample.messages) != 2:
        return None
    found = asked(sample, sample.messages[-1].content)
    return found if found and len(set(found.answers)) > 1 else None


def likeliest(nll: list[float]) -> int:
    """The option that costs least, summed over its tokens; the first of several."""
    return min(range(len(nll)), key=nll.__getitem__)


def _letter(sample: PublishedSample, answer: str) -> Choice | None:
    options = json.loads(sample.reward).get("options", ())
    answers = tuple(f"({LETTERS[i]}) {option}." for i, option in enumerate(options))
    return Choice("letter", answers, answers.index(answer), False) if answer in answers else None


def _place(sample: PublishedSample, answer: str) -> Choice | None:
    answers = tuple(f"{in_place(place).capitalize()}," for place in PLACES)
    return _begun("place", answers, answer)


def _span(sample: PublishedSample, answer: str) -> Choice | None:
    """The right span and others, drawn by the sample's id of all that the plan has."""
    said = SPAN.match(answer)
    if not said:
        return None
    right = (int(said[1]), int(said[2]))
    others = [s for s in combinations_with_replacement(range(1, len(sample.frame_tick) + 1), 2) if s != right]
    drawn = draws(0, f"{sample.sample_id}/spans").permutation(len(others))[: MAX_SPANS - 1]
    spans = sorted([right, *(others[int(i)] for i in drawn)])
    return _begun("span", tuple(f"From frame{a} to frame{b}," for a, b in spans), answer)


def _action(sample: PublishedSample, answer: str) -> Choice | None:
    said = RECORD.match(answer)
    if not said or json.loads(sample.program).get("by") == "action":  # the question says it
        return None
    return _begun("action", tuple(f"{said[1]}{action} {said[3].rstrip()}" for action in ACTIONS), answer)


def _begun(ask: str, answers: tuple[str, ...], answer: str) -> Choice | None:
    truth = [i for i, begun in enumerate(answers) if answer.startswith(begun)]
    return Choice(ask, answers, truth[0], True) if len(truth) == 1 else None


FAMILIES: dict[str, Callable[[PublishedSample, str], Choice | None]] = {
    "direction": _letter, "where": _place, "when": _span, "record": _action,
}  # fmt: skip
