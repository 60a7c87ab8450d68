"""Single rows of Parquet files, each at the price of one row group."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage import Place

KEPT_FILES = 8  # footers: one of a shard of samples is about 1 MB
KEPT_GROUPS = 2  # neighbours are asked for one behind the other while a plan is made


@dataclass(frozen=True, slots=True)
class _Opened:
    file: pq.ParquetFile
    ends: tuple[int, ...]  # number of rows up to the end of each group


class RowGroups:
    """Rows of the files under a folder, some columns of them. Opens files when they are asked for; one process each."""

    def __init__(self, folder: Place, columns: tuple[str, ...]) -> None:
        self._folder, self._columns = folder, columns
        self._open = lru_cache(KEPT_FILES)(self._opened)
        self._group = lru_cache(KEPT_GROUPS)(self._read)

    def row(self, shard: str, row: int) -> pa.Table:
        """One row; raises store_errors() or pa.ArrowException on a bad file, IndexError where it ends before."""
        ends = self._open(shard).ends
        group = bisect_right(ends, row)
        if row < 0 or group == len(ends):
            raise IndexError(f"{self._folder / shard} has {ends[-1] if ends else 0} rows, no row {row}")
        return self._group(shard, group).slice(row - (ends[group - 1] if group else 0), 1)

    def column(self, shard: str, name: str) -> pa.ChunkedArray:
        """A whole column."""
        return self._open(shard).file.read([name], use_threads=False)[name]

    def names(self, shard: str) -> list[str]:
        return self._open(shard).file.schema_arrow.names

    def close(self) -> None:
        self._open.cache_clear()
        self._group.cache_clear()

    def _opened(self, shard: str) -> _Opened:
        file = open_parquet(self._folder / shard)
        groups = range(file.metadata.num_row_groups)
        return _Opened(file, tuple(accumulate(file.metadata.row_group(k).num_rows for k in groups)))

    def _read(self, shard: str, group: int) -> pa.Table:
        # Threads of a library do not survive the fork of a loader's worker.
        return self._open(shard).file.read_row_group(group, list(self._columns), use_threads=False)


def open_parquet(path: Place) -> pq.ParquetFile:
    """A file of this machine or of a store."""
    source = str(path) if "://" not in str(path) else path.open("rb")
    return pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
