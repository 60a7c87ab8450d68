"""A plan: typed rows and the stages that they go through. Knows nothing of Ray."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import pyarrow as pa

from pipeline.block import SOURCE, first_block
from schemas.row import Row
from stages.base import Stage, describe

R = TypeVar("R", bound=Row)
Out = TypeVar("Out", bound=Row)
S = TypeVar("S")


@dataclass(frozen=True)
class Plan(Generic[R]):
    """`source` is the block of sources; `row` is what comes out of the last stage."""

    source: pa.Table
    row: type[R]
    stages: tuple[Stage[Any, Any, Any], ...] = ()

    @classmethod
    def of(cls, rows: list[R], row: type[R]) -> Self:
        """A plan over these sources; raises ValueError where two have the same uri."""
        return cls(first_block(rows, row), row)

    def then(self, stage: Stage[R, Out, S]) -> "Plan[Out]":
        """The plan with one more stage; raises TypeError where the stage reads another type of row."""
        if not issubclass(self.row, stage.reads):
            raise TypeError(f"{type(stage).__name__} reads {stage.reads.__name__}, got {self.row.__name__}")
        writes: type[Out] = stage.writes  # type: ignore[assignment]
        writes.schema()  # a row type without an Arrow type fails here, not on a worker
        return Plan(self.source, writes, (*self.stages, stage))

    @property
    def named(self) -> list[tuple[str, Stage[Any, Any, Any]]]:
        """The stages with the names under which their outcomes, times and workers are known: the class, numbered
        from its second use on."""
        seen: Counter[str] = Counter()
        pairs = []
        for stage in self.stages:
            name = type(stage).__name__
            seen[name] += 1
            pairs.append((name if seen[name] == 1 else f"{name}_{seen[name]}", stage))
        return pairs

    @property
    def sources(self) -> list[str]:
        """The uris that must come out, as rows or outcomes."""
        return self.source[SOURCE].to_pylist()

    @property
    def fingerprint(self) -> str:
        """Changes when, and only when, the meaning of what comes out may change. The sources are no part of it."""
        text = "\n".join(stage.fingerprint for stage in self.stages)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def describe_parameters(self) -> list[str]:
        """Lines "Stage.parameter = value": two plans with other fingerprints differ in at least one of them."""
        lines = []
        for name, stage in self.named:
            schema = stage.writes.schema().to_string(show_schema_metadata=True)
            lines.append(f"{name}.version = {stage.version}")
            lines.append(f"{name}.writes = {stage.writes.__name__} {hashlib.sha256(schema.encode()).hexdigest()[:8]}")
            lines += [f"{name}.{key} = {value!r}" for key, value in sorted(stage.parameters.items())]
        return lines

    def __str__(self) -> str:
        return "\n".join(map(describe, self.stages))
