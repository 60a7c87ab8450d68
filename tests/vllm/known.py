"""Engines whose answers, and ends, are known; and scorers over them, where no vLLM is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from stages.models.checkpoint import find
from stages.models.vllm_engine import Engine, Request
from stages.models.vllm_load import blueprint
from stages.models.vllm_process import EngineDied
from stages.models.vllm_scorer import VllmScorer


class Known(Engine):
    """Answers minus the sum of the ids; dies over request number `dies_at`, or is worn after `lasts`."""

    def __init__(self, dies_at: int = -1, lasts: int = 10**9, drifts: bool = False) -> None:
        self.asked, self.closed = 0, False
        self.dies_at, self.lasts, self.drifts = dies_at, lasts, drifts

    def answer(self, request: Request) -> np.ndarray:
        if self.asked == self.dies_at:
            raise EngineDied("the engine ended")
        self.asked += 1
        return np.full(request.n_target, -float(sum(request.token_id)) - self.drifts * self.asked, np.float32)

    def worn(self) -> bool:
        return self.asked >= self.lasts

    def close(self) -> None:
        self.closed = True


def starts(*engines: Engine) -> Callable[[], Engine]:
    queue: Iterator[Engine] = iter(engines)
    return lambda: next(queue)


def scorer(folder: Path, *engines: Engine, max_tokens: int = 2048) -> VllmScorer:
    """A scorer of a checkpoint over these engines, one after the other."""
    family = blueprint(find(str(folder)), dtype="float32", max_pixels=None)
    return VllmScorer(
        family, None, "tiny", prompt="frames", start=starts(*engines), max_tokens=max_tokens, version="0"
    )  # fmt: skip
