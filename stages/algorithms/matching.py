"""The best of a pool, and two controls that differ from them in nothing but the score.

Candidates fall into strata: group, type, and length bin. In each stratum the same number is taken three times: the
highest values (top), a seeded draw (random), the lowest values (low). So the three sets have equal sizes and equal
numbers in every stratum by construction; no set is trimmed or topped up afterwards.

A group's share is dealt out to its strata by largest remainder. Up to a share of one half, no stratum gives more than
half of its candidates, so top and low are disjoint: what small strata cannot give, larger ones of the group do, and
what no stratum has left is `short`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from stages.algorithms.draws import draws, stable_hash


@dataclass(frozen=True, slots=True)
class Candidate:
    key: str
    group: str  # the share is of each group
    kind: str
    n_tokens: int
    value: float

    @property
    def stratum(self) -> tuple[str, str, int]:
        return self.group, self.kind, length_bin(self.n_tokens)


@dataclass(frozen=True, slots=True)
class Stratum:
    """A line of the account."""

    group: str
    kind: str
    length: int
    pool: int
    taken: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Keys of the three sets, and the account of how they came about."""

    top: tuple[str, ...]
    random: tuple[str, ...]
    low: tuple[str, ...]
    asked: int  # the share of each group, rounded down
    strata: tuple[Stratum, ...]

    @property
    def short(self) -> int:
        """Asked for and not taken: no stratum of the group had a pair left."""
        return self.asked - len(self.top)

    def shared(self, control: Sequence[str]) -> int:
        """How many of a control are in the top set as well."""
        return len(set(self.top) & set(control))


def length_bin(n_tokens: int) -> int:
    """0: one token; k: more than 2^(k-1), at most 2^k."""
    if n_tokens < 1:
        raise ValueError(f"{n_tokens} tokens is no length of an answer")
    return (n_tokens - 1).bit_length()


def bin_name(length: int) -> str:
    """ "17-32" of bin 5."""
    return str(2**length) if length < 2 else f"{2 ** (length - 1) + 1}-{2**length}"


def choose(candidates: Sequence[Candidate], share: float, *, seed: int) -> Choice:
    """The three sets, each in the order of the candidates' keys."""
    if not 0 < share <= 1:
        raise ValueError(f"a share of {share:g} is none: 0 < share <= 1")
    groups: defaultdict[str, defaultdict[tuple[str, str, int], list[Candidate]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for candidate in candidates:
        groups[candidate.group][candidate.stratum].append(candidate)
    top: list[str] = []
    random: list[str] = []
    low: list[str] = []
    account: list[Stratum] = []
    asked = 0
    for _, strata in sorted(groups.items()):
        names = sorted(strata)
        sizes = [len(strata[name]) for name in names]
        asked += _rounded_down(share * sum(sizes))
        for name, size, taken in zip(names, sizes, quotas(sizes, share), strict=True):
            ranked = [c.key for c in sorted(strata[name], key=lambda c: (-c.value, _tie(c.key, seed), c.key))]
            drawn = draws(seed, f"random/{name}").permutation(size)[:taken]
            members = sorted(ranked)
            top += ranked[:taken]
            low += ranked[size - taken :]
            random += [members[i] for i in drawn]
            account.append(Stratum(*name, pool=size, taken=taken))
    return Choice(tuple(sorted(top)), tuple(sorted(random)), tuple(sorted(low)), asked, tuple(account))


def quotas(sizes: Sequence[int], share: float) -> list[int]:
    """How many of each stratum: together the share of all, rounded down, or all that the strata may give.

    One more at a time goes to those that are furthest below their share.
    """
    most = [size // 2 if share <= 0.5 else size for size in sizes]
    taken = [min(_rounded_down(share * size), limit) for size, limit in zip(sizes, most, strict=True)]
    left = _rounded_down(share * sum(sizes)) - sum(taken)
    while left > 0 and (room := [k for k, limit in enumerate(most) if taken[k] < limit]):
        room.sort(key=lambda k: (taken[k] - share * sizes[k], -sizes[k], k))
        for k in room[:left]:
            taken[k] += 1
        left -= len(room[:left])
    return taken


def _rounded_down(value: float) -> int:
    return int(value + 1e-9)  # 0.07 * 100 is 7.000000000000001, 0.29 * 100 is 28.999999999999996


def _tie(key: str, seed: int) -> int:
    """Equal values are ordered by a draw, not by their place in the input."""
    return stable_hash(f"{seed}/tie/{key}")
