"""Is what a multimodal model said an answer to what was asked? Read strictly: nothing is mended, nothing is guessed."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
EXCERPT = 120  # characters of an answer that a detail shows


class Flaw(StrEnum):
    """Why an answer is none."""

    EMPTY = "empty"
    CUT = "cut"
    REFUSED = "refused"
    MALFORMED = "malformed"
    OTHER_CLIP = "of another clip"
    OTHER_SUBJECTS = "of other subjects"
    TOO_LONG = "too long"


@dataclass(frozen=True, slots=True)
class Flawed:
    """An answer that cannot be used."""

    flaw: Flaw
    detail: str


class Named(BaseModel):
    """What the model sees in a subject's picture."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    track: int
    name: Words
    attributes: tuple[Words, ...]
    fits: bool  # whether the name that it was given is right of it


class Told(BaseModel):
    """An answer in the form that stages/prompts/clip.txt asks for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    clip: str
    caption: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    subjects: tuple[Named, ...]


def read_answer(
    text: str, finish_reason: str, refusal: str, *, mark: str, track_ids: Sequence[int], max_words: int
) -> Told | Flawed:
    """The answer, or why it is none. `mark` and `track_ids` are what the question told the model to repeat."""
    if refusal or finish_reason == "content_filter":
        return Flawed(Flaw.REFUSED, _short(refusal or text) or "by a content filter")
    if finish_reason == "length":
        return Flawed(Flaw.CUT, f"it ends with {text[-EXCERPT:]!r}: ask for fewer words or allow more tokens")
    if not text.strip():
        return Flawed(Flaw.EMPTY, f"no text, finish_reason {finish_reason!r}")
    try:
        told = Told.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return Flawed(Flaw.MALFORMED, f"{f'{where}: ' if where else ''}{first['msg']}, in {_short(text)!r}")
    if told.clip != mark:
        return Flawed(Flaw.OTHER_CLIP, f'"clip" is {_short(told.clip)!r}, not {mark!r}')
    if (found := [subject.track for subject in told.subjects]) != list(track_ids):
        return Flawed(Flaw.OTHER_SUBJECTS, f"subjects are {_short(str(found))}, not {list(track_ids)}")
    if (words := len(told.caption.split())) > max_words:
        return Flawed(Flaw.TOO_LONG, f"the caption has {words} words > {max_words}")
    return told


def _short(text: str) -> str:
    return " ".join(text.split())[:EXCERPT]
