"""The two parts of what a model reads: a context up to its question, and a question with its answer behind it."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prompt up to the first question: ids and their positions, one row an axis of the rotary embedding."""

    token_id: tuple[int, ...]
    position_AN: torch.Tensor
    next_position: int  # of the token that follows, on every axis

    def __len__(self) -> int:
        return len(self.token_id)


@dataclass(frozen=True, slots=True)
class Branch:
    """A question and its answer as ids; the last `n_target` ids are predicted."""

    token_id: tuple[int, ...]
    n_target: int
