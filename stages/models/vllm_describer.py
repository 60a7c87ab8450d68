"""An Mllm in this process: vLLM's engine, asked in batches, replaced where it dies.

Questions of a batch share steps, so an answer may differ by the last bits of its logits from what it would be alone, as
behind any served endpoint. When an engine dies over a batch, a fresh one is asked again, question by question: one that
ends this engine, too, gets no answer, and the others do.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from stages.models.mllm import Answer, MllmUnusable, NoAnswer, Question
from stages.models.vllm_process import EngineDied


class Chats(Protocol):
    """An engine that has been started: ChatEngine of stages/models/vllm_chat.py."""

    def chat(self, questions: Sequence[Question], /) -> list[Answer]:
        """One answer a question, in order; raises EngineDied, and ValueError where it does not take one of them."""
        ...

    def worn(self) -> bool:
        """Whether a fresh engine is due."""
        ...

    def close(self) -> None:
        """Ends the engine."""
        ...


class VllmDescriber:
    """The first engine is started at once, so that one that cannot be had ends the run before any row."""

    def __init__(self, start: Callable[[], Chats]) -> None:
        self._start = start
        self._engine: Chats | None = None
        self.started = 0
        self._running()

    def ask(self, questions: Sequence[Question], /) -> list[Answer | NoAnswer]:
        """One result a question, in order; raises MllmUnusable where no engine can be started."""
        if not questions:
            return []
        if self._engine is not None and self._engine.worn():
            self.close()
        try:
            return list(self._running().chat(questions))
        except EngineDied:
            self._engine = None
        except ValueError:  # one of them is too long, or holds too many pictures: vLLM then takes none of the batch
            pass
        return [self._alone(question) for question in questions]

    def close(self) -> None:
        """Ends the engine; the next question starts another."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _alone(self, question: Question) -> Answer | NoAnswer:
        try:
            (answer,) = self._running().chat([question])
        except EngineDied as error:
            self._engine = None
            return NoAnswer(f"{error}; it was asked alone, by a fresh engine")
        except ValueError as error:
            return NoAnswer(f"vLLM does not take this question: {error}")
        return answer

    def _running(self) -> Chats:
        if self._engine is None:
            try:
                self._engine = self._start()
            except (RuntimeError, ValueError, OSError) as error:
                raise MllmUnusable(f"mllm: vLLM does not start: {error}; more stands in its own lines") from error
            self.started += 1
        return self._engine
