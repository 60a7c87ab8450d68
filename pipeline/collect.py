"""Put the blocks of a run together again: a source is finished when all its credit has come home."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.block import OUTCOME, SHARE, SOURCE, SPENT, split_block
from pipeline.funnel import Funnel, StageCount
from pipeline.plan import Plan
from schemas.outcome import Outcome


class CreditError(RuntimeError):
    """More rows of a source came home than left, or none of it: the run is not to be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A source of which every descendant has come through or ended."""

    source_uri: str
    rows: pa.Table  # under the schema of the plan's last row type, in no promised order
    outcomes: list[Outcome]
    funnel: Funnel  # of this source alone


class Collector:
    """Takes blocks in any order. Holds the rows of unfinished sources only."""

    def __init__(self, plan: Plan[Any]) -> None:
        self._row = plan.row
        self._stages = [name for name, _ in plan.named]
        self._missing = {uri: Fraction(1) for uri in plan.sources}
        self._blocks: defaultdict[str, list[pa.Table]] = defaultdict(list)
        self.funnel = Funnel.empty(self._stages)  # of the sources that are finished

    def add(self, block: pa.Table) -> Iterator[Finished]:
        """The sources that this block completes; raises CreditError where it brings more than is missing."""
        for uri in block[SOURCE].unique().to_pylist():
            part = block.filter(pc.field(SOURCE) == uri)
            missing = self._missing.get(uri, Fraction(0)) - _credit(part)
            if missing < 0:
                raise CreditError(f"{uri}: rows came twice, or belong to no source of this plan")
            self._missing[uri] = missing
            self._blocks[uri].append(part)
            if missing == 0:
                yield self._finish(uri)

    def unfinished(self) -> list[str]:
        """Sources whose rows have not all come home. After the last block, each of them is an error."""
        return sorted(uri for uri, missing in self._missing.items() if missing)

    def _finish(self, uri: str) -> Finished:
        block = pa.concat_tables(self._blocks.pop(uri))
        alive, ended = split_block(block)
        outcomes = [Outcome(**values) for values in ended[OUTCOME].to_pylist()]
        funnel = Funnel.empty(self._stages).merge(_funnel(block[SPENT].to_pylist(), outcomes))
        self.funnel = self.funnel.merge(funnel)
        schema = self._row.schema()
        return Finished(source_uri=uri, rows=alive.select(schema.names).cast(schema), outcomes=outcomes, funnel=funnel)


def finished(plan: Plan[Any], blocks: Iterable[pa.Table]) -> Iterator[Finished]:
    """Sources as they finish; raises CreditError at the end where one of them never did."""
    collector = Collector(plan)
    for block in blocks:
        yield from collector.add(block)
    if collector.unfinished():
        raise CreditError(f"the run ended, but rows are missing of: {', '.join(collector.unfinished())}")


def _credit(part: pa.Table) -> Fraction:
    """What share of its source these rows stand for, exactly."""
    return sum((Fraction(n, share) for share, n in Counter(part[SHARE].to_pylist()).items()), Fraction(0))


def _funnel(spent: list[list[dict[str, Any]]], outcomes: list[Outcome]) -> Funnel:
    """The numbers of one source: a Spent for each row that entered a stage, an outcome for each that ended there."""
    stages: defaultdict[str, StageCount] = defaultdict(StageCount)
    for entry in (entry for entries in spent for entry in entries):
        counted = {c["name"]: c["n"] for c in entry["counted"]}
        stages[entry["stage"]] += StageCount(
            rows_in=1, rows_out=entry["rows_out"], seconds=entry["seconds"], counted=counted
        )
    for outcome in outcomes:
        one = {outcome.reason: 1}
        stages[outcome.stage] += StageCount(skipped=one) if outcome.kind == "skip" else StageCount(failed=one)
    return Funnel(dict(stages))
