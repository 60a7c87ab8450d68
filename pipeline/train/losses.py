"""What each sample cost: rows that every rank writes in parts, one table at the end, and the data beside it.

joined(run, {"demo": Path("demo-out")}).group_by("family").agg(pl.col("nll").sum() / pl.col("n_labels").sum())
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.storage import write
from schemas.row import Record

LOSSES = "sample_losses"  # of SampleLoss
ORDER = ("step", "source", "sample_id")


@dataclass(slots=True)
class Parts:
    """Rows with a step, under run/name/ while training and in run/name.parquet when it has ended.

    A part has the rows between two flushes of one rank. A flush before each checkpoint, and `cut` when it is resumed,
    leave each step's rows once, whatever was killed between.
    """

    run: Path
    name: str
    row: type[Record]
    rank: int
    _waiting: list[Record] = field(default_factory=list)

    @property
    def table(self) -> Path:
        return self.run / f"{self.name}.parquet"

    def add(self, rows: Iterable[Record]) -> None:
        self._waiting += rows

    def flush(self) -> None:
        """Everything that was added is on the disk."""
        if self._waiting:
            _write(self._part(self._waiting[0], self._waiting[-1]), self.row.to_arrow(self._waiting))
            self._waiting.clear()

    def cut(self, step: int) -> None:
        """Leaves the rows of steps before this one, in parts; one rank does it before any adds to them."""
        for path in self._files():
            rows = pq.read_table(path)
            kept = rows.filter(pc.field("step") < step)
            if path == self.table:
                for part in self._parts():  # of a merge that was killed: the table has their rows
                    part.unlink()
                if kept.num_rows:
                    _write(self.run / self.name / "steps-before.parquet", kept)
            if path == self.table or not kept.num_rows:
                path.unlink()
            elif kept.num_rows < rows.num_rows:
                _write(path, kept)

    def merge(self) -> None:
        """One table of all parts, in order; one rank does it when all have flushed."""
        parts = [pq.read_table(path, schema=self.row.schema()) for path in self._parts()]
        rows = pa.concat_tables([self.row.schema().empty_table(), *parts]).sort_by(
            [(name, "ascending") for name in ORDER]
        )
        _write(self.table, rows)
        for path in self._parts():
            path.unlink()
        if (self.run / self.name).is_dir():
            (self.run / self.name).rmdir()

    def read(self) -> pl.DataFrame:
        """What is there, of a run that trains as of one that has ended."""
        tables = [pq.read_table(path, schema=self.row.schema()) for path in self._files()]
        tables = [self.row.schema().empty_table(), *tables]
        return pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))

    def _files(self) -> list[Path]:
        """The table, which is written whole and begins where parts end; else the parts."""
        return [self.table] if self.table.exists() else self._parts()

    def _parts(self) -> list[Path]:
        return sorted((self.run / self.name).glob("*.parquet"))

    def _part(self, first: Record, last: Record) -> Path:
        steps = "-".join(f"{getattr(row, 'step'):08d}" for row in (first, last))  # noqa: B009 -- of any such row
        return self.run / self.name / f"steps-{steps}-rank-{self.rank:05d}.parquet"


def joined(run: Path, sets: Mapping[str, Path]) -> pl.DataFrame:
    """A row a sample and step, the columns of data/ beside its loss; `sets` are the folders of the mix, by name."""
    losses = pl.read_parquet(run / f"{LOSSES}.parquet")
    data = [
        pl.read_parquet(folder / "data" / "*.parquet").with_columns(source=pl.lit(name))
        for name, folder in sets.items()
    ]
    return losses.join(pl.concat(data).drop("family"), on=("source", "sample_id"), how="left", validate="m:1")


def _write(path: Path, rows: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    write(path, sink.getvalue().to_pybytes())
