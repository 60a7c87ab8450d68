"""Changes of the conversation of one row of data/: numbers, boxes, words, letters, options, turns."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from schemas.sample import Message, PublishedSample
from tests.publish.mutate_basics import Rng, other, pick, put, swapped, word_changed

SampleChange = Callable[[PublishedSample, Rng], PublishedSample | None]
USER, ASSISTANT = "user", "assistant"
FRAME, TIME, LETTER, ID = r"frame(\d+)", r"(\d+\.\d\d?) s", r"\(([A-H])\)", r"(?:Track|id)(\d+)"
BOX = r"\[(?:\d+,)*(\d+)(?:,\d+)*\]"


def _message(sample: PublishedSample, at: int, text: str) -> PublishedSample:
    messages = put(sample.messages, at, replace(sample.messages[at], content=text))
    return replace(sample, messages=messages)


def _in_text(role: str, pattern: str) -> SampleChange:
    """Another number or letter where a pattern matches a message of that role."""

    def changed(sample: PublishedSample, rng: Rng) -> PublishedSample | None:
        found = [
            (i, match)
            for i, message in enumerate(sample.messages)
            if message.role == role
            for match in re.finditer(pattern, message.content)
        ]
        chosen = pick(rng, found)
        if chosen is None:
            return None
        at, match = chosen
        text = sample.messages[at].content
        return _message(sample, at, text[: match.start(1)] + other_text(match[1], rng) + text[match.end(1) :])

    return changed


def other_text(old: str, rng: Rng) -> str:
    if old.isalpha():
        return str(other(rng, "ABCD", old))
    if "." in old:
        places = len(old.partition(".")[2])
        return f"{abs(float(old) + int(rng.integers(1, 50)) * 10**-places):.{places}f}"
    return str(max(0, int(old) + int(rng.choice([-2, -1, 1, 2, 7])))) if int(old) > 1 else str(int(old) + 1)


def _word(role: str) -> SampleChange:
    def changed(sample: PublishedSample, rng: Rng) -> PublishedSample | None:
        at = pick(rng, [i for i, m in enumerate(sample.messages) if m.role == role])
        text = None if at is None else word_changed(sample.messages[at].content, rng)
        return None if at is None or text is None else _message(sample, at, text)

    return changed


def _roles(sample: PublishedSample, rng: Rng) -> PublishedSample:
    at = int(rng.integers(len(sample.messages)))
    message = sample.messages[at]
    role = str(other(rng, (USER, ASSISTANT, "system"), message.role))
    return replace(sample, messages=put(sample.messages, at, replace(message, role=role)))


def _turn_dropped(sample: PublishedSample, rng: Rng) -> PublishedSample:
    at = int(rng.integers(len(sample.messages) // 2)) * 2
    return replace(sample, messages=put(put(sample.messages, at), at))


def _turn_added(sample: PublishedSample, rng: Rng) -> PublishedSample:
    turn = (Message(role=USER, content="Is that all?"), Message(role=ASSISTANT, content="Yes."))
    return replace(sample, messages=(*sample.messages, *turn))


def _contents_exchanged(sample: PublishedSample, rng: Rng) -> PublishedSample | None:
    texts = swapped([m.content for m in sample.messages], rng)
    pairs = zip(sample.messages, texts or (), strict=bool(texts))
    return replace(sample, messages=tuple(replace(m, content=t) for m, t in pairs)) if texts else None


def _listed(change: Callable[[list[str], Rng], Sequence[str] | None]) -> SampleChange:
    """The options as the question lists them, "(A) one (B) two Answer ..."."""

    def changed(sample: PublishedSample, rng: Rng) -> PublishedSample | None:
        at = next((i for i, m in enumerate(sample.messages) if m.role == USER and "(B) " in m.content), None)
        if at is None:
            return None
        head, *listed = re.split(r"\([A-H]\) ", sample.messages[at].content)
        last, _, tail = listed[-1].partition(" Answer")
        options = change([*(o.strip() for o in listed[:-1]), last], rng)
        if options is None:
            return None
        text = head + " ".join(f"({letter}) {o}" for letter, o in zip("ABCDEFGH", options, strict=False))
        return _message(sample, at, f"{text} Answer{tail}")

    return changed


def one_changed(options: list[str], rng: Rng) -> Sequence[str] | None:
    at = int(rng.integers(len(options)))
    new = word_changed(options[at], rng)
    return put(options, at, new) if new else None


TEXT_CHANGES: dict[str, SampleChange] = {
    **{
        f"{said}: {what}": _in_text(role, pattern)
        for said, role in (("question", USER), ("answer", ASSISTANT))
        for what, pattern in (
            ("frame number", FRAME),
            ("time", TIME),
            ("box", BOX),
            ("letter", LETTER),
            ("track id", ID),
        )
    },
    "answer: any number": _in_text(ASSISTANT, r"(\d+)"),
    "question: word": _word(USER),
    "answer: word": _word(ASSISTANT),
    "messages: role": _roles,
    "messages: turn dropped": _turn_dropped,
    "messages: turn added": _turn_added,
    "messages: contents exchanged": _contents_exchanged,
    "options: order in the question": _listed(lambda options, rng: swapped(options, rng)),
    "options: text in the question": _listed(one_changed),
}
