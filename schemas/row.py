"""A row is a frozen dataclass; its Arrow schema is derived from it and from nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
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
        columns = table.select(wanted.names)
        if not columns.schema.equals(wanted):  # a cast costs as much as reading, even where nothing changes
            columns = columns.cast(wanted)
        read = _reader(cls)
        return [read(values) for values in columns.to_pylist()]

    @classmethod
    def to_arrow(cls, rows: "list[Self]") -> pa.Table:
        """A table that holds exactly these rows under this type's schema."""
        return pa.Table.from_pylist([row.to_dict() for row in rows], schema=cls.schema())

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, nested records as dicts, in field order."""
        return _writer(type(self))(self)

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


# Both ways are compiled once a type: asking annotations again at each value was two thirds of what a row costs.


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """Makes what the annotation promises of what Arrow gives; raises ValueError on a null that it does not allow."""
    if get_origin(hint) in (Union, UnionType):
        inner = _reader(_not_none(hint))
        return lambda value: None if value is None else inner(value)
    if get_origin(hint) is tuple:
        return _tuple_reader(hint)
    if isinstance(hint, type) and issubclass(hint, Record):
        return _record_reader(hint)
    return lambda value: _given(hint, value)


def _given(hint: Any, value: Any) -> Any:
    if value is None:
        raise ValueError(f"null where {hint!r} is required")
    return value


def _tuple_reader(hint: Any) -> Callable[[Any], Any]:
    inner = get_args(hint)
    size = None if inner[-1] is Ellipsis else len(inner)
    item = None if _is_plain(inner[0]) else _reader(inner[0])

    def read(values: Any) -> tuple[Any, ...]:
        values = _given(hint, values)
        if size is not None and len(values) != size:
            raise ValueError(f"{len(values)} values where {hint!r} is required")
        return tuple(values) if item is None else tuple([item(value) for value in values])

    return read


def _record_reader(cls: type[R]) -> Callable[[Any], R]:
    hints = _hints(cls)
    required = [name for name, hint in hints.items() if hint in _SCALARS]
    others = [(name, _reader(hint)) for name, hint in hints.items() if not _is_plain(hint)]

    def read(values: Any) -> R:
        values = _given(cls, values)
        for name in required:
            if values[name] is None:
                raise ValueError(f"null in {name}, where {hints[name]!r} is required")
        for name, reader in others:
            values[name] = reader(values[name])
        return cls(**values)

    return read


@cache
def _writer(cls: type[Record]) -> Callable[[Any], dict[str, Any]]:
    """Plain values of a record of exactly this class, by field."""
    hints = _hints(cls)
    names = tuple(hints)
    get: Callable[[Any], Any] = attrgetter(*names) if len(names) > 1 else lambda record: (getattr(record, *names),)
    others = [(name, list if _is_flat(hint) else _plain) for name, hint in hints.items() if not _is_plain(hint)]

    def write(record: Any) -> dict[str, Any]:
        values = dict(zip(names, get(record), strict=True))
        for name, plain in others:
            values[name] = plain(values[name])
        return values

    return write


def _is_plain(hint: Any) -> bool:
    """Whether its values are the same in Python and in Arrow: a scalar, or one that may be null."""
    return hint in _SCALARS or (get_origin(hint) in (Union, UnionType) and _not_none(hint) in _SCALARS)


def _is_flat(hint: Any) -> bool:
    return get_origin(hint) is tuple and any(_is_plain(item) for item in get_args(hint)[:1])


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return _writer(type(value))(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
