"""Parquet files of one table, cut at video boundaries, hashed and read back."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage import Place, PublishError, fsync, is_there, writing
from schemas.manifest import Manifest, Shard
from schemas.row import Record

SHARD_NAME = re.compile(r"part-\d{5,}\.parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes. A shard is cut before the video that would exceed it, so only a single huge video can."""

    shard_bytes: int = 256_000_000
    row_group_bytes: int = 64_000_000  # uncompressed; a single larger row is a group of its own
    row_group_rows: int | None = None  # for tables that are read row by row at random


@dataclass(slots=True)
class ShardWriter:
    """Writes the shards of one table under root/table/. Holds at most a row group and one video's rows."""

    root: Path
    table: str
    row: type[Record]
    limits: Limits
    done: list[Shard] = field(default_factory=list)
    _file: pq.ParquetWriter | None = None
    _waiting: list[pa.Table] = field(default_factory=list)
    _held: int = 0  # bytes of what is waiting
    _rows: int = 0
    _written: int = 0  # bytes, at least what the file has
    _videos: list[str] = field(default_factory=list)  # first and last

    def add(self, video_id: str, rows: pa.Table) -> None:
        """Append the rows of one video, which stay in one shard."""
        if not rows.num_rows:
            return
        if self._rows and self._written + self._held + rows.nbytes > self.limits.shard_bytes:
            self._cut()
        self._waiting.append(rows)
        if len(self._waiting) >= _MOST_TABLES:
            self._waiting = [pa.concat_tables(self._waiting).combine_chunks()]
        self._held += rows.nbytes
        self._rows += rows.num_rows
        self._videos = [*self._videos[:1], video_id]
        if self._held >= self.limits.row_group_bytes:
            self._flush()

    def close(self) -> list[Shard]:
        """The finished shards: at least one, so that readers find the schema even where there are no rows."""
        if self._rows or not self.done:
            self._cut()
        return self.done

    @property
    def _relative(self) -> str:
        return f"{self.table}/part-{len(self.done):05d}.parquet"

    def _flush(self) -> None:
        path = self.root / self._relative
        with writing(path):
            if self._file is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = pq.ParquetWriter(path, self.row.schema(), compression="zstd", write_statistics=True)
            if self._waiting:
                whole = pa.concat_tables(self._waiting).combine_chunks()
                for group in _groups(whole, self.limits):
                    self._file.write_table(group, row_group_size=group.num_rows)
                self._written = path.stat().st_size + _FOOTER_BYTES
        self._waiting, self._held = [], 0

    def _cut(self) -> None:
        """Close the file, read it back and list it."""
        self._flush()
        path = self.root / self._relative
        with writing(path):
            assert self._file is not None
            self._file.close()
            fsync(path)
        first, last = (self._videos[0], self._videos[-1]) if self._videos else (None, None)
        self.done.append(_read_back(path, self._relative, self.table, self.row, self._rows, first, last))
        self._file, self._rows, self._written, self._videos = None, 0, 0, []


_MOST_TABLES = 32  # that wait: a table of ten rows takes twenty times its bytes
_FOOTER_BYTES = 64_000  # what the schema and the statistics of a footer take at most in practice


def problems(out: Place, manifest: Manifest) -> list[str]:
    """Where the files under `out` are not those of the manifest: missing, changed, too many; empty if all is well."""
    found = []
    for shard in manifest.shards:
        path = out / shard.path
        if not is_there(path):
            found.append(f"{shard.path}: missing")
        elif path.stat().st_size != shard.bytes:
            found.append(f"{shard.path}: {path.stat().st_size} bytes, manifest says {shard.bytes}")
        elif sha256(path) != shard.sha256:
            found.append(f"{shard.path}: bytes changed since it was sealed (sha256 differs)")
        elif (rows := _row_count(path)) != shard.rows:
            found.append(f"{shard.path}: {'no Parquet' if rows is None else rows} rows, manifest says {shard.rows}")
    times = Counter(shard.path for shard in manifest.shards)
    found += [f"{path}: in the manifest {n} times" for path, n in times.items() if n > 1]
    listed = times.keys()
    for table in sorted({shard.table for shard in manifest.shards}):
        names = sorted(p.name for p in (out / table).glob("*.parquet"))
        found += [f"{table}/{name}: not in the manifest" for name in names if f"{table}/{name}" not in listed]
    return found


def _row_count(path: Place) -> int | None:
    """What the footer says; None where the file has none."""
    try:
        with path.open("rb") as file:
            return pq.read_metadata(file).num_rows
    except pa.ArrowInvalid:
        return None


def sha256(path: Place) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type] - stores' files have readinto


def _groups(rows: pa.Table, limits: Limits) -> Iterator[pa.Table]:
    """Halves of halves, until each is within the limits or is a single row."""
    few = limits.row_group_rows is None or rows.num_rows <= limits.row_group_rows
    if rows.num_rows == 1 or (few and rows.nbytes <= limits.row_group_bytes):
        yield rows
        return
    half = rows.num_rows // 2
    yield from _groups(rows.slice(0, half), limits)
    yield from _groups(rows.slice(half), limits)


def _read_back(
    path: Path, relative: str, table: str, row: type[Record], rows: int, first: str | None, last: str | None
) -> Shard:
    """What the disk holds, checked against what was written."""
    try:
        footer = pq.read_metadata(path)
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise PublishError(f"{path} cannot be read back: {error}. The disk may be failing or full.") from error
    if footer.num_rows != rows or not schema.equals(row.schema()):
        raise PublishError(f"{path} has {footer.num_rows} rows of {rows}, or another schema. The disk may be failing.")
    return Shard(
        path=relative,
        table=table,
        rows=rows,
        bytes=path.stat().st_size,
        sha256=sha256(path),
        first_video_id=first,
        last_video_id=last,
    )
