"""May these words stand for those? A question in other words must ask for the same, of the same, or is not used.

Read strictly, and against the composer's own question: who refuses a good wording loses a wording, who lets a bad one
pass publishes an answer that is wrong. stages/algorithms/question_words.py says what must be kept.
"""

import re
from collections.abc import Collection, Sequence

from schemas.sample import Message
from stages.algorithms.asking import LETTERS
from stages.algorithms.question_words import ASKING, IMPERATIVES, Mark, marks

MOST_TIMES_LONGER = 2  # in words
TAIL = re.compile(rf" (?:\([{LETTERS}]\) |Track\d+: |Write |Answer )")  # options, a track, how to write the answer
VIDEO_MARK = "<video>\n"
SENTENCE = re.compile(r"(?<=[.?!])\s+")
# "when the red car stops", "after the red car stops": a clause of its own, which may stand before the rest or after it.
CLAUSE = re.compile(r"\b(?:when|after|before) the [^,:?]+", re.IGNORECASE)


def parted(question: str) -> tuple[str, str]:
    """What of a question may be reworded, and the rest of it: options, and the sentence that says how to answer."""
    found = TAIL.search(question)
    at = found.start() if found else len(question)
    return question[:at], question[at:]


def kept(original: str, rewritten: str, names: Collection[str]) -> str | None:
    """Why a wording cannot stand for a composed question; None where it can. `names`: of all subjects of the clip."""
    head, tail = parted(original)
    if not rewritten.endswith(tail) or parted(rewritten)[1] != tail:
        return "options, or how to answer, are not as they were"
    said = rewritten.removesuffix(tail) if tail else rewritten
    return _form(head, said) or _meaning(head, said, names)


def follows(published: Sequence[Message], rendered: Sequence[Message], names: Collection[str]) -> str | None:
    """Why a conversation with other words does not follow from the one that its program renders; None where it does:
    the same answers to questions that are `kept`."""
    if [m.role for m in published] != [m.role for m in rendered]:
        return f"{len(published)} messages, or other roles, for {len(rendered)}"
    if list(published) == list(rendered):
        return "no question is said in other words"
    for k, (said, own) in enumerate(zip(published, rendered, strict=True)):
        if said == own:
            continue
        mark = "" if k else VIDEO_MARK
        if said.role != "user" or not said.content.startswith(mark):
            return f"message {k} is {said.content!r}, not {own.content!r}"
        if why := kept(own.content.removeprefix(mark), said.content.removeprefix(mark), names):
            return f"message {k} is not what is asked: {why}"
    return None


def _form(head: str, said: str) -> str | None:
    """What can be seen without knowing what the words mean."""
    if not said or said != " ".join(said.split()):
        return "no single line of words"
    if (n := len(said.split())) > (most := MOST_TIMES_LONGER * len(head.split())):
        return f"{n} words > {most}"
    must_ask = bool(ASKING & set(_words(head)))
    for sentence in SENTENCE.split(said):
        words = _words(sentence)
        is_told = words[:1] and words[0] in IMPERATIVES
        if not (sentence.endswith("?") or (is_told and sentence.endswith("."))):
            return f"{sentence!r} is no question"
        if must_ask and not is_told and not ASKING & set(words):
            return f"{sentence!r} asks for yes or no"
    return None


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _meaning(head: str, said: str, names: Collection[str]) -> str | None:
    own, new = marks(head, names), marks(said, names)
    if (asked := _asks(own)) != (asks := _asks(new)):
        return f"asks for {', '.join(sorted(asks)) or 'yes or no'}, not {', '.join(sorted(asked)) or 'yes or no'}"
    if clause := CLAUSE.search(head):
        # Two subjects, one of them in a clause: what is asked for must stay beside its own.
        within = [mark for mark in own if clause.start() <= mark.at < clause.end()]
        rest = [mark for mark in own if not clause.start() <= mark.at < clause.end()]
    else:
        own, new = ([mark for mark in found if mark.kind != "ask"] for found in (own, new))
        rest, within = _moment_apart(own)
    if new in (own, rest + within, within + rest):
        return None
    lost, added = _more(own, new), _more(new, own)
    return f"lost {lost}, added {added}" if lost or added else "in another order"


def _asks(found: Sequence[Mark]) -> set[str]:
    return {mark.text for mark in found if mark.kind == "ask"}


def _moment_apart(own: list[Mark]) -> tuple[list[Mark], list[Mark]]:
    """The facts, and those of them that say when: all at the end, or all at the start."""
    n = next((k for k, mark in enumerate(reversed(own)) if mark.kind != "moment"), len(own))
    if n:
        return own[: len(own) - n], own[len(own) - n :]
    n = next((k for k, mark in enumerate(own) if mark.kind != "moment"), len(own))
    return own[n:], own[:n]


def _more(one: Sequence[Mark], other: Sequence[Mark]) -> list[str]:
    """What the one has more of than the other."""
    left = list(other)
    return [mark.text for mark in one if not (mark in left and not left.remove(mark))]
