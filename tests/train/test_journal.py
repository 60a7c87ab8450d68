"""What a run tells is there once, after kills and resumes and on any number of ranks, and joins back to the data."""

import multiprocessing
import signal
import struct
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-not-found]

from pipeline.publish import publish
from pipeline.train.journal import Journal, probes_of, steps_of, watched_of
from pipeline.train.losses import LOSSES, Parts, joined
from pipeline.train.probes import SOURCE
from schemas.train import RejectedSample, SampleLoss
from tests.publish.builders import facts as run_facts
from tests.publish.builders import make_video
from tests.train.run_world import FAMILIES, facts, killed, losses, tell, unreadable, watched


def ended(run: Path, end: int, *, start: int = 0) -> Path:
    journal = Journal(run, start_step=start)
    tell(journal, start, end)
    journal.close()
    journal.finish()
    return run


def events(run: Path) -> list[Event]:
    """Of all files, in the order in which TensorBoard reads them."""
    found = []
    for path in sorted((run / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def scalars(run: Path) -> dict[tuple[str, int], list[float]]:
    """As TensorBoard shows them: a start takes back what was told of its step and of later ones."""
    found: dict[tuple[str, int], list[float]] = {}
    for event in events(run):
        if event.HasField("session_log"):
            found = {key: values for key, values in found.items() if key[1] < event.step}
        for value in event.summary.value:
            found.setdefault((value.tag, event.step), []).append(value.simple_value)
    return found


def check(run: Path, end: int) -> None:
    """Everything of steps 0 to `end`, once."""
    assert steps_of(run) == [facts(step) for step in range(end)]
    steps = list(range(0, end + 1, 5))
    assert watched_of(run) == [sample for step in steps for sample in watched(step)]
    keys = [(p.step, p.name, p.family) for p in probes_of(run)]
    assert sorted(set(keys)) == sorted(keys)
    assert sorted({step for step, *_ in keys}) == steps
    table = pq.read_table(run / "sample_losses.parquet")
    assert table.schema.equals(SampleLoss.schema())
    assert SampleLoss.from_arrow(table) == [loss for step in range(end) for loss in losses(step, 0, 1)]
    bad = RejectedSample.from_arrow(pq.read_table(run / "unreadable.parquet"))
    assert [(r.sample_id, r.step) for r in bad] == [("bad0", 3)]
    assert not [path for path in run.iterdir() if path.name in ("sample_losses", "unreadable", "watched_unreadable")]


def test_a_run_is_there_in_lines_and_tables(tmp_path: Path):
    check(ended(tmp_path / "run", 10), 10)


def test_tensorboard_has_the_same_numbers(tmp_path: Path):
    found = scalars(ended(tmp_path / "run", 10))
    assert found["train/loss", 7] == [pytest.approx(facts(7).loss)]
    assert found["speed/data_wait_share", 7] == [pytest.approx(0.05)]
    tpl = next(p for p in probes_of(tmp_path / "run") if (p.step, p.name, p.family) == (5, "tpl", "when"))
    assert found["probe_tpl/when", 5] == [pytest.approx(tpl.value)]
    assert not [tag for tag, _ in found if tag == "speed/mfu"]  # the peak is unknown


@pytest.mark.parametrize("resumed", [5, 10], ids=["the checkpoint before the last flush", "the last one"])
def test_a_killed_run_that_is_resumed_has_everything_once(tmp_path: Path, resumed: int):
    """The files were flushed for the checkpoint at 10; whether that was committed, they do not know."""
    run = tmp_path / "run"
    child = multiprocessing.get_context("spawn").Process(target=killed, args=(run, 0, 12))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(steps_of(run)) == 12
    check(ended(run, 17, start=resumed), 17)
    found = scalars(run)
    assert {step for tag, step in found if tag == "train/loss"} == set(range(17))
    assert {step for tag, step in found if tag == "probe_tpl/all"} == {0, 5, 10, 15}
    assert {len(values) for values in found.values()} == {1}


def test_a_run_that_had_ended_goes_on(tmp_path: Path):
    ended(tmp_path, 10)
    check(ended(tmp_path, 20, start=10), 20)


def test_a_run_begun_again_keeps_nothing_of_the_one_before(tmp_path: Path):
    ended(tmp_path, 10)
    journal = Journal(tmp_path)
    assert not steps_of(tmp_path)
    assert not probes_of(tmp_path)
    assert not watched_of(tmp_path)
    journal.close()
    journal.finish()
    assert pl.read_parquet(tmp_path / "sample_losses.parquet").is_empty()


def test_ranks_write_their_parts_and_may_be_fewer_after_a_resume(tmp_path: Path):
    for rank in (0, 1):
        journal = Journal(tmp_path, rank=rank)
        tell(journal, 0, 8, rank=rank, world=2)
        journal.close()
    alone = Journal(tmp_path, start_step=5)  # the two ended at step 8 without a checkpoint
    tell(alone, 5, 10)
    alone.close()
    alone.finish()
    found = SampleLoss.from_arrow(pq.read_table(tmp_path / "sample_losses.parquet"))
    assert found == [loss for step in range(10) for loss in losses(step, 0, 1)]
    assert steps_of(tmp_path) == [facts(step) for step in range(10)]
    assert pl.read_parquet(tmp_path / "unreadable.parquet")["sample_id"].to_list() == ["bad0", "bad1"]


@pytest.mark.parametrize("left", [0, 1, 2], ids=["no part removed", "one removed", "all removed"])
def test_a_kill_while_tables_are_merged_loses_and_doubles_nothing(tmp_path: Path, left: int):
    """The table is written whole, then its parts are removed."""
    parts = Parts(tmp_path, LOSSES, SampleLoss, 0)
    for step in range(2):
        parts.add(losses(step, 0, 1))
        parts.flush()
    held = {path: path.read_bytes() for path in (tmp_path / LOSSES).iterdir()}
    parts.merge()
    (tmp_path / LOSSES).mkdir()
    for path in sorted(held)[left:]:
        path.write_bytes(held[path])
    everything = [loss for step in range(2) for loss in losses(step, 0, 1)]
    assert parts.read().height == len(everything)
    again = Parts(tmp_path, LOSSES, SampleLoss, 0)
    again.cut(2)
    assert not again.table.exists()
    again.add(losses(2, 0, 1))
    again.flush()
    again.merge()
    assert SampleLoss.from_arrow(pq.read_table(again.table)) == [*everything, *losses(2, 0, 1)]


def rejected(run: Path, name: str) -> list[tuple[str, int]]:
    return pl.read_parquet(run / f"{name}.parquet").sort("step").select("sample_id", "step").rows()


def test_held_out_samples_that_cannot_be_read_are_kept_apart_from_the_steps(tmp_path: Path):
    """After five updates, and in the step after them: both are told of step 5."""
    journal = Journal(tmp_path)
    for step in (0, 5, 10):
        journal.rejected([replace(unreadable(step, 0), source=SOURCE, sample_id="w")])
        journal.flush()
        journal.rejected([unreadable(step, 0)])
        journal.flush()
    again = Journal(tmp_path, start_step=5)
    again.rejected([unreadable(5, 1)])
    again.close()
    again.finish()
    assert rejected(tmp_path, "unreadable") == [("bad0", 0), ("bad1", 5)]
    assert rejected(tmp_path, "watched_unreadable") == [("w", 0), ("w", 5)]
    anew = Journal(tmp_path)  # watched again at 0
    anew.close()
    anew.finish()
    assert rejected(tmp_path, "watched_unreadable") == []


def test_losses_stand_beside_the_columns_of_their_samples(tmp_path: Path):
    publish(tmp_path / "set", [make_video("v1")], run_facts())
    data = pl.read_parquet(tmp_path / "set" / "data" / "*.parquet")
    rows = [
        SampleLoss(step=k // 2, source="demo", sample_id=sample_id, family=family, n_labels=10, nll=float(k))
        for k, (sample_id, family) in enumerate(data.select("sample_id", "family").rows())
    ]
    journal = Journal(tmp_path / "run")
    journal.losses([*rows, SampleLoss(step=9, source="other", sample_id="x", family="given", n_labels=1, nll=1.0)])
    journal.close()
    journal.finish()
    found = joined(tmp_path / "run", {"demo": tmp_path / "set"})
    assert found.height == len(rows) + 1
    assert dict(found.drop_nulls("uri").select("sample_id", "nll").rows()) == {r.sample_id: r.nll for r in rows}
    assert found.filter(pl.col("source") == "demo")["tpl"].to_list() == data["tpl"].to_list()
    assert found.filter(pl.col("source") == "other")["uri"].to_list() == [None]
    by_tpl = found.drop_nulls("tpl").group_by("verdict").agg(pl.col("nll").sum() / pl.col("n_labels").sum())
    assert by_tpl.height
    assert set(FAMILIES) & set(found["family"])
