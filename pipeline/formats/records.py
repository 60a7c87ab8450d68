"""What readers of foreign formats make: texts of records, and for each record that is none a reason with its place."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from math import isfinite
from pathlib import Path
from typing import Any

from pipeline.sources import SourceError
from schemas.pair import Text
from schemas.video import QA

MARKS = ("<video>", "<image>")
Values = Mapping[str, Any]  # one record as its file has it, before it is a row


class BadRecord(ValueError):
    """A record that gives no pair; the class is the reason in failures/, the text says what to do."""


class NoVideoKey(BadRecord):
    """The record names no video."""


class ImageOnly(BadRecord):
    """The record is about an image, and videos are asked for."""


class EmptyAnswer(BadRecord):
    """There is nothing whose likelihood could be asked for."""


class NoText(BadRecord):
    """The record says nothing about its video."""


class BadTurns(BadRecord):
    """The conversation is none."""


class BadText(BadRecord):
    """A text holds half of a character, which no file in UTF-8 can hold."""


class BadSpan(BadRecord):
    """Start and end are no span of time."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, its answer, and whether it goes on from the turns before it."""

    question: str
    answer: str
    follows: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """One record, read: a medium and what is said about it."""

    uri: str
    subset: str
    turns: tuple[Turn, ...]
    start_s: float | None = None
    end_s: float | None = None
    caption: bool = False  # the first turn is a caption: nobody asked for it


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record, or one turn of it, that gives no pair."""

    key: str
    uri: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands."""

    path: Path
    file: str  # relative to the input, "" where the input is this file
    record: int

    def __str__(self) -> str:
        return f"{self.path}, record {self.record}"

    @property
    def key(self) -> str:
        """Names the record in this input."""
        stem = Path(self.file or self.path.name).with_suffix("").as_posix()
        return f"{stem}-{self.record:07d}"


@dataclass(slots=True)
class Gathered:
    """Texts by uri in the order of the input, and what was rejected. Each is known by its id: one that comes twice
    raises SourceError."""

    texts: dict[str, list[Text]] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    _places: dict[str, Place] = field(default_factory=dict)

    def add(self, place: Place, values: Values, parse: Callable[[Values], Entry]) -> None:
        """Takes a record in: its texts, or the reason why it has none."""
        try:
            entry = parse(values)
            _refuse_halves(entry)
        except BadRecord as error:
            self._reject(place.key, _uri_of(values), error, place)
            return
        for text in _texts(place, entry):
            empty = empty_turn(text)
            if empty is None:
                self.take(entry.uri, text, place)
            else:
                error = EmptyAnswer(f"turn {empty} has an empty answer; write one or remove the turn")
                self._reject(text.pair_id, entry.uri, error, place)

    def take(self, uri: str, text: Text, place: Place) -> None:
        """A text that can be scored."""
        self._claim(text.pair_id, place)
        self.texts.setdefault(uri, []).append(text)

    def reject(self, rejected: Rejected, place: Place) -> None:
        """A record, or one turn of it, that cannot."""
        self._claim(rejected.key, place)
        self.rejected.append(rejected)

    def _reject(self, key: str, uri: str, error: BadRecord, place: Place) -> None:
        self.reject(Rejected(key, _whole(uri), type(error).__name__, _whole(f"{place}: {error}")), place)

    def _claim(self, key: str, place: Place) -> None:
        first = self._places.setdefault(key, place)
        if first is not place:
            raise SourceError(
                f"{place}: {key} stands already at {first}. Scores are kept by id: keep one of them, or import "
                "the sets again from files with different names, which ids begin with"
            )


def _refuse_halves(entry: Entry) -> None:
    """Raises BadText where a text or uri is none that a table can hold: "\\ud83d" in JSON, without its other half."""
    said = [text for turn in entry.turns for text in (turn.question, turn.answer)]
    for text in (entry.uri, entry.subset, *said):
        if _whole(text) != text:
            raise BadText(f"{text[:80]!r} holds half of a surrogate pair: complete the character or take it out")


def _whole(text: str) -> str:
    """The text with halves of characters escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def empty_turn(text: Text) -> int | None:
    """The first turn without an answer, up to this one: a conversation ends before it. None where there is none."""
    answers = [*(turn.answer for turn in text.history), text.answer]
    empty = next((k for k, answer in enumerate(answers) if not answer.strip()), None)
    return None if empty is None else text.turn - len(text.history) + empty


def _texts(place: Place, entry: Entry) -> Iterator[Text]:
    """The targets of an entry. Turns that do not follow on earlier ones are samples of their own."""
    history: tuple[QA, ...] = ()
    dialogue = len(entry.turns) > 1 and entry.turns[1].follows
    for k, turn in enumerate(entry.turns):
        kind = "dialogue" if dialogue else "caption" if entry.caption and k == 0 else "question"
        yield Text(
            pair_id=f"{place.key}-t{k:02d}",
            sample_id=place.key if dialogue or len(entry.turns) == 1 else f"{place.key}-t{k:02d}",
            file=place.file,
            record=place.record,
            subset=entry.subset,
            kind=kind,
            turn=k,
            question=turn.question,
            answer=turn.answer,
            history=history,
            start_s=entry.start_s,
            end_s=entry.end_s,
            start_tick=None,
            end_tick=None,
            frame_tick=(),
        )
        if dialogue:
            history = (*history, QA(question=turn.question, answer=turn.answer))


def text_of(values: Values, key: str, *, default: str | None = None) -> str:
    """A text column; raises BadRecord where it is none."""
    value = values.get(key, default)
    if not isinstance(value, str):
        raise BadRecord(f"{key} is {value!r}; write text")
    return value


def unmarked(question: str) -> str:
    """A question without the marks that stand for the medium: where the frames go is the scorer's matter."""
    for mark in MARKS:
        question = question.replace(mark, "")
    return question.strip()


def medium_of(values: Values, key: str = "video") -> str:
    """The uri of the video (or image); raises the BadRecord that says what is there in its place."""
    value = values.get(key)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if key == "video" and values.get("image"):
        raise ImageOnly("is about an image; `utr import --format image` takes images in, they have no TPL")
    if value:
        raise NoVideoKey(f"{key} is {value!r}; write one path or URL")
    raise NoVideoKey(f"has no {key!r}: its keys are {', '.join(map(str, values)) or '(none)'}")


def span_of(values: Values) -> tuple[float | None, float | None]:
    """start and end in seconds, where the record has them."""
    start, end = (_seconds(values, key) for key in ("start", "end"))
    if not (start or 0.0) >= 0 or not (end is None or end > (start or 0.0)):
        raise BadSpan(f"start={start!r}, end={end!r}: seconds with 0 <= start < end are asked for")
    return start, end


def _seconds(values: Values, key: str) -> float | None:
    value = values.get(key, values.get(f"{key}_s"))
    if value is None:
        return None
    if isinstance(value, str):
        value = _clock(key, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise BadSpan(f"{key} is {value!r}; write seconds")
    return float(value)


def _clock(key: str, text: str) -> float:
    """Seconds of "12.5" or "00:01:02.5": both are found in VideoChat2's sets."""
    try:
        return reduce(lambda total, part: 60 * total + float(part), text.split(":"), 0.0)
    except ValueError as error:
        raise BadSpan(f"{key} is {text!r}; write seconds, or hours:minutes:seconds") from error


def _uri_of(values: Values) -> str:
    """What a rejected record names, for the failures table."""
    found = next((values[key] for key in ("uri", "video", "image") if isinstance(values.get(key), str)), "")
    return str(found)
