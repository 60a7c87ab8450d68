"""What people see: the plan, a progress bar, the funnel, the result. Plain lines where no terminal is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console as Rich
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.plan import Plan

PHASES = {
    "ray": "starting Ray",
    "probe": "probing files",
    "build": "building videos",
    "score": "scoring videos",
    "import": "reading media",
    "seal": "sealing shards, card and report",
}


class Console:
    """Prints to standard error what is on its way, to standard output what came of it."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.out = Rich()
        self.err = Rich(stderr=True, quiet=quiet)

    def plan(self, *plans: Plan[Any]) -> None:
        self.err.print("\n".join(str(p) for p in plans), style="dim", highlight=False, soft_wrap=True)

    def phase(self, name: str) -> None:
        self.err.print(PHASES[name], style="bold")

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """A bar a phase, counted in videos; lines instead where standard error is no terminal."""
        if not self.err.is_terminal:
            yield self._lines()
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.err) as bars:
            tasks: dict[str, Any] = {}

            def show(phase: str, done: int, total: int) -> None:
                if phase not in tasks:
                    tasks[phase] = bars.add_task(PHASES[phase], total=total)
                bars.update(tasks[phase], completed=done, total=total)

            yield show

    def _lines(self) -> Callable[[str, int, int], None]:
        """A line whenever another tenth of a phase is done."""
        last: dict[str, int] = {}

        def show(phase: str, done: int, total: int) -> None:
            tenth = 10 * done // total if total else 10
            if last.get(phase) != tenth:
                last[phase] = tenth
                self.err.print(f"{PHASES[phase]}: {done} of {total}", highlight=False)

        return show
