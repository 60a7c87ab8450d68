"""Seal tables of typed rows under a manifest. What a folder holds under a manifest is whole.

Everything is written to a local folder first. The old manifest goes before the first file is replaced, the new one
comes last: a killed seal is repaired by sealing again, and until then no file that it left is part of a data set.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.shards import SHARD_NAME, Limits, ShardWriter
from pipeline.storage import Place, PublishError, fsync, settle, staging, take, writing
from schemas.manifest import MANIFEST, Manifest, Shard
from schemas.row import Record

Tables = Mapping[str, type[Record]]
Rows = Mapping[str, Sequence[Record]]  # by table


def seal(
    out: Place,
    tables: Tables,
    groups: Iterable[tuple[str, Rows]],
    manifest: Callable[[tuple[Shard, ...]], Manifest],
    *,
    beside: Callable[[], Mapping[str, str]] = dict,
    limits: Mapping[str, Limits] | None = None,
) -> Manifest:
    """Writes `out` from groups of rows that stay in one shard. `manifest` and `beside` (texts by file name) are asked
    when all rows are written; `limits` are by table.

    Raises PublishError where the disk or store does not take them, or Parquet files lie there that are not ours.
    """
    _refuse_strangers(out, tables)
    with staging(out) as folder:
        sizes = limits or dict.fromkeys(tables, Limits())
        writers = {name: ShardWriter(folder, name, row, sizes[name]) for name, row in tables.items()}
        for key, rows in groups:
            for name, writer in writers.items():
                writer.add(key, tables[name].to_arrow(list(rows.get(name, ()))))
        sealed = manifest(tuple(shard for writer in writers.values() for shard in writer.close()))
        _replace(out, folder, sealed, {**beside(), MANIFEST: sealed.to_json()})
    return sealed


def _refuse_strangers(out: Place, tables: Tables) -> None:
    """A Parquet file that is not ours would be read as part of the table."""
    for table in tables:
        for path in sorted((out / table).glob("*.parquet")):
            if not SHARD_NAME.fullmatch(path.name):
                raise PublishError(
                    f"{path} is no shard of ours, but readers of {table}/*.parquet would take it. Move it."
                )


def _replace(out: Place, folder: Path, manifest: Manifest, texts: Mapping[str, str]) -> None:
    """Puts the new files in the place of the old ones, the manifest last."""
    with writing(folder):
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
            fsync(folder / name)
    with writing(out):
        (out / MANIFEST).unlink(missing_ok=True)
        settle(out)
        new = [shard.path for shard in manifest.shards]
        for path in new:
            take(folder / path, out / path)
        for table in {shard.table for shard in manifest.shards}:
            for path in (out / table).glob("*.parquet"):
                if f"{table}/{path.name}" not in new:
                    path.unlink()
            settle(out / table)
        for name in texts:  # the manifest is the last of them
            take(folder / name, out / name)
        settle(out)
