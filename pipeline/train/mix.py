"""The samples of a mix: where each lies, and which of a set are taken. Numbers and ids only, no message is kept."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from pipeline.publish import read_manifest
from pipeline.sources import SourceError
from pipeline.storage import Place, place, store_errors
from pipeline.train.recipe import Data
from pipeline.train.row_groups import open_parquet
from schemas.manifest import Manifest
from stages.algorithms.draws import stable_hash

TRAIN = "train"  # the split that is trained on: a video of "validation" never is


@dataclass(frozen=True, slots=True)
class DataSet:
    """A sealed set of the mix."""

    name: str
    folder: Place
    manifest: Manifest

    def shards(self, table: str) -> list[str]:
        return [shard.path for shard in self.manifest.shards if shard.table == table]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sample that the mix asks for."""

    source: str
    sample_id: str
    clip_id: str
    shard: str
    row: int
    epoch: int  # of its source


def open_sets(data: Data) -> dict[str, DataSet]:
    """The sets of a mix by name; raises SourceError where a folder is none."""
    found = {}
    for name, source in data.mix.items():
        folder = place(source.path)
        try:
            found[name] = DataSet(name, folder, read_manifest(folder))
        except (ValueError, *store_errors()) as error:
            raise SourceError(f"data.mix.{name}: {error}") from error
    return found


def candidates(data: Data, seed: int) -> list[Candidate]:
    """Every sample of the mix, once an epoch of its source; raises SourceError where a set has none to train on."""
    found: list[Candidate] = []
    for name, data_set in open_sets(data).items():
        source = data.mix[name]
        known = _training_rows(data_set)
        chosen = taken([f"{seed}/mix/{name}/{c.sample_id}" for c in known], source.sampling)
        if not chosen:
            raise SourceError(f"data.mix.{name}: {data_set.folder} has no sample of the training split to take")
        for epoch in range(source.epochs):
            found += [known[k] if epoch == 0 else _again(known[k], epoch) for k in chosen]
    return found


def taken(keys: Sequence[str], sampling: str) -> list[int]:
    """Which of these are taken, in their order; "random" goes by the hash of the keys.

    >>> taken("abcde", "first:50%"), taken("abcde", "end:1"), taken("abcde", "all")
    ([0, 1, 2], [4], [0, 1, 2, 3, 4])
    """
    n = len(keys)
    how, _, amount = sampling.partition(":")
    if how == "all":
        return list(range(n))
    wanted = ceil(n * int(amount[:-1]) / 100) if amount.endswith("%") else int(amount)
    wanted = min(wanted, n)
    if how == "first":
        return list(range(wanted))
    if how == "end":
        return list(range(n - wanted, n))
    return sorted(heapq.nsmallest(wanted, range(n), key=lambda k: (stable_hash(keys[k]), k)))


def _training_rows(data_set: DataSet) -> list[Candidate]:
    """Samples of the training split in the order of the shards; raises SourceError where an id stands twice."""
    found: list[Candidate] = []
    for shard in data_set.shards("data"):
        try:
            table = open_parquet(data_set.folder / shard).read(["sample_id", "clip_id", "split"])
        except store_errors() as error:
            raise SourceError(f"{data_set.folder / shard} cannot be read: {error}; run utr verify") from error
        columns = (table[name].to_pylist() for name in ("sample_id", "clip_id", "split"))
        found += [
            Candidate(data_set.name, sample_id, clip_id, shard, row, 0)
            for row, (sample_id, clip_id, split) in enumerate(zip(*columns, strict=True))
            if split == TRAIN
        ]
    seen: set[str] = set()
    for candidate in found:
        if candidate.sample_id in seen:
            raise SourceError(f"{data_set.folder}: {candidate.sample_id} stands in data/ twice; run utr verify")
        seen.add(candidate.sample_id)
    return found


def _again(known: Candidate, epoch: int) -> Candidate:
    return Candidate(known.source, known.sample_id, known.clip_id, known.shard, known.row, epoch)
