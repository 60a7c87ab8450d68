"""plan.parquet and rejected.parquet: written once, under the fingerprint of all that the plan follows from."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.ledger import PlanChanged, difference
from pipeline.storage import write, writing
from pipeline.train.mix import DataSet
from pipeline.train.plan import reserve_name
from pipeline.train.recipe import TrainRecipe
from schemas.row import Record
from schemas.train import PlannedSample, RejectedSample

PLAN, REJECTED = "plan.parquet", "rejected.parquet"
VERSION = 2  # raise it when equal samples, recipe and seed begin to give another plan
_META = b"utr.plan"
_REPEATED = ["source", "clip_id", "shard", "reserve"]  # kept once in memory


@dataclass(frozen=True)
class Plan:
    """What a run reads, step by step; about 150 bytes a sample in memory."""

    table: pa.Table  # of PlannedSample: by step, pack and place, then the reserves
    lines: tuple[str, ...]  # "name = value" of all that it follows from

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:12]

    @property
    def n_steps(self) -> int:
        return len(self._ends)

    def step(self, step: int) -> list[PlannedSample]:
        """All samples of a step."""
        first = int(self._ends[step - 1]) if step else 0
        return PlannedSample.from_arrow(self.table.slice(first, int(self._ends[step]) - first))

    def reserve(self, name: str) -> PlannedSample:
        """The reserve of this name: "source/sample_id"."""
        return self._reserves[name]

    @property
    def n_reserves(self) -> int:
        return len(self.table) - int(self._ends[-1])

    @cached_property
    def _ends(self) -> np.ndarray:
        """Number of rows up to the end of each step."""
        steps = self.table["step"].drop_null().to_numpy()
        return np.searchsorted(steps, np.arange(int(steps[-1]) + 1), side="right")

    @cached_property
    def _reserves(self) -> dict[str, PlannedSample]:
        tail = PlannedSample.from_arrow(self.table.slice(int(self._ends[-1])))
        return {reserve_name(own.source, own.sample_id): own for own in tail}


def plan_lines(recipe: TrainRecipe, sets: dict[str, DataSet], encoder: Sequence[str]) -> tuple[str, ...]:
    """All that a plan follows from, as "name = value"; `encoder` says of the tokenizer and the encoder what changes
    lengths. Where a set lies is no part of it, what it holds is."""
    data, text = recipe.data, recipe.text
    lines = [f"plan.version = {VERSION}", f"seed = {recipe.seed}"]
    lines += [f"batch.{name} = {value}" for name, value in recipe.batch.model_dump().items()]
    for name, source in data.mix.items():
        shards = [s.sha256 for s in sets[name].manifest.shards if s.table in ("data", "clips")]
        held = hashlib.sha256("\n".join(shards).encode()).hexdigest()[:16]
        lines += [f"data.mix.{name}.{key} = {getattr(source, key)}" for key in ("sampling", "epochs")]
        lines.append(f"data.mix.{name}.holds = {held}")
    lines += [f"data.{key} = {getattr(data, key)}" for key in ("frames", "max_frames", "image_tiles", "overlong")]
    lines += [f"text.{name} = {value}" for name, value in text.model_dump().items()]
    return (*lines, *encoder)


def write_plan(
    folder: Path, planned: Sequence[PlannedSample], rejected: Sequence[RejectedSample], lines: Sequence[str]
) -> Plan:
    """Puts both files in their places, the plan last: where it is, both are."""
    table = _table(PlannedSample, planned, lines)
    for name, rows in ((REJECTED, _table(RejectedSample, rejected, lines)), (PLAN, table)):
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, compression="zstd", row_group_size=100_000)
        with writing(folder / name):
            write(folder / name, sink.getvalue().to_pybytes())
    return read_plan(folder, lines)


def is_planned(folder: Path) -> bool:
    return (folder / PLAN).is_file()


def read_plan(folder: Path, lines: Sequence[str]) -> Plan:
    """The plan of a folder; raises PlanChanged, with what differs, where it follows from something else."""
    path = folder / PLAN
    try:
        table = pq.read_table(path, read_dictionary=_REPEATED)
        told = tuple(json.loads((table.schema.metadata or {})[_META]))
    except (KeyError, ValueError) as error:
        raise PlanChanged(f"{path} is no plan of ours: {error}; remove it to plan anew") from error
    if told != tuple(lines):
        differs = "\n".join(f"  {line}" for line in difference(told, tuple(lines)))
        raise PlanChanged(
            f"{path} is of another run. What differs, old -> new:\n{differs}\nGo back to the old recipe and data, or "
            "choose another --out."
        )
    return Plan(table, told)


def read_rejected(folder: Path) -> list[RejectedSample]:
    return RejectedSample.from_arrow(pq.read_table(folder / REJECTED))


def _table(row: type[Record], rows: Sequence[Record], lines: Sequence[str]) -> pa.Table:
    schema = row.schema()
    parts = [row.to_arrow(list(rows[k : k + 50_000])) for k in range(0, len(rows), 50_000)]
    table = pa.concat_tables(parts) if parts else schema.empty_table()
    return table.replace_schema_metadata({**(schema.metadata or {}), _META: json.dumps(list(lines)).encode()})
