"""What became of every row, stage by stage."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCount:
    """One line of the funnel. `seconds` is work summed over workers, not time on the wall."""

    rows_in: int = 0
    rows_out: int = 0
    seconds: float = 0.0
    skipped: dict[str, int] = field(default_factory=dict)  # by reason
    failed: dict[str, int] = field(default_factory=dict)  # by the error's class
    counted: dict[str, int] = field(default_factory=dict)  # by what the stage counts: tokens

    def __add__(self, other: "StageCount") -> "StageCount":
        return StageCount(
            rows_in=self.rows_in + other.rows_in,
            rows_out=self.rows_out + other.rows_out,
            seconds=self.seconds + other.seconds,
            skipped=dict(Counter(self.skipped) + Counter(other.skipped)),
            failed=dict(Counter(self.failed) + Counter(other.failed)),
            counted={n: self.counted.get(n, 0) + other.counted.get(n, 0) for n in {**self.counted, **other.counted}},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, keys sorted, for JSON."""
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "seconds": round(self.seconds, 6),
            "skipped": dict(sorted(self.skipped.items())),
            "failed": dict(sorted(self.failed.items())),
            "counted": self.counted,
        }


@dataclass(frozen=True, slots=True)
class Funnel:
    """Stages in the order of the plan."""

    stages: dict[str, StageCount] = field(default_factory=dict)

    @classmethod
    def empty(cls, names: Iterable[str]) -> Self:
        """Zeros for each stage of a plan, which also fixes the order."""
        return cls({name: StageCount() for name in names})

    def merge(self, other: "Funnel") -> "Funnel":
        """The sum; stages that only the other knows come last."""
        names = dict.fromkeys([*self.stages, *other.stages])
        nothing = StageCount()
        return Funnel({n: self.stages.get(n, nothing) + other.stages.get(n, nothing) for n in names})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, by stage."""
        return {name: count.to_dict() for name, count in self.stages.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The funnel that `to_dict` gave."""
        return cls({name: StageCount(**count) for name, count in values.items()})
