"""Published numbers of published.yaml, to stand beside ours, and what keeps the two from being compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).parent / "data" / "published.yaml"
LOCAL, SEED = "local", "seed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A benchmark of lmms-eval."""

    name: str
    title: str
    run: str  # what lmms-eval calls it
    metric: str
    share: bool  # lmms-eval says .43 for 43 %
    judge: str
    note: str

    def value(self, results: Mapping[str, Mapping[str, Any]]) -> float | None:
        """What lmms-eval's results say of it: the mean over a group's parts; None where they say nothing."""
        key = f"{self.metric},none"
        parts = [r for task, r in sorted(results.items()) if task == self.run or task.startswith(f"{self.run}_")]
        found = [float(r[key]) for r in parts if isinstance(r.get(key), int | float)]
        return (100 if self.share else 1) * sum(found) / len(found) if found else None


@dataclass(frozen=True, slots=True)
class Row:
    """What one source says of one model, by task."""

    model: str
    source: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Published:
    tasks: Mapping[str, Task]
    seed: tuple[str, ...]
    rows: tuple[Row, ...]
    sources: Mapping[str, str]

    def chosen(self, text: str) -> tuple[str, ...]:
        """Names of a list with commas; "seed" stands for its list. Raises ValueError with the names that are known."""
        names = [n for part in text.split(",") for n in (self.seed if part.strip() == SEED else (part.strip(),)) if n]
        unknown = [name for name in names if name != LOCAL and name not in self.tasks]
        if unknown or not names:
            known = ", ".join((LOCAL, SEED, *self.tasks))
            raise ValueError(f"{', '.join(map(repr, unknown)) or 'no task'}: known are {known}")
        return tuple(dict.fromkeys(names))

    def beside(self, names: Sequence[str]) -> list[Row]:
        """The rows that say something of these tasks."""
        return [row for row in self.rows if any(name in row.values for name in names)]

    def caveats(self, names: Sequence[str], *, limit: int | None, frames: int) -> list[str]:
        """Why numbers of these tasks are not those of the sources."""
        tasks = [self.tasks[name] for name in names]
        found = [f"{t.title}: marks by a judge ({t.judge}): no comparison with another judge" for t in tasks if t.judge]
        found += [f"{t.title}: {t.note}" for t in tasks if t.note]
        if limit is not None:
            found.append(f"of each task the first {limit} samples only: nothing here is comparable")
        found.append(f"ours shows {frames} frames; sources differ in frames and prompts: compare no two sources")
        return found


@cache
def published() -> Published:
    """The table as it comes with this package."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    tasks = {name: _task(name, given) for name, given in table["tasks"].items()}
    rows = tuple(
        Row(r["model"], r["source"], {k: float(v) for k, v in r.items() if k not in ("model", "source")})
        for r in table["rows"]
    )
    return Published(tasks, tuple(table["seed"]), rows, table["sources"])


def _task(name: str, given: Mapping[str, Any]) -> Task:
    told = {"run": name, "share": False, "judge": "", "note": "", **given}
    return Task(name=name, **told)
