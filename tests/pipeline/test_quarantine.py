"""A worker whose process is killed at a row is tried again; the row that kills it each time ends by name."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest

from pipeline.block import OUTCOME, SHARE, first_block
from pipeline.quarantine import TRIES, CarefulWorker, WorkerDied
from stages.base import Resources, Stage
from tests.toys import Beat, Film, Scene


class Killed(BaseException):
    """Stands for SIGKILL: no `except Exception` sees it, and what the worker held is gone."""


class Book:
    """Notes that outlive the worker."""

    worker = "worker 1"

    def __init__(self) -> None:
        self.tries: Counter[str] = Counter()

    def begin(self, what: str) -> int:
        self.tries[what] += 1
        return self.tries[what] - 1

    def end(self, what: str) -> None:
        del self.tries[what]


@dataclass(frozen=True, kw_only=True)
class Fragile(Stage[Film, Scene, int]):
    """Is killed at films of these names, and in `open` where it is told so."""

    poison: tuple[str, ...] = ()
    opens: bool = True
    resources = Resources(batch_rows=4)

    def open(self) -> int:
        if not self.opens:
            raise Killed
        return 0

    def process(self, state: int, films: Sequence[Film], /) -> list[list[Scene]]:
        if any(film.uri in self.poison for film in films):
            raise Killed
        return [[film.extend(Scene, scene=i) for i in range(2)] for film in films]


def films(*names: str) -> pa.Table:
    return first_block([Film(uri=name, n_scenes=2) for name in names], Film)


def run(stage: Fragile, block: pa.Table, book: Book, name: str = "Fragile") -> tuple[pa.Table, int]:
    """What comes out at last, and how many processes it cost; as Ray does, a new worker for each that is killed."""
    return _again(lambda: CarefulWorker(stage, name, book)(block))


def _again(work: Callable[[], pa.Table]) -> tuple[pa.Table, int]:
    for deaths in range(50):
        try:
            return work(), deaths
        except Killed:
            continue
    raise AssertionError("no end")


def outcomes(block: pa.Table) -> list[tuple[str, str, str, str]]:
    return [(o["key"], o["stage"], o["kind"], o["reason"]) for o in block[OUTCOME].to_pylist() if o]


def test_a_row_that_kills_each_time_ends_by_name_and_its_mates_go_on() -> None:
    book = Book()
    block, deaths = run(Fragile(poison=("b.mp4",)), films("a.mp4", "b.mp4", "c.mp4", "d.mp4"), book)
    assert outcomes(block) == [("b.mp4", "Fragile", "failure", "WorkerDied")]
    assert [o["detail"] for o in block[OUTCOME].to_pylist() if o] == [
        "Fragile: its process was lost 3 times at this row alone: a crash, or the out-of-memory killer"
    ]
    alive = block.filter(block[OUTCOME].is_null())
    assert sorted(Scene.from_arrow(alive), key=lambda s: s.key) == [
        Scene(uri=uri, n_scenes=2, scene=scene) for uri in ("a.mp4", "c.mp4", "d.mp4") for scene in range(2)
    ]
    assert deaths == 1 + TRIES  # once all together, then alone


def test_a_batch_of_poison_ends_whole() -> None:
    block, deaths = run(Fragile(poison=("a.mp4", "b.mp4")), films("a.mp4", "b.mp4"), Book())
    assert [key for key, *_ in outcomes(block)] == ["a.mp4", "b.mp4"]
    assert block[SHARE].to_pylist() == [1, 1]
    assert deaths == 1 + 2 * TRIES


def test_a_process_that_is_killed_once_loses_nothing() -> None:
    """The killer came from outside: the rows are as if nothing had been."""
    book, block = Book(), films("a.mp4", "b.mp4")
    with pytest.raises(Killed):
        CarefulWorker(Fragile(poison=("b.mp4",)), "Fragile", book)(block)
    after = CarefulWorker(Fragile(), "Fragile", book)(block)
    assert not outcomes(after)
    assert after.num_rows == 4
    assert not book.tries


def test_rows_that_ended_before_pass_by_a_poisoned_one() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Deadly(Stage[Scene, Beat, None]):
        def process(self, _: None, scenes: Sequence[Scene], /) -> Sequence[Beat]:
            raise Killed

    first, _ = run(Fragile(poison=("a.mp4",)), films("a.mp4", "b.mp4"), Book())
    book = Book()
    block, _ = _again(lambda: CarefulWorker(Deadly(), "Deadly", book)(first))
    assert sorted(outcomes(block)) == [
        ("a.mp4", "Fragile", "failure", "WorkerDied"),
        ("b.mp4@0", "Deadly", "failure", "WorkerDied"),
        ("b.mp4@1", "Deadly", "failure", "WorkerDied"),
    ]


def test_a_worker_that_is_killed_while_it_opens_ends_the_run() -> None:
    with pytest.raises(WorkerDied, match="Fragile: its process was lost 3 times while it opened the stage"):
        run(Fragile(opens=False), films("a.mp4"), Book())
