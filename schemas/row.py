"""A row is a frozen dataclass; its Arrow schema is derived from it and from nothing else."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, NewType, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

Float32 = NewType("Float32", float)  # a float that is stored in four bytes

_SCALARS: dict[Any, pa.DataType] = {
    str: pa.large_string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    bytes: pa.large_binary(),
    Float32: pa.float32(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Typed columns; also what a row nests. Sequences are tuples, so that a row is a value."""

    version: ClassVar[int] = 1

    @classmethod
    def schema(cls) -> pa.Schema:
        """The Arrow contract: same names, same order, same nullability as the dataclass."""
        return _schema(cls)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> list[Self]:
        """Rows of a table; raises ValueError on a missing column or a null in a required one."""
        wanted = cls.schema()
        missing = [name for name in wanted.names if name not in table.column_names]
        if missing:
            raise ValueError(f"{cls.__name__}: columns missing: {', '.join(missing)}")
        columns = table.select(wanted.names).cast(wanted)
        return [_build(cls, values) for values in columns.to_pylist()]

    @classmethod
    def to_arrow(cls, rows: "list[Self]") -> pa.Table:
        """A table that holds exactly these rows under this type's schema."""
        return pa.Table.from_pylist([row.to_dict() for row in rows], schema=cls.schema())

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, nested records as dicts, in field order."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    def extend(self, cls: "type[R]", **new: Any) -> "R":
        """This record plus the columns that `cls` adds."""
        return cls(**{f.name: getattr(self, f.name) for f in fields(self)}, **new)


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Record, ABC):
    """A record that flows through a plan: it has a name and knows which source it came from."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Names the row in reports and in the failures table."""

    @property
    @abstractmethod
    def source_uri(self) -> str:
        """The uri, as published, of the source that this row descends from."""


@cache
def _schema(cls: type[Record]) -> pa.Schema:
    columns = [pa.field(name, *_arrow(hint)) for name, hint in _hints(cls).items()]
    return pa.schema(columns, metadata={"row": cls.__name__, "version": str(cls.version)})


@cache
def _hints(cls: type[Record]) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def _arrow(hint: Any) -> tuple[pa.DataType, bool]:
    """Arrow type and nullability of a Python annotation."""
    if get_origin(hint) in (Union, UnionType):
        return _arrow(_not_none(hint))[0], True
    if get_origin(hint) is tuple:
        item, nullable = _arrow(get_args(hint)[0])
        return pa.list_(pa.field("item", item, nullable)), False
    if hint in _SCALARS:
        return _SCALARS[hint], False
    if isinstance(hint, type) and issubclass(hint, Record):
        return pa.struct([pa.field(n, *_arrow(h)) for n, h in _hints(hint).items()]), False
    raise TypeError(f"no Arrow type for {hint!r}")


def _not_none(hint: Any) -> Any:
    (inner,) = [a for a in get_args(hint) if a is not NoneType]
    return inner


def _build(cls: type[R], values: dict[str, Any]) -> R:
    return cls(**{name: _python(hint, values[name]) for name, hint in _hints(cls).items()})


def _python(hint: Any, value: Any) -> Any:
    """The value that the annotation promises, from what Arrow gives."""
    if get_origin(hint) in (Union, UnionType):
        return None if value is None else _python(_not_none(hint), value)
    if value is None:
        raise ValueError(f"null where {hint!r} is required")
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if inner[-1] is not Ellipsis and len(inner) != len(value):
            raise ValueError(f"{len(value)} values where {hint!r} is required")
        if inner[0] in _SCALARS:
            return tuple(value)
        return tuple(_python(inner[0], item) for item in value)
    if isinstance(hint, type) and issubclass(hint, Record):
        return _build(hint, value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
