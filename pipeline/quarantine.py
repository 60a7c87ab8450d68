"""Rows that take their worker's process with them: tried again alone, and ended by name when they do it again.

A crash in C and the out-of-memory killer leave no exception behind, only a process that is gone and Ray's next try with
the same rows. So each try is noted where the process cannot take the note with it, and crossed out when it is over.
"""

from typing import Any, Protocol

import pyarrow as pa

from pipeline.block import split_block
from pipeline.worker import Worker
from schemas.outcome import Failure
from stages.base import Stage

TRIES = 3  # of one row alone, or of a worker that opens its stage


class WorkerDied(RuntimeError):
    """A worker could not open its stage, or its process was lost again and again."""


class Notes(Protocol):
    """What outlives the processes of a run."""

    @property
    def worker(self) -> str:
        """This worker, by a name that stays when its process is replaced."""
        ...

    def begin(self, what: str) -> int:
        """Notes a try; how many of it were noted before and never ended."""
        ...

    def end(self, what: str) -> None:
        """Crosses out all tries of it."""
        ...


class CarefulWorker(Worker):
    """A worker that may be killed at any row, and is then tried again in another process."""

    def __init__(self, stage: Stage[Any, Any, Any], name: str, notes: Notes) -> None:
        """Raises WorkerDied where the process of this worker was lost `TRIES` times in `open`."""
        self._notes = notes
        if not stage.keeps_state:
            super().__init__(stage, name)
            return
        opening = f"{name} opens in {notes.worker}"
        if notes.begin(opening) >= TRIES:
            raise WorkerDied(f"{name}: its process was lost {TRIES} times while it opened the stage")
        super().__init__(stage, name)
        notes.end(opening)

    def __call__(self, block: pa.Table) -> pa.Table:
        """The block after this stage. A row at which the process was lost `TRIES` times, alone, is a failure."""
        alive, _ = split_block(block)
        if not alive.num_rows:
            return super().__call__(block)
        what = "\n".join((self._name, *(row.key for row in self._stage.reads.from_arrow(alive))))
        deaths = self._notes.begin(what)
        if deaths == 0 or (alive.num_rows == 1 and deaths < TRIES):
            done = super().__call__(block)
        elif alive.num_rows > 1:
            # Not self(...): Ray gives its workers a __call__ that waits for this one.
            rows = [block.slice(index, 1) for index in range(block.num_rows)]
            done = pa.concat_tables([CarefulWorker.__call__(self, row) for row in rows])
        else:
            why = f"its process was lost {deaths} times at this row alone: a crash, or the out-of-memory killer"
            return self.fail(block, Failure(WorkerDied.__name__, f"{self._name}: {why}"))  # for good: its note stays
        self._notes.end(what)
        return done
