"""The packs of a plan, step by step, read ahead by worker processes in the order of the plan.

A sample that cannot be read is never passed over in silence: its planned reserve takes its place, or the place stays
empty, and the step says so.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.ledger import PlanChanged
from pipeline.storage import place
from pipeline.train.example import Conversation, Example, Pack
from pipeline.train.mix import DataSet, open_sets
from pipeline.train.pictures import Unreadable
from pipeline.train.plan import Packed, micro_steps
from pipeline.train.plan_file import Plan
from pipeline.train.read_sample import SampleReader
from pipeline.train.recipe import Data
from schemas.train import PlannedSample, RejectedSample

AHEAD = 4  # packs that each worker has read before they are asked for: 18 MB each, of 40 pictures of 384 x 384


@dataclass(frozen=True, slots=True)
class StepPacksOfRank:
    """What a rank learns from at one step: as many packs as every other rank."""

    step: int
    packs: tuple[Pack, ...]
    rejected: tuple[RejectedSample, ...]


@dataclass(frozen=True, slots=True)
class Make:
    """How samples become packs."""

    example: Callable[[Conversation], Example]
    pack: Callable[[Sequence[Example]], Pack]
    dummy: Callable[[], Pack]


@dataclass(frozen=True, slots=True)
class Turn:
    """A micro-step of a rank: one pack to be read."""

    step: int
    samples: Packed  # none: a dummy
    is_last: bool  # of its step


@dataclass(frozen=True, slots=True)
class Read:
    """What was found of a pack. A worker hands over arrays of numpy: each tensor would hold a file descriptor until it
    is used, and where those run out torch drops it and waits for ever."""

    turn: Turn
    examples: tuple[Example, ...]
    rejected: tuple[RejectedSample, ...]


class Reading(Dataset[Read]):
    """Packs by their samples. Files and decoders are opened in the process that reads."""

    def __init__(self, plan: Plan, data: Data, example: Callable[[Conversation], Example]) -> None:
        self._plan, self._make = plan, example
        self._paths = {name: source.path for name, source in data.mix.items()}
        self._frames: Literal["packed", "films"] = data.frames
        self._sets: Mapping[str, DataSet] = open_sets(data)
        self._readers: dict[str, SampleReader] = {}
        self._pid = os.getpid()

    def __getitem__(self, turn: Turn) -> Read:
        rejected: list[RejectedSample] = []
        found = [self._example(sample, rejected) for sample in turn.samples]
        return Read(turn, tuple(example for example in found if example is not None), tuple(rejected))

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers = {}

    def _example(self, sample: PlannedSample, rejected: list[RejectedSample]) -> Example | None:
        """The sample's example, that of its reserve, or none."""
        why, taken = [], None
        for own in (sample, *([self._plan.reserve(sample.reserve)] if sample.reserve else [])):
            try:
                taken = self._read(own)
                break
            except Unreadable as error:
                why.append(f"{own.source}/{own.sample_id}: {error}")
        if why:
            rejected.append(
                RejectedSample(
                    source=sample.source, sample_id=sample.sample_id, step=sample.step, reason="unreadable",
                    detail="; ".join(why), reserve=sample.reserve if taken else None,
                )
            )  # fmt: skip
        return taken

    def _read(self, sample: PlannedSample) -> Example:
        """Raises Unreadable; PlanChanged where the encoder makes another length of it than the plan was made with."""
        example = self._make(self._reader(sample.source).conversation(sample))
        if len(example.token_id_S) != sample.n_tokens:
            raise PlanChanged(
                f"{sample.source}/{sample.sample_id} has {len(example.token_id_S)} tokens, the plan says "
                f"{sample.n_tokens}: tokenizer, encoder or pictures are not those of the plan; plan again"
            )
        return example

    def _reader(self, source: str) -> SampleReader:
        if self._pid != os.getpid():  # forked: open files, decoders and connections are the parent's
            self._readers, self._pid = {}, os.getpid()
        if source not in self._readers:
            here = replace(self._sets[source], folder=place(self._paths[source]))
            self._readers[source] = SampleReader(here, self._frames)
        return self._readers[source]


def steps(
    plan: Plan, data: Data, make: Make, *, rank: int, world: int, start_step: int = 0, workers: int
) -> Iterator[StepPacksOfRank]:
    """The steps from `start_step` on, the same whatever the number of workers, of which there are no more than
    processors. Leaves torch's generators alone.

    In memory are the step that is asked for and `AHEAD` packs a worker, however large a step is.
    """
    workers = min(workers, len(os.sched_getaffinity(0)))
    reading = Reading(plan, data, make.example)
    ahead: dict[str, Any] = {"prefetch_factor": AHEAD, "multiprocessing_context": "fork"} if workers else {}
    loader = DataLoader(
        reading,
        batch_size=None,
        sampler=turns(plan, rank=rank, world=world, start_step=start_step),
        num_workers=workers,
        collate_fn=_as_it_is,
        generator=torch.Generator().manual_seed(0),
        **ahead,
    )
    packs: list[Pack] = []
    rejected: list[RejectedSample] = []
    try:
        for read in loader:
            packs.append(make.pack(read.examples) if read.examples else make.dummy())
            rejected += read.rejected
            if read.turn.is_last:
                yield StepPacksOfRank(read.turn.step, tuple(packs), tuple(rejected))
                packs, rejected = [], []
    finally:
        reading.close()


def turns(plan: Plan, *, rank: int, world: int, start_step: int = 0) -> Iterator[Turn]:
    """All that a rank reads, in order; each step is dealt out when its first pack is due."""
    for step in range(start_step, plan.n_steps):
        dealt = micro_steps(plan.step(step), rank, world)
        yield from (Turn(step, samples, k == len(dealt) - 1) for k, samples in enumerate(dealt))


def _as_it_is(read: Any) -> Any:
    return read
