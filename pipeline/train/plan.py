"""Which samples share a step and a pack, from their lengths and the seed alone; pure numbers, no file.

A step is exactly `batch.samples` samples, drawn in one order over the whole run; inside it they are packed, longest
first, each into the fullest pack that still takes it. No number of ranks is known here: `micro_steps` deals the packs
of a step out to ranks when they are read.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.train.lengths import Measured
from pipeline.train.recipe import Batch
from schemas.train import PlannedSample
from stages.algorithms.draws import stable_hash

SQUARE_TOKENS = 60_000  # a sample of L tokens costs L + L * L / this: from here on attention costs more than the rest
Packed = tuple[PlannedSample, ...]


class TooFewSamples(ValueError):
    """The samples do not fill one step."""


def make_plan(measured: Sequence[Measured], batch: Batch, seed: int) -> list[PlannedSample]:
    """Every sample in a place, by step, pack and place; then those that fill no step, as reserves.

    Raises TooFewSamples. The order of `measured` does not matter.
    """
    order = _drawn(measured, seed)
    n = len(order) // batch.samples * batch.samples
    if not n:
        raise TooFewSamples(f"{len(order)} samples fill no step of {batch.samples}: lower batch.samples or take more")
    reserves = Reserves(order[n:])
    planned: list[PlannedSample] = []
    for step, members in enumerate(_steps(order[:n], batch)):
        dealt = reserves.deal(members, f"{seed}/reserve")
        for pack, own in enumerate(_packs(members, batch)):
            planned += [_planned(m, step, pack, k, dealt.get(_key(m))) for k, m in enumerate(own)]
    return planned + [_planned(m, None, None, None, None) for m in order[n:]]


def micro_steps(step: Sequence[PlannedSample], rank: int, world: int) -> list[Packed]:
    """The packs of a rank, in turn: as many on every rank, empty ones (dummies) among them.

    Ranks wait for each other at each micro-step, so packs of like cost share one: the longest go first, and of those in
    turn the longest goes to the rank that has had the least.
    """
    packs: dict[int, list[PlannedSample]] = {}
    for sample in step:
        packs.setdefault(sample.pack or 0, []).append(sample)
    dear_first = sorted(packs.values(), key=lambda own: (-cost(own), own[0].pack or 0))
    loads, mine = [0.0] * world, []
    for first in range(0, len(dear_first), world):
        by_load = sorted(range(world), key=lambda r: (loads[r], r))
        dealt = dict(zip(by_load, dear_first[first : first + world], strict=False))
        for r, own in dealt.items():
            loads[r] += cost(own)
        mine.append(tuple(dealt.get(rank, ())))
    return mine


def cost(samples: Sequence[PlannedSample]) -> float:
    """Of a pack's pass, in tokens: samples do not attend to each other."""
    return sum(s.n_tokens + s.n_tokens**2 / SQUARE_TOKENS for s in samples)


class Reserves:
    """Samples that have no place, to take that of another one which cannot be read."""

    def __init__(self, tail: Sequence[Measured]) -> None:
        by_name = {_name(m): m for m in sorted(tail, key=_key)}  # of a sample's epochs one
        self._tail = sorted(by_name.values(), key=lambda m: (m.length.n_tokens, _key(m)))

    def deal(self, step: Sequence[Measured], key: str) -> dict[str, str]:
        """The reserves of a step's samples, by the samples' keys: each in one place at most, and no place without one
        that a reserve left over would fit.

        Places come in drawn order, so that where reserves run out no kind of sample goes without.
        """
        dealt: dict[str, str] = {}
        left = list(self._tail)
        drawn = [(stable_hash(f"{key}/{_key(m)}"), m) for m in step]
        for number, m in sorted(drawn, key=lambda pair: pair[0]):
            k = _fitting(left, m, number)
            if k is not None:
                dealt[_key(m)] = _name(left.pop(k))
        return dealt


def _fitting(left: Sequence[Measured], place: Measured, drawn: int) -> int | None:
    """Which of those, ascending in tokens, takes the place: it is no longer and has no more pictures.

    It is of another clip: what spoils one sample of a clip spoils all.
    """
    n = bisect_right(left, place.length.n_tokens, key=lambda m: m.length.n_tokens)
    for k in ((drawn + i) % n for i in range(n)):
        if _clip(left[k]) != _clip(place) and left[k].length.n_tiles <= place.length.n_tiles:
            return k
    return None


def reserve_name(source: str, sample_id: str) -> str:
    return f"{source}/{sample_id}"


def _name(m: Measured) -> str:
    return reserve_name(m.candidate.source, m.candidate.sample_id)


def _key(m: Measured) -> str:
    return f"{m.candidate.source}/{m.candidate.sample_id}/{m.candidate.epoch}"


def _clip(m: Measured) -> tuple[str, str]:
    return m.candidate.source, m.candidate.clip_id


def _drawn(measured: Sequence[Measured], seed: int) -> list[Measured]:
    """The order of the run: a source's epochs take equal parts of it, one behind the other, so that a sample comes
    again when all have come; sources are mixed evenly over the whole of it."""
    n_epochs: Counter[str] = Counter()
    for m in measured:
        n_epochs[m.candidate.source] = max(n_epochs[m.candidate.source], m.candidate.epoch + 1)

    def position(m: Measured) -> tuple[float, str]:
        drawn = stable_hash(f"{seed}/order/{_key(m)}") / 2**64
        return (m.candidate.epoch + drawn) / n_epochs[m.candidate.source], _key(m)

    return sorted(measured, key=position)


def _steps(order: Sequence[Measured], batch: Batch) -> Iterator[Sequence[Measured]]:
    """Members of each step. "length" gathers samples with pictures and samples without in steps of their own, as LLaVA
    does; what is left over of both shares the last of them."""
    if batch.order == "length":
        seen = [m for m in order if m.length.n_tiles]
        unseen = [m for m in order if not m.length.n_tiles]
        whole = [own[: len(own) // batch.samples * batch.samples] for own in (seen, unseen)]
        rest = [m for own, kept in zip((seen, unseen), whole, strict=True) for m in own[len(kept) :]]
        place = {id(m): k for k, m in enumerate(order)}
        steps = [own[k : k + batch.samples] for own in (*whole, rest) for k in range(0, len(own), batch.samples)]
        yield from sorted(steps, key=lambda members: min(place[id(m)] for m in members))
        return
    for k in range(0, len(order), batch.samples):
        yield order[k : k + batch.samples]


def _packs(members: Sequence[Measured], batch: Batch) -> list[list[Measured]]:
    """The packs of a step. Best fit, decreasing: each sample goes where it leaves the least room."""
    if batch.order != "packed":
        return [[m] for m in members]
    packs: list[list[Measured]] = []
    tiles_left: list[int] = []
    open_packs: list[tuple[int, int]] = []  # (tokens left, pack), ascending
    for m in sorted(members, key=lambda m: (-m.length.n_tokens, -m.length.n_tiles, _key(m))):
        at = bisect_left(open_packs, (m.length.n_tokens, -1))
        while at < len(open_packs) and tiles_left[open_packs[at][1]] < m.length.n_tiles:
            at += 1
        if at == len(open_packs):
            packs.append([])
            tiles_left.append(batch.micro_tiles)
            tokens, pack = batch.micro_tokens, len(packs) - 1
        else:
            tokens, pack = open_packs.pop(at)
        packs[pack].append(m)
        tiles_left[pack] -= m.length.n_tiles
        if tokens > m.length.n_tokens:
            insort(open_packs, (tokens - m.length.n_tokens, pack))
    return packs


def _planned(m: Measured, step: int | None, pack: int | None, place: int | None, reserve: str | None) -> PlannedSample:
    c, length = m.candidate, m.length
    return PlannedSample(
        step=step,
        pack=pack,
        place=place,
        source=c.source,
        sample_id=c.sample_id,
        clip_id=c.clip_id,
        shard=c.shard,
        row=c.row,
        epoch=c.epoch,
        n_frames=m.n_frames,
        n_tokens=length.n_tokens,
        n_visual=length.n_visual,
        n_labels=length.n_labels,
        n_tiles=length.n_tiles,
        reserve=reserve,
    )
