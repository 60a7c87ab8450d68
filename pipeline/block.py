"""A block: rows of one type, the outcomes of rows that ended, and the credit and time that each carries.

Every source starts with one row of share 1. A row that becomes n rows gives each the share `n * its own`, so a row
stands for 1 / share of its source, at any depth. A source is complete when the 1 / share of its rows and outcomes sum
to 1: no counting messages, no order of arrival (credit recovery, F. Mattern 1989).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from schemas.outcome import Outcome
from schemas.row import Record, Row

OUTCOME, SHARE, SOURCE, SPENT = "_outcome", "_share", "_source", "_spent"


class SchemaError(ValueError):
    """A block does not hold what its row type promises: an error of a stage's code, not of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(Record):
    """The sum of one of a stage's `counts`."""

    name: str
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent(Record):
    """What one row cost in one stage. Its first result carries it on, so the times arrive with the credit."""

    stage: str
    rows_out: int
    seconds: float
    counted: tuple[Counted, ...]  # without what nobody counted


def _struct(record: type[Record]) -> pa.DataType:
    return pa.struct(list(record.schema()))


HELPERS = [
    pa.field(OUTCOME, _struct(Outcome)),  # null while the row is alive
    pa.field(SHARE, pa.int64(), nullable=False),
    pa.field(SOURCE, pa.large_string(), nullable=False),
    pa.field(SPENT, pa.list_(pa.field("item", _struct(Spent), nullable=False)), nullable=False),
]


def block_schema(row: type[Row]) -> pa.Schema:
    """The columns of `row`, nullable because an ended row has none of them, and the four that the pipeline adds."""
    data = [field.with_nullable(True) for field in row.schema()]
    return pa.schema([*data, *HELPERS], metadata=row.schema().metadata)


def first_block(rows: Sequence[Row], row: type[Row]) -> pa.Table:
    """Sources with all their credit; raises ValueError where two have the same uri."""
    twice = [uri for uri, n in Counter(r.source_uri for r in rows).items() if n > 1]
    if twice:
        raise ValueError(f"a uri may stand for one source only, but these appear twice: {', '.join(sorted(twice))}")
    values = [{**r.to_dict(), SHARE: 1, SOURCE: r.source_uri, SPENT: []} for r in rows]
    return build_block(row, values, owner="the plan")


def build_block(row: type[Row], values: list[dict[str, Any]], *, owner: str) -> pa.Table:
    """A block of `values`; raises SchemaError, naming the owner, where a value breaks the row's contract."""
    try:
        block = pa.Table.from_pylist(values, schema=block_schema(row))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise SchemaError(f"{owner} wrote a {row.__name__} that does not fit its schema: {error}") from error
    live, _ = _parted(block)
    for field in row.schema():
        problem = f"{owner} wrote a {row.__name__} with a null in {field.name}"
        _require(live[field.name].combine_chunks(), field, problem)
    return block


def split_block(block: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Living rows and ended ones; raises SchemaError where a block did not come from a plan."""
    missing = [field.name for field in HELPERS if field.name not in block.column_names]
    if missing:
        raise SchemaError(f"a block lacks the columns {', '.join(missing)}: it has {', '.join(block.column_names)}")
    return _parted(block)


def _parted(block: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Living rows and ended ones; a filter costs a quarter of what a row does, and most blocks hold one kind only."""
    ended = block.num_rows - block[OUTCOME].null_count
    if ended in (0, block.num_rows):
        none = block.schema.empty_table()  # a slice would carry the nulls of ended rows into casts
        return (none, block) if ended else (block, none)
    return block.filter(block[OUTCOME].is_null()), block.filter(block[OUTCOME].is_valid())


def carry_ended(ended: pa.Table, row: type[Row]) -> pa.Table:
    """Ended rows as part of a block of another row type: their data is null, their outcome stays."""
    schema = block_schema(row)
    helpers = {field.name for field in HELPERS}
    columns = [
        ended[field.name].cast(field.type) if field.name in helpers else pa.nulls(ended.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _require(array: pa.Array, field: pa.Field, problem: str) -> None:
    """Raise where a value is null that the field, or one nested in it, requires."""
    if not field.nullable and array.null_count:
        raise SchemaError(problem)
    if pa.types.is_struct(field.type):
        present = array.drop_null()
        for index in range(field.type.num_fields):
            child = field.type.field(index)
            _require(present.field(index), child, f"{problem}.{child.name}")
    elif pa.types.is_list(field.type):
        _require(array.flatten(), field.type.value_field, f"{problem}[]")
