"""Run one stage on one Arrow block: typed rows in, typed rows out, nothing lost."""

import errno
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from pipeline.block import OUTCOME, SHARE, SOURCE, SPENT, Counted, Spent, build_block, carry_ended, split_block
from schemas.outcome import Failure, Outcome, Skip
from schemas.row import Row
from stages.base import Stage

# Not the row's fault, and the next row will meet them too: a full disk must end the run, not a thousand videos.
_MACHINE_ERRNO = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE})


class StageError(TypeError):
    """A stage breaks the contract of `process`: an error of its code, which ends the run."""


class Worker:
    """Holds the opened state of a stage for the life of a worker."""

    def __init__(self, stage: Stage[Any, Any, Any], name: str) -> None:
        self._stage = stage
        self._name = name
        self._state = stage.open()

    def close(self) -> None:
        """Ends what the stage opened."""
        self._stage.close(self._state)

    def __call__(self, block: pa.Table) -> pa.Table:
        """The block after this stage; rows that ended earlier pass by."""
        return self._through(block, self._timed)

    def fail(self, block: pa.Table, failure: Failure) -> pa.Table:
        """The block with this failure for each row that had not ended; the stage does not see them."""
        return self._through(block, lambda rows: [(failure, 0.0) for _ in rows])

    def _through(self, block: pa.Table, work: Callable[[Sequence[Row]], list[tuple[Any, float]]]) -> pa.Table:
        alive, ended = split_block(block)
        try:
            rows: list[Row] = self._stage.reads.from_arrow(alive)
        except ValueError as error:
            error.add_note(f"while {self._name} read its rows")
            raise
        credits = zip(alive[SHARE].to_pylist(), alive[SPENT].to_pylist(), strict=True)
        values: list[dict[str, Any]] = []
        for row, (share, spent), (result, seconds) in zip(rows, credits, work(rows), strict=True):
            values += self._values(row, share, spent, result, seconds)
        made = build_block(self._stage.writes, values, owner=self._name)
        return pa.concat_tables([made, carry_ended(ended, self._stage.writes)]) if ended.num_rows else made

    def _timed(self, rows: Sequence[Row]) -> list[tuple[Any, float]]:
        """A result and the seconds that it took, for each row, batch by batch."""
        timed: list[tuple[Any, float]] = []
        size = self._stage.resources.batch_rows
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            began = time.perf_counter()
            results = self._results(batch)
            seconds = (time.perf_counter() - began) / len(batch)
            timed += [(result, seconds) for result in results]
        return timed

    def _results(self, rows: Sequence[Row]) -> list[Any]:
        """Results of a batch; when the batch raises, each row is tried alone.

        A MemoryError is treated alike: the smaller batch may fit, and a row that alone exhausts memory is that row's
        failure. KeyboardInterrupt and SystemExit are no `Exception` and pass.
        """
        try:
            results = self._stage.process(self._state, rows)
        except self._stage.fatal:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _MACHINE_ERRNO:
                raise
            if len(rows) == 1:
                return [Failure(type(error).__name__, str(error))]
            return [result for row in rows for result in self._results([row])]
        if not isinstance(results, Sequence) or len(results) != len(rows):
            got = len(results) if isinstance(results, Sequence) else f"a {type(results).__name__}"
            raise StageError(f"{self._name}.process gave {got} for {len(rows)} rows: one result a row, in order")
        return list(results)

    def _values(
        self, row: Row, share: int, spent: list[dict[str, Any]], result: Any, seconds: float
    ) -> list[dict[str, Any]]:
        """What one row became, as values of a block: its children share its credit, the first carries its times."""
        if isinstance(result, list) and not result:
            result = Failure("TypeError", f"{self._name} gave an empty list: a row that yields nothing is a Skip")
        items = result if isinstance(result, list) else [result]
        values = []
        for index, item in enumerate(items):
            key = f"{row.key}#{index}" if isinstance(result, list) else row.key
            values.append({**self._item(row, key, item), SHARE: share * len(items), SOURCE: row.source_uri, SPENT: []})
        rows_out = sum(value[OUTCOME] is None for value in values)
        mine = Spent(stage=self._name, rows_out=rows_out, seconds=seconds, counted=self._counted(items))
        values[0][SPENT] = [*spent, mine.to_dict()]
        return values

    def _counted(self, items: Sequence[Any]) -> tuple[Counted, ...]:
        """What the stage counts, over the rows among its results; without what is null in all of them."""
        rows = [item for item in items if type(item) is self._stage.writes]
        known = {name: [n for row in rows if (n := getattr(row, name)) is not None] for name in self._stage.counts}
        return tuple(Counted(name=name, n=sum(found)) for name, found in known.items() if found)

    def _item(self, row: Row, key: str, item: Any) -> dict[str, Any]:
        writes = self._stage.writes
        if type(item) is writes:
            if item.source_uri != row.source_uri:
                raise StageError(f"{self._name} changed the source of {key}: {row.source_uri} -> {item.source_uri}")
            return {**item.to_dict(), OUTCOME: None}
        match item:
            case Skip(reason, detail):
                kind, why = "skip", str(reason)
            case Failure(error, detail):
                kind, why = "failure", error
            case _:
                raise StageError(f"{self._name} gave a {type(item).__name__} for {key}: {writes.__name__} or Skip")
        outcome = Outcome(key=key, uri=row.source_uri, stage=self._name, kind=kind, reason=why, detail=detail)
        return {OUTCOME: outcome.to_dict()}
