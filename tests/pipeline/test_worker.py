"""One stage on one block: retry, contracts, fatal errors, credit."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pytest

from pipeline.block import OUTCOME, SHARE, SPENT, SchemaError, first_block
from pipeline.worker import StageError, Worker
from schemas.outcome import Outcome, Reason, Skip
from stages.base import Resources, Stage
from tests.toys import Beat, CutBeats, CutScenes, EngineDead, Film, RateBeats, RatedBeat, Scene


@dataclass(frozen=True, kw_only=True)
class Misbehave(Stage[Film, Scene, None]):
    """Answers any batch with `answer`, or raises it."""

    answer: Any
    resources = Resources(batch_rows=2)

    def process(self, _: None, films: Sequence[Film], /) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


FILM = Film(uri="a.mp4", n_scenes=2)
SCENE = FILM.extend(Scene, scene=0)
BLOCK = first_block([FILM], Film)


def run(answer: Any, block: pa.Table = BLOCK) -> pa.Table:
    return Worker(Misbehave(answer=answer), "Misbehave")(block)


def beats(*scenes: int) -> pa.Table:
    rows = [Beat(uri=f"{i}.mp4", n_scenes=9, scene=scene, beat=0) for i, scene in enumerate(scenes)]
    return first_block(rows, Beat)


@dataclass(frozen=True, kw_only=True)
class Count(Stage[Film, RatedBeat, None]):
    """Adds up what its rows hold."""

    answer: Sequence[Any]
    counts = ("n_scenes", "worker_pid")

    def process(self, _: None, films: Sequence[Film], /) -> Sequence[Any]:
        return self.answer


def rated(pid: int | None) -> RatedBeat:
    return SCENE.extend(Beat, beat=0).extend(RatedBeat, rating=0.0, worker_pid=pid)


@pytest.mark.parametrize(
    ("pids", "counted"),
    [
        ([3, None, 4], {"n_scenes": 6, "worker_pid": 7}),
        ([None], {"n_scenes": 2}),  # not counted is not 0
        ([0], {"n_scenes": 2, "worker_pid": 0}),
        ([], {}),
    ],
)
def test_what_a_stage_counts_is_added_up_once_a_row(pids: list[int | None], counted: dict[str, int]) -> None:
    answer = [[*map(rated, pids), Skip(Reason.NO_SUBJECT)]]
    block = Worker(Count(answer=answer), "Count")(BLOCK)
    found = [c for entries in block[SPENT].to_pylist() for entry in entries for c in entry["counted"]]
    assert {c["name"]: c["n"] for c in found} == counted
    assert len(found) == len(counted)


def test_a_batch_that_raises_is_retried_row_by_row():
    block = Worker(RateBeats(), "RateBeats")(beats(0, 1, 2, 3))
    gone = [(o["key"], o["kind"], o["reason"], o["detail"]) for o in block[OUTCOME].to_pylist() if o]
    assert gone == [("1.mp4@1.0", "failure", "ValueError", "bad logits")]
    alive = block.filter(block[OUTCOME].is_null())
    assert sorted(row.scene for row in RatedBeat.from_arrow(alive)) == [0, 2, 3]


def test_a_fatal_error_ends_the_worker_and_not_the_row():
    block = first_block([Beat(uri="dead.mp4", n_scenes=1, scene=0, beat=0)], Beat)
    with pytest.raises(EngineDead, match="no engine"):
        Worker(RateBeats(), "RateBeats")(block)


def test_a_full_disk_ends_the_run_and_not_the_row():
    with pytest.raises(OSError, match="full"):
        run(OSError(errno.ENOSPC, "disk full"))


def test_memory_that_one_row_alone_exhausts_is_its_failure():
    (outcome,) = run(MemoryError("9 TB"))[OUTCOME].to_pylist()
    assert (outcome["kind"], outcome["reason"], outcome["detail"]) == ("failure", "MemoryError", "9 TB")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_an_interrupt_passes(error: BaseException):
    with pytest.raises(type(error)):
        run(error)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], "Misbehave.process gave 0 for 1 rows"),
        ([SCENE, SCENE], "Misbehave.process gave 2 for 1 rows"),
        (None, "Misbehave.process gave a NoneType for 1 rows"),
        (["scene"], "Misbehave gave a str for a.mp4: Scene or Skip"),
        ([FILM], "Misbehave gave a Film for a.mp4"),
        ([SCENE.extend(Beat, beat=1)], "gave a Beat"),  # its columns would be lost
        ([[SCENE, None]], "gave a NoneType for a.mp4#1"),
        ([replace(SCENE, uri="other.mp4")], "changed the source of a.mp4: a.mp4 -> other.mp4"),
    ],
)
def test_a_broken_contract_is_an_error_that_names_the_stage(answer: Any, message: str):
    with pytest.raises(StageError, match=message):
        run(answer)


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (replace(SCENE, scene=None), "Misbehave wrote a Scene with a null in scene"),  # type: ignore[arg-type]
        (replace(SCENE, scene="3"), "Misbehave wrote a Scene that does not fit its schema"),  # type: ignore[arg-type]
    ],
)
def test_a_row_that_breaks_its_schema_is_an_error_that_names_the_stage(scene: Scene, message: str):
    with pytest.raises(SchemaError, match=message):
        run([scene])


def test_a_missing_column_is_an_error():
    with pytest.raises(ValueError, match="Film: columns missing: n_scenes"):
        run([SCENE], BLOCK.drop_columns(["n_scenes"]))


def test_a_null_in_a_required_column_is_an_error():
    nulls = pa.nulls(1, pa.int64())
    with pytest.raises(ValueError, match=r"null"):
        run([SCENE], BLOCK.set_column(1, "n_scenes", nulls))


def test_a_block_from_elsewhere_is_an_error():
    with pytest.raises(SchemaError, match="lacks the columns _outcome, _share"):
        run([SCENE], Film.to_arrow([FILM]))


def test_an_empty_list_is_a_failure_with_all_the_credit():
    block = run([[]])
    (outcome,) = block[OUTCOME].to_pylist()
    assert (outcome["kind"], outcome["reason"]) == ("failure", "TypeError")
    assert "empty list" in outcome["detail"]
    assert block[SHARE].to_pylist() == [1]


def test_children_share_the_credit_and_a_skip_in_the_list_takes_its_part():
    block = run([[SCENE, Skip(Reason.NO_SUBJECT, "empty"), SCENE]])
    assert block[SHARE].to_pylist() == [3, 3, 3]
    (outcome,) = [o for o in block[OUTCOME].to_pylist() if o]
    stage, kind = "Misbehave", "skip"
    said = Outcome(key="a.mp4#1", uri="a.mp4", stage=stage, kind=kind, reason="no_subject", detail="empty")
    assert outcome == said.to_dict()


def test_an_ended_row_passes_by_with_its_times():
    first = run([Skip(Reason.TOO_SHORT)])
    second = Worker(CutBeats(), "CutBeats")(first)
    assert second[OUTCOME].to_pylist() == first[OUTCOME].to_pylist()
    assert [s["stage"] for s in second[SPENT].to_pylist()[0]] == ["Misbehave"]
    assert second["beat"].to_pylist() == [None]


def test_the_first_child_carries_the_times():
    spent = Worker(CutBeats(), "CutBeats")(Worker(CutScenes(), "CutScenes")(BLOCK))[SPENT].to_pylist()
    names = sorted(s["stage"] for entries in spent for s in entries)
    assert names == ["CutBeats", "CutBeats", "CutScenes"]
    assert all(s["seconds"] > 0 for entries in spent for s in entries)
