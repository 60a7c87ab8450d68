"""What a sample's question and answer say, read back from their text: names, places, motions, boxes, spans."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.clip import Box

PLACE = r"(?:(?:top|bottom) (?:left|right)|left|right|top|bottom|centre)"
IN_PLACE = rf"(?:in|on|at) the {PLACE}"
WAY = r"(?:up left|up right|down left|down right|up|down|left|right)"
MOTION = rf"(?:still|moving {WAY})"
SPAN = r"frame\d+ to frame\d+, [\d.]+ s to [\d.]+ s"
BOX = re.compile(r"frame(\d+):\[(\d+),(\d+),(\d+),(\d+)\]")
RECORD = re.compile(
    rf"It is (?P<article>the|an?) (?P<name>.+?), (?P<motion>{MOTION}) (?P<place>{IN_PLACE}), and its track is "
    rf"(?P<track>Track\d+: .*?)\. It is (?:seen|tracked) from (?P<span>{SPAN})\."
    r"(?: This video shows that (?P<caption>.+))?"
)
TRACK = re.compile(r"Track\d+: (?P<name>.*?)<id\d+>(?P<boxes>.*)</id\d+>\.?")
CLAUSE = re.compile(
    rf"(?P<others>\d+ others? moves?|others are seen)|an? (?P<name>.+?) (?:(?P<comes>enters|appears) and )?"
    rf"(?:(?:is|moves about) (?P<about>{IN_PLACE})|stays still (?P<stays>{IN_PLACE})|"
    rf"(?P<waits>waits, then )?moves (?P<steps>(?:{WAY})(?:, then (?:{WAY}|stops))*),? "
    rf"(?:(?P<within>{IN_PLACE})|from the (?P<first>{PLACE}) to the (?P<last>{PLACE})))"
    r"(?:, then (?P<goes>leaves|disappears))?"
)
PART = re.compile(r"frame(\d+)(?: to frame(\d+))?: ([^.]*)\.(?: |$)")
NAME = re.compile(r"(?:small|large) [a-z]+ (?:circle|square|triangle|object)|person(?: in [a-z]+)?")
STATE = re.compile(rf"(?P<name>.+) (?P<place>{IN_PLACE})")


class Unreadable(ValueError):
    """The text has another form than the one that is judged."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One subject of a caption; `name` is None where the clause only counts others."""

    name: str | None
    others: str | None
    comes: str | None
    goes: str | None
    motions: tuple[str, ...]  # "still" or a WAY each, none where the clause tells of none
    first: str
    last: str


def read(pattern: re.Pattern[str] | str, text: str) -> re.Match[str]:
    """The match of a whole text; raises Unreadable."""
    found = re.fullmatch(pattern, text)
    if found is None:
        raise Unreadable(text)
    return found


def boxes(text: str) -> dict[int, Box]:
    """By planned frame, in sides of the frame."""
    return {int(m[1]): (int(m[2]) / 1000, int(m[3]) / 1000, int(m[4]) / 1000, int(m[5]) / 1000) for m in _boxes(text)}


def place(text: str) -> str:
    """ "in the top left" -> "top left" """
    return read(rf"(?:In|On|At|in|on|at) the ({PLACE})", text)[1]


def clauses(text: str) -> list[Clause]:
    """Of a caption, in order."""
    if not text.endswith("."):
        raise Unreadable(text)
    whole = text[0].lower() + text[1:-1]
    return [_clause(read(CLAUSE, part)) for part in whole.split(", and ")]


def states(text: str) -> dict[int, list[tuple[str, str]]]:
    """Of a timeline: by planned frame the names and their places."""
    if "".join(m.group() for m in PART.finditer(text)) != text:
        raise Unreadable(text)
    found: dict[int, list[tuple[str, str]]] = {}
    for part in PART.finditer(text):
        said = [] if part[3] in ("nothing", "nothing tracked") else [read(STATE, one) for one in part[3].split(", ")]
        for frame in range(int(part[1]), int(part[2] or part[1]) + 1):
            found[frame] = [(m["name"], place(m["place"])) for m in said]
    return found


def names(text: str) -> list[str]:
    """The subjects that a question names, in order."""
    return NAME.findall(text)


def options(question: str) -> dict[str, str]:
    """Of a choice: the letters and what they stand for."""
    return {m[1]: m[2] for m in re.finditer(rf"\(([A-Z])\) ({WAY})(?= \(| Answer)", question)}


def _boxes(text: str) -> Iterator[re.Match[str]]:
    found = list(BOX.finditer(text))
    if not found or len(found) != text.count("["):
        raise Unreadable(text)
    yield from found


def _clause(said: re.Match[str]) -> Clause:
    if said["others"]:
        return Clause(None, said["others"], None, None, (), "", "")
    motions = tuple("still" if w == "stops" else w for w in (said["steps"] or "").split(", then ") if w)
    motions = ("still",) if said["stays"] else (*(["still"] if said["waits"] else []), *motions)
    within = said["about"] or said["stays"] or said["within"]
    ends = (place(within), place(within)) if within else (said["first"], said["last"])
    return Clause(said["name"], None, said["comes"], said["goes"], motions, *ends)
