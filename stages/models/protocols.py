"""What stages ask of models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from schemas.sample import ScorerCard
from stages.algorithms.tpl import Context, Thresholds


class TooLong(ValueError):
    """Prompt and target exceed what the model reads. Nothing is ever cut; the message has the length."""


@dataclass(frozen=True, slots=True)
class Target:
    """A text whose likelihood is asked for: answer tokens only are scored."""

    target_id: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Log-probabilities, nats, of one target's tokens: `logprob[i]` in context i."""

    token_id: tuple[int, ...]
    logprob: tuple[np.ndarray, ...]


class Watched(Protocol):
    """A clip's planned frames as the scorer saw them, once: any targets in any contexts can be read from them."""

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        """One reading a target; raises TooLong."""
        ...


class Scorer(Protocol):
    """A video MLLM that says how likely an answer is, given frames."""

    thresholds: Thresholds
    n_frames: int  # the plan length that it was calibrated for

    def card(self, frames_THWC: np.ndarray) -> ScorerCard:
        """Id, revision, dtype, engine, prompt, skill; and whether these frames are in its domain."""
        ...

    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> Watched:
        """Encodes each frame once. `times[k]` names planned frame k in the prompt."""
        ...
