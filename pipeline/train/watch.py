"""TPL, accuracy and frame use on held-out samples while training, the same on any number of ranks.

Each sample is read whole by one rank; under ZeRO-3 a forward gathers weights from all, so every rank runs as many:
one that has nothing left runs dummies. A sample's readings share no pack with another's, so its numbers do not depend
on who else there is; ranks then fill one table, in which each number is one rank's, and sum it.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from pipeline.train.choices import choice
from pipeline.train.example import NO_LABEL, Pack
from pipeline.train.pictures import Unreadable
from pipeline.train.probes import SOURCE, WatchedSample, probes, watched
from pipeline.train.read_sample import BadTurns
from pipeline.train.watch_reads import Job, Reads
from schemas.sample import PublishedSample
from schemas.train import Probe, RejectedSample
from stages.algorithms.tpl import VIDEO
from stages.models.protocols import NotSeparable, TooLong

REASONS = {
    Unreadable: "unreadable", BadTurns: "bad_turns", TooLong: "too_long", NotSeparable: "not_separable",
}  # fmt: skip
NUMBERS = [f.name for f in fields(WatchedSample)][4:]  # of a sample, as columns of the table that ranks fill
Forward = Callable[[Pack], torch.Tensor]  # nats of each labelled token, in order of the pack
Nats = dict[tuple[str, int], tuple[float, int]]  # and labels, by name and number of a reading


@dataclass(frozen=True, slots=True)
class Watched:
    probes: list[Probe]
    samples: list[WatchedSample]
    rejected: list[RejectedSample]  # by this rank, which could not read them


class Watch:
    """The same samples at every step, dealt out over the ranks."""

    def __init__(self, samples: Sequence[PublishedSample], reads: Reads, *, rank: int = 0, world: int = 1) -> None:
        self.samples = tuple(samples)
        self._reads, self._rank, self._world = reads, rank, world

    def __call__(self, step: int, forward: Forward, module: nn.Module) -> Watched:
        """All probes after `step` updates. A collective: every rank calls it, and gets the same probes and samples."""
        rejected: dict[int, RejectedSample] = {}
        found: dict[int, Nats] = {}
        with undisturbed(module):
            jobs = self._jobs(step, rejected)
            while True:
                job = next(jobs, None)
                if not _total(np.array([job is not None], np.float64))[0]:
                    break
                nll_N = forward(job.pack if job else self._reads.collate.dummy())
                if job:
                    found.setdefault(job.row, {}).update(_by_reading(job, nll_N))
        own = {row: self._facts(step, row, found[row]) for row in found.keys() - rejected.keys()}
        samples = self._shared(step, own)
        return Watched(probes(step, samples), samples, list(rejected.values()))

    def _jobs(self, step: int, rejected: dict[int, RejectedSample]) -> Iterator[Job]:
        """The forwards of this rank; a sample that cannot be read to the end is entered in `rejected`."""
        for row in range(self._rank, len(self.samples), self._world):
            sample = self.samples[row]
            try:
                yield from self._reads.jobs(row, sample)
            except tuple(REASONS) as error:
                (reason,) = [name for kind, name in REASONS.items() if isinstance(error, kind)]
                rejected[row] = RejectedSample(
                    source=SOURCE, sample_id=sample.sample_id, step=step, reason=reason, detail=str(error), reserve=None
                )

    def _facts(self, step: int, row: int, read: Nats) -> WatchedSample:
        sample = self.samples[row]
        return watched(
            step, sample.sample_id, sample.clip_id, sample.family, choice(sample),
            read[VIDEO, 0][1], {key: nll for key, (nll, _) in read.items()},
        )  # fmt: skip

    def _shared(self, step: int, own: dict[int, WatchedSample]) -> list[WatchedSample]:
        """The samples of all ranks; exact, as nobody else has a number for a sample."""
        table, known = (np.zeros((len(self.samples), len(NUMBERS))) for _ in range(2))
        for row, facts in own.items():
            numbers = [getattr(facts, name) for name in NUMBERS]
            table[row], known[row] = [v or 0.0 for v in numbers], [v is not None for v in numbers]
        shared = []
        for sample, values, is_known in zip(self.samples, _total(table), _total(known) > 0, strict=True):
            if is_known.any():
                n_labels, *others = (float(v) if k else None for v, k in zip(values, is_known, strict=True))
                facts = dict(zip(NUMBERS[1:], others, strict=True))
                about = {"sample_id": sample.sample_id, "clip_id": sample.clip_id, "family": sample.family}
                shared.append(WatchedSample(step=step, n_labels=int(n_labels or 0), **about, **facts))  # type: ignore[arg-type]
        return shared


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Evaluation without gradients; afterwards each module's mode and all random states are as they were."""
    modes = [(part, part.training) for part in module.modules()]
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state(cuda)


def _by_reading(job: Job, nll_N: torch.Tensor) -> Nats:
    """Nats and labels of each reading of a pack."""
    segment_N = job.pack.segment_S[job.pack.label_S != NO_LABEL].cpu()
    sums = torch.zeros(len(job.readings), dtype=torch.float64).index_add_(0, segment_N, nll_N.double().cpu())
    counts = torch.bincount(segment_N, minlength=len(job.readings))
    pairs = zip(job.readings, sums.tolist(), counts.tolist(), strict=True)
    return {(reading.name, reading.number): (nll, n) for reading, nll, n in pairs}


def _total(values: np.ndarray) -> np.ndarray:
    """The sum over all ranks, in float64."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return values
    summed = torch.from_numpy(values).to("cuda" if "nccl" in dist.get_backend() else "cpu")
    dist.all_reduce(summed)
    return summed.cpu().numpy()
