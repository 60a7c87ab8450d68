"""What stages ask of a multimodal model, wherever it runs: texts and pictures in, one answer out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class MllmUnusable(RuntimeError):
    """No question can be answered: wrong key, model or address. The message has the remedy. Ends the run."""


class NoAnswer(RuntimeError):
    """One question got no answer, after all tries; the message has the status and what the endpoint said."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about one row."""

    key: str  # of the row: the waits between tries are drawn from it
    parts: tuple[str | bytes, ...]  # texts and JPEG files, in the order in which the model reads them


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and what that cost by its own count."""

    text: str
    finish_reason: str  # "stop"; "length": it was cut; "content_filter"; "" where the endpoint does not say
    refusal: str  # why the model refuses; "" where it does not
    model: str  # what answered, as the endpoint names it, or name@hash of weights: more exact than what was asked for
    prompt_tokens: int | None  # null where the endpoint does not count
    completion_tokens: int | None


class Mllm(Protocol):
    """A model that answers any number of questions at once."""

    def ask(self, questions: Sequence[Question], /) -> list[Answer | NoAnswer]:
        """One result a question, in order; raises MllmUnusable."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...
