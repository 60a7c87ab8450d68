"""What the words of a question are worth: facts, what is asked for, and words that say neither.

A question is read into marks. A fact is a name, a frame, a box, a time, a number, a phrase of place, side or motion,
and every word that is not listed here. Nothing is listed that could turn a meaning: no negation, order, number,
direction, colour or quantity. So a word that nobody thought of is a fact, and cannot be added, dropped or moved.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from stages.algorithms.ask_events import ASKED, SINGLE
from stages.algorithms.ask_two import SIDES
from stages.algorithms.describe import COMPASS, PLACES
from stages.algorithms.scene import in_place

TELLING = """
consider describe determine find follow give identify list look name observe say show sort state tell view watch
"""
ASKING = frozenset(("what", "where", "when", "which", "how"))
SAYING_NOTHING = """
a an the this these those it its itself you your me us
is are was were be been being does did can could will would has have had
of in on at to from over during through between for as while and among
what when please located moment instant point time
video clip film footage whole entire full complete
"""
IMPERATIVES = frozenset(TELLING.split())
PLAIN = IMPERATIVES | frozenset(SAYING_NOTHING.split())
# Words that add nothing to what is asked for. To another question they do: "When can the car on the left be seen?"
SAID_BY = {
    "way": frozenset(("go", "goes", "move", "moves", "moving")),
    "place": frozenset(("see", "seen", "visible", "shown", "found")),
}
POINT = r"(?:frame\d|\d)"
TIMES = r"frames|times?|moments?|points?(?: in time)?|periods?(?: of time)?|intervals?|spans?(?: of frames)?"
WHICH = r"(?:what|which)(?: (?:is|are) the)?"
SO = r"(?: (?:at|in|during) which)?"  # "what is the direction in which it moves"
AUXILIARY = r"is|are|was|were|does|did|do|can|could|will|has|have"
ASKS = {  # what is asked for, and the ways to ask for it; the first that fits is meant
    "absence": r"out of view|(?:not|cannot) be seen|not seen|not visible",
    "duration": rf"how long|how many seconds|how much time|{WHICH} length of time",
    "time": rf"when(?= (?:{AUXILIARY})\b)|(?<=tell me )when|{WHICH} (?:{TIMES}){SO}",
    "way": rf"{WHICH} (?:way|direction){SO}",
    "order": rf"{WHICH} order|order|by time",
    "count": r"how many",
    "place": rf"where|{WHICH} (?:place|position|location|part of the (?:frame|picture|image)){SO}",
    "track": r"track|boxes(?= of)|at all frames",
    "act": r"do|doing|motion",
    "happening": r"happens?|occurs?|takes? place|goes on|events?|comes(?= first| last)",
    "identity": r"(?:which|what) subject",
    "choice": r"which",
}
IDLE = r"of the following(?: events?)?|do(?= these| they| you)|in time"  # phrases that say nothing


@dataclass(frozen=True, slots=True)
class Mark:
    """A part of a question that must be kept."""

    kind: str  # "fact" | "moment": a fact that says when | "ask"
    text: str  # one spelling for one meaning
    at: int = field(default=0, compare=False)  # character at which it begins


@lru_cache(maxsize=256)  # compiling takes 6 ms
def _pattern(names: frozenset[str]) -> re.Pattern[str]:
    """All that a question can hold, what is longer first. Names are found as they are written, all else in any case."""
    phrases = [
        *(in_place(place) for place in PLACES),
        *(f"mov(?:e|es|ing) {way}" for way in COMPASS),
        *(phrase for phrase in (*ASKED.values(), *SINGLE.values()) if " " in phrase),
        *(f"{side.removesuffix(' of')}(?: of)?" for pair in SIDES for side in pair),
        "over time",
    ]
    asks = "|".join(rf"(?P<{ask}>\b(?:{ways})\b)" for ask, ways in ASKS.items())
    return re.compile(
        rf"(?P<name>(?<!\w)(?-i:{_longest_first(map(re.escape, names)) or '(?!)'})(?!\w))"
        r"|(?P<moment>\bframe\d+\b(?::\[[\d,]+\])?|(?<![\w.])\d+(?:\.\d+)? s\b)"
        r"|(?P<number>\[[\d,]+\]|(?<![\w.])\d+(?:\.\d+)?(?!\w))"
        rf"|(?P<span>\b(?:from|to|over|during|through|between|for)(?= {POINT}))"
        rf"|(?P<phrase>\b(?:{_longest_first(phrases)})\b)"
        rf"|(?P<idle>\b(?:{IDLE})\b)|{asks}"
        r"|(?P<word>[a-z]+(?:'[a-z]+)?)|(?P<stop>[,.:;?])|(?P<other>\S)",
        re.IGNORECASE | re.ASCII,
    )


def _longest_first(phrases: Iterable[str]) -> str:
    return "|".join(sorted(phrases, key=lambda phrase: (-len(phrase), phrase)))


def marks(text: str, names: Collection[str]) -> list[Mark]:
    """The marks of a text in order. `names`: of all subjects of the clip."""
    found = [mark for match in _pattern(frozenset(names)).finditer(text) if (mark := _mark(match))]
    asks = {mark.text for mark in found if mark.kind == "ask"}
    said = frozenset[str]().union(*(SAID_BY.get(ask, ()) for ask in asks))
    found = [mark for mark in found if mark.text not in said]
    if len(asks) > 1:  # "Which of these is first" asks for no other thing than "Which of these happens first"
        found = [mark for mark in found if mark != Mark("ask", "happening")]
    return found


def _mark(match: re.Match[str]) -> Mark | None:
    kind, said, at = match.lastgroup or "", match[0].lower(), match.start()
    if kind in ASKS:
        return Mark("ask", kind, at)
    if kind == "name":
        return Mark("fact", match[0], at)
    if kind in ("moment", "span"):
        return Mark("moment", said, at)
    if kind == "phrase":
        return Mark("fact", re.sub("^mov(?:es|ing) ", "move ", said).removesuffix(" of"), at)
    is_fact = kind in ("number", "other") or (kind == "word" and said not in PLAIN)
    return Mark("fact", said, at) if is_fact else None
