"""From scores to records: which of an input's records are the best, and which are their controls."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.score_table import read_table
from pipeline.sources import SourceError
from stages.algorithms.matching import Candidate
from stages.algorithms.thresholds import UNGROUNDED

RANKS = ("tpl_key", "tpl", "tpl_random", "tpl_key_most")
GROUPS = ("subset", "kind", "all")
TURN = re.compile(r"-t\d\d+$")  # ends the id of a turn


@dataclass(frozen=True, slots=True)
class Pool:
    """The records that may be chosen, and how many may not, by reason."""

    candidates: tuple[Candidate, ...]
    place: dict[str, tuple[str, int]]  # key -> file and number of the record
    left_out: dict[str, int]
    outside: int  # candidates that the scorer has no measured skill for
    unread: int  # candidates without a verdict: the frames that a budget read do not decide it
    uncalibrated: int  # candidates without a verdict though all was read: nobody knows whether they are grounded


@dataclass(frozen=True, slots=True)
class _Record:
    name: str  # pair ids begin with it
    tokens: int
    value: float | None  # sum over turns; null where that of a turn is
    subset: str
    kinds: frozenset[str]
    verdicts: frozenset[str | None]
    outside: bool
    unread: bool  # not every frame of every turn was read alone


def pool_of(out: Path, *, rank: str, by: str, keep_ungrounded: bool) -> Pool:
    """Records whose every turn was scored; a record's value is the rank per token over all its turns.

    A record is ungrounded where all its turns are. All records of the input are candidates or left out by name. Raises
    SourceError where a candidate has no such rank: those that a budget left out are not like the others.
    """
    records, broken = _records(out, rank), _broken(out)
    left_out: Counter[str] = Counter()
    if lost := broken - {record.name for record in records.values()}:
        left_out["no turn was scored"] = len(lost)
    candidates: list[Candidate] = []
    place: dict[str, tuple[str, int]] = {}
    unranked: list[str] = []
    outside = unread = uncalibrated = 0
    for (file, number), record in records.items():
        key = record.name
        if key in broken:
            left_out["a turn was not scored"] += 1
        elif record.verdicts == {UNGROUNDED} and not keep_ungrounded:
            left_out[UNGROUNDED] += 1
        elif record.value is None:
            unranked.append(key)
        else:
            kind = next(iter(record.kinds)) if len(record.kinds) == 1 else "mixed"
            group = {"subset": record.subset, "kind": kind, "all": "all"}[by]
            candidates.append(Candidate(key, group, kind, record.tokens, record.value / record.tokens))
            place[key] = (file, number)
            outside += record.outside
            unread += None in record.verdicts and record.unread
            uncalibrated += None in record.verdicts and not record.unread
    if unranked:
        raise SourceError(_unranked(out, rank, unranked, [c.key for c in candidates]))
    return Pool(tuple(candidates), place, dict(left_out), outside, unread, uncalibrated)


def _unranked(out: Path, rank: str, keys: Sequence[str], others: Sequence[str]) -> str:
    eligible, n = {*keys, *others}, len(keys) + len(others)
    known = [r for r in RANKS if all(x.value is not None for x in _records(out, r).values() if x.name in eligible)]
    remedy = f"Rank by {' or '.join(known)} (--rank)" if known else f"None of {', '.join(RANKS)} is known of all"
    (budget,) = read_table(out, "scores", ["budget"])["budget"].unique()
    return (
        f"{out}: {len(keys):,} of {n:,} records have no {rank}, {keys[0]} is one: budget {budget} left out frames of "
        f"their films. {remedy}, or score into another folder with --budget full"
    )


def by_file(pool: Pool, keys: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of records by file."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for file, number in map(pool.place.__getitem__, keys):
        found[file].append(number)
    return dict(found)


def _records(out: Path, rank: str) -> dict[tuple[str, int], _Record]:
    names = ["file", "record", "pair_id", "subset", "kind", "n_tokens", rank, "verdict", "scorer_domain"]
    names += ["n_read", "n_frames"]
    found: dict[tuple[str, int], _Record] = {}
    for file, number, *turn in read_table(out, "scores", names).iter_rows():
        pair_id, subset, kind, tokens, value, verdict, domain, n_read, n_frames = turn
        name = TURN.sub("", pair_id)
        old = found.get((file, number), _Record(name, 0, 0.0, subset, frozenset(), frozenset(), False, False))
        found[file, number] = _Record(
            name=name,
            tokens=old.tokens + tokens,
            value=None if old.value is None or value is None else old.value + value,
            subset=old.subset,
            kinds=old.kinds | {kind},
            verdicts=old.verdicts | {verdict},
            outside=old.outside or domain != "in",
            unread=old.unread or n_read < n_frames,
        )
    return found


def _broken(out: Path) -> set[str]:
    """Names of records of which a turn ended early, or the whole."""
    return {TURN.sub("", key) for key in read_table(out, "failures", ["key"])["key"]}
