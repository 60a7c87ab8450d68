"""What a stage is: a frozen value that turns rows of one type into rows of another."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from schemas.outcome import Skip
from schemas.row import Row

In = TypeVar("In", bound=Row, contravariant=True)
Out = TypeVar("Out", bound=Row, covariant=True)
State = TypeVar("State")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one worker of a stage holds while it runs."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 0.5
    batch_rows: int = 1


@dataclass(frozen=True, kw_only=True)
class Stage(Generic[In, Out, State]):
    """Fields are parameters. `open` runs once per worker, `process` once per batch, `close` at the end."""

    version: ClassVar[int] = 1  # raise it when equal parameters begin to give other rows
    resources: ClassVar[Resources] = Resources()
    fatal: ClassVar[tuple[type[Exception], ...]] = ()  # errors that end the worker, not the row
    reads: ClassVar[type[Row]]
    writes: ClassVar[type[Row]]
    operational: ClassVar[frozenset[str]] = frozenset()  # fields that cannot change a row: not fingerprinted
    counts: ClassVar[tuple[str, ...]] = ()  # columns of what it writes, integers or null, that a run adds up: tokens

    def __init_subclass__(cls) -> None:
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Stage:
                cls.reads, cls.writes, _ = get_args(base)

    def open(self) -> State:
        """What the worker keeps: weights, decoders, stores. A stage that keeps nothing leaves this alone."""
        return None  # type: ignore[return-value]

    def close(self, state: State) -> None:
        """Gives back what `open` took, where that does not end with its process: decoder children."""

    def process(self, state: State, rows: Sequence[In], /) -> Sequence[Out | Skip | Sequence[Out | Skip]]:
        """One result for each row, in order: a row, a Skip, or a list of both. An empty list is an error: say Skip."""
        raise TypeError(f"{type(self).__name__} has no process method")

    @property
    def keeps_state(self) -> bool:
        """Whether workers of this stage must live on (actors) or may come and go (tasks)."""
        return type(self).open is not Stage.open

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields that give the output its meaning."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.operational}

    @property
    def fingerprint(self) -> str:
        """Changes when, and only when, the meaning of the output may change."""
        schema = self.writes.schema().to_string(show_schema_metadata=True)
        text = f"{type(self).__qualname__}/{self.version}/{sorted(self.parameters.items())}/{schema}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def describe(stage: Stage[Any, Any, Any]) -> str:
    """One line of a printed plan."""
    r = stage.resources
    return (
        f"{type(stage).__name__:<16} {stage.reads.__name__:>13} -> {stage.writes.__name__:<13}"
        f" cpus={r.cpus:g} gpus={r.gpus:g} mem={r.memory_gb:g}GB batch={r.batch_rows} {stage.fingerprint}"
    )
