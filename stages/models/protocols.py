"""What stages ask of models. Rows are imported for their types only: an engine runs where no Arrow is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from schemas.sample import ScorerCard
    from stages.algorithms.tpl import Context, Thresholds


class TooLong(ValueError):
    """Prompt and target exceed what the model reads. Nothing is ever cut; the message has the length."""


class OtherPositions(ValueError):
    """This engine would place a clip's tokens elsewhere than the model was trained with; the message has the remedy."""


class NotSeparable(ValueError):
    """A text cannot be told from its prompt in tokens, or holds the mark of a video; the message has the remedy."""


@dataclass(frozen=True, slots=True)
class Target:
    """A text whose likelihood is asked for: tokens of `answer` only are scored.

    `history` holds earlier (question, answer) turns of the same conversation: shown in the prompt, never scored.
    """

    target_id: str
    question: str
    answer: str
    history: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """Log-probabilities, nats, of one target's tokens: `logprob[i]` in context i."""

    token_id: tuple[int, ...]
    logprob: tuple[np.ndarray, ...]


class Watched(Protocol):
    """A clip's planned frames as the scorer saw them, once: any targets in any contexts can be read from them."""

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        """One reading a target; raises TooLong, NotSeparable, OtherPositions."""
        ...


class Scorer(Protocol):
    """A video MLLM that says how likely an answer is, given frames."""

    thresholds: Thresholds | None  # None: not calibrated, so no verdict can be given
    n_frames: int | None  # the plan length that it was calibrated for
    taught: tuple[str, ...] | None  # families of questions that it can read; None: any
    floor: float  # nats a token: how far two ways of computing one log-probability lie apart in this number format

    def card(self, frames_THWC: np.ndarray) -> ScorerCard:
        """Id, revision, dtype, engine, prompt, skill; and whether these frames are in its domain."""
        ...

    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> Watched:
        """Encodes each frame at most once. `times[k]` names planned frame k in the prompt: "2.31 s"."""
        ...
