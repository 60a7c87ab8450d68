"""What a run leaves while it trains: lines for people and plots, tables for the data, events for TensorBoard.

    steps.jsonl, probes.jsonl     a line a step or probe, by rank 0
    sample_losses/, unreadable/   tables in parts, by every rank (losses.py); .parquet files of these names at the end
    watched_unreadable/           the same of held-out samples
    watched/step-N.parquet        what each held-out sample cost at step N: errors and differences follow from it
    tensorboard/                  the same numbers

Resuming at step k keeps steps under k, and what was watched up to k: that is of the model that was saved.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from tensorboardX import SummaryWriter

from pipeline.storage import fsync, write
from pipeline.train.losses import LOSSES, Parts
from pipeline.train.probes import SOURCE, WatchedSample
from schemas.row import Record
from schemas.train import Probe, RejectedSample, SampleLoss, StepFacts

STEPS, PROBES = "steps.jsonl", "probes.jsonl"
UNREADABLE, WATCHED_UNREADABLE = "unreadable", "watched_unreadable"
WATCHED, EVENTS = "watched", "tensorboard"
R = TypeVar("R", bound=Record)


class Journal:
    """Of one rank; all of them open it at the same step, and rank 0 first where the folder was used before."""

    def __init__(self, run: Path, *, rank: int = 0, start_step: int = 0) -> None:
        self._run, self._is_first = run, rank == 0
        self._losses = Parts(run, LOSSES, SampleLoss, rank)
        self._unreadable = Parts(run, UNREADABLE, RejectedSample, rank)
        self._watched_unreadable = Parts(run, WATCHED_UNREADABLE, RejectedSample, rank)
        if not self._is_first:
            return
        run.mkdir(parents=True, exist_ok=True)
        self._repair(start_step)
        name = f".step-{start_step:08d}"  # without it two starts within a second would write one file
        self._events = SummaryWriter(str(run / EVENTS), purge_step=start_step or None, filename_suffix=name)
        for probe in probes_of(run):  # purging takes those of this step, too
            if probe.step == start_step:
                self._probe_event(probe)

    def step(self, facts: StepFacts) -> None:
        """Of the whole step; the same on all ranks, and written by the first."""
        if not self._is_first:
            return
        self._line(STEPS, facts)
        scalars = {
            "train/loss": facts.loss, "train/lr": facts.lr, "train/grad_norm": facts.grad_norm,
            "speed/tokens_per_s": facts.tokens_per_s, "speed/mfu": facts.mfu,
            "speed/data_wait_share": facts.data_wait_s / facts.wall_s if facts.wall_s else None,
        }  # fmt: skip
        for name, value in scalars.items():
            if value is not None:
                self._events.add_scalar(name, value, facts.step)

    def losses(self, rows: Sequence[SampleLoss]) -> None:
        """Of the samples of this rank."""
        self._losses.add(rows)

    def rejected(self, rows: Sequence[RejectedSample]) -> None:
        """Samples that this rank could not read when their turn came; rejected.parquet has those of the planner.

        Held-out ones apart: at step k they are of k updates, and were told before the checkpoint at k.
        """
        self._unreadable.add(row for row in rows if row.source != SOURCE)
        self._watched_unreadable.add(row for row in rows if row.source == SOURCE)

    def watched(self, probes: Sequence[Probe], samples: Sequence[WatchedSample]) -> None:
        """The same on all ranks, and written by the first; a step that was watched before is not written again."""
        if not self._is_first or not samples or (path := _watched(self._run, samples[0].step)).exists():
            return
        for probe in probes:
            self._line(PROBES, probe)
            self._probe_event(probe)
        sink = pa.BufferOutputStream()
        pq.write_table(WatchedSample.to_arrow(list(samples)), sink)
        write(path, sink.getvalue().to_pybytes())

    def flush(self) -> None:
        """All that was told so far outlives a kill: before a checkpoint is committed, on every rank."""
        for parts in self._tables:
            parts.flush()
        if self._is_first:
            for name in (STEPS, PROBES):
                fsync(self._run / name)
            self._events.flush()

    def close(self) -> None:
        self.flush()
        if self._is_first:
            self._events.close()

    def finish(self) -> None:
        """One table of each kind; by the first rank, when all have closed theirs."""
        if self._is_first:
            for parts in self._tables:
                parts.merge()

    @property
    def _tables(self) -> tuple[Parts, ...]:
        return self._losses, self._unreadable, self._watched_unreadable

    def _line(self, name: str, row: Record) -> None:
        with (self._run / name).open("a", encoding="utf-8") as file:
            file.write(_json(row))

    def _probe_event(self, probe: Probe) -> None:
        self._events.add_scalar(f"probe_{probe.name}/{probe.family}", probe.value, probe.step)

    def _repair(self, step: int) -> None:
        """Takes back what came after the checkpoint."""
        for path in _watched(self._run, step).parent.glob("*.parquet"):
            if not step or path.name > _watched(self._run, step).name:  # at 0 another run may have left it
                path.unlink()
        steps = [facts for facts in steps_of(self._run) if facts.step < step]
        found = [probe for probe in probes_of(self._run) if _watched(self._run, probe.step).exists()]
        for name, rows in ((STEPS, steps), (PROBES, found)):
            write(self._run / name, "".join(_json(row) for row in rows).encode())
        self._losses.cut(step)
        self._unreadable.cut(step)
        self._watched_unreadable.cut(step + 1 if step else 0)  # at 0 it is watched again


def steps_of(run: Path) -> list[StepFacts]:
    return _rows(run / STEPS, StepFacts)


def probes_of(run: Path) -> list[Probe]:
    return _rows(run / PROBES, Probe)


def watched_of(run: Path) -> list[WatchedSample]:
    """All held-out samples at all steps that were watched, in order."""
    files = sorted(_watched(run, 0).parent.glob("*.parquet"))
    return [row for file in files for row in WatchedSample.from_arrow(pq.read_table(file))]


def _watched(run: Path, step: int) -> Path:
    return run / WATCHED / f"step-{step:08d}.parquet"


def _json(row: Record) -> str:
    return json.dumps(row.to_dict()) + "\n"


def _rows(path: Path, row: type[R]) -> list[R]:
    """The lines of a file; a last one without an end was being written when the run was killed."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [row(**json.loads(line)) for line in lines]
