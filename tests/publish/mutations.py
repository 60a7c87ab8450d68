"""Semantic mutations of a sealed set, drawn by a seed, and what `utr verify` makes of them.

A mutation changes what a reader would learn: a box by at least ten of the thousand units of its text, a time by two
hundredths of a second, a risk by 0.05, a token by a tenth of a nat, any word, number or order. JSON spelt otherwise,
a group that only gets another name, and a draw that gives the same rows again are none, and drawn anew.

Hashes and counts of shards are made right again (`write_sealed`), so that they catch nothing. The rest of the manifest,
thresholds, clips by scorer and rows by stage, stays: it tells of the run.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from pipeline.sealed import Problem, Sealed
from pipeline.verify_rows import row_problems
from pipeline.verify_scores import score_problems
from pipeline.verify_set import set_problems
from schemas.outcome import Outcome
from schemas.row import Record
from schemas.sample import PublishedClip, PublishedSample, PublishedScore
from stages.algorithms.draws import draws
from tests.publish.mutate_basics import Rng, put
from tests.publish.mutate_clips import CLIP_CHANGES
from tests.publish.mutate_events import ClipChange
from tests.publish.mutate_rows import SET_CHANGES, SetChange
from tests.publish.mutate_samples import SAMPLE_CHANGES
from tests.publish.mutate_texts import SampleChange

TRIES = 20_000  # until a draw has something to change: one program in six hundred has a "side"


class Drawn(NamedTuple):
    kind: str
    draw: int


def _of_clip(change: ClipChange) -> SetChange:
    def changed(data: Sealed, rng: Rng) -> Sealed | None:
        at = int(rng.integers(len(data.clips)))
        clip = change(data.clips[at], rng)
        return None if clip in (None, data.clips[at]) else replace(data, clips=list(put(data.clips, at, clip)))

    return changed


def _of_sample(change: SampleChange) -> SetChange:
    def changed(data: Sealed, rng: Rng) -> Sealed | None:
        at = int(rng.integers(len(data.samples)))
        sample = change(data.samples[at], rng)
        same = sample in (None, data.samples[at])
        return None if same else replace(data, samples=list(put(data.samples, at, sample)))

    return changed


KINDS: dict[str, SetChange] = {
    **{kind: _of_clip(change) for kind, change in CLIP_CHANGES.items()},
    **{kind: _of_sample(change) for kind, change in SAMPLE_CHANGES.items()},
    **SET_CHANGES,
}


BETWEEN = "a moment that no planned frame shows, and the change stays inside all words of place, motion and events"
UNKNOWABLE = {  # kinds of which some survive, and why verify cannot know better
    "box of a moment: shifted": BETWEEN,
    "box of a moment: scaled": BETWEEN,
    "box of a moment: resized in place": BETWEEN,
    "boxes of two moments: exchanged": BETWEEN,
    "boxes of two tracks at a moment: exchanged": BETWEEN,
    "moment: tick": BETWEEN,
    "moment: action": f"{BETWEEN}; no sample tells that the camera stands",
    "moment: action risk": f"{BETWEEN}; no sample tells that the camera stands",
    "moment: dropped": f"{BETWEEN}; no other track was seen then, or the track's risk allows for that gap",
    "clip: end_tick": "no moment, frame, text or next clip lies where it ends: only the film knows how long it is",
    "video: uri that is no other's": "no other row tells the video's uri: only the source list knows it",
    "sample: dropped": "the last number of its clip, and without a score: nothing else knows of it",
    "sample: dropped with its scores": "the last number of its clip: nothing else knows of it",
    "outcome: dropped": "the last number of its clip, dropped for its risk: nothing else knows of it",
    "outcome: key": "a part of a film that gave no clip: nothing else knows its number",
}


def mutant(data: Sealed, kind: str, draw: int, *, seed: int = 0) -> Sealed:
    """The set with one mutation; raises ValueError where it has nothing of that kind."""
    rng = draws(seed, f"{kind}/{draw}")
    for _ in range(TRIES):
        if (changed := KINDS[kind](data, rng)) is not None:
            return changed
    raise ValueError(f"{kind}: nothing to change in {TRIES} tries")


def survivors(data: Sealed, *, draws_each: int, seed: int = 0) -> list[Drawn]:
    """The mutants, `draws_each` of every kind, in which verify finds nothing."""
    every = (Drawn(kind, draw) for kind in KINDS for draw in range(draws_each))
    return [drawn for drawn in every if not found(data, mutant(data, *drawn, seed=seed))]


def found(before: Sealed, after: Sealed) -> list[Problem]:
    """What verify finds in a mutant of a set in which it finds nothing.

    Clips and samples are looked at one by one there, so only those that changed are here; what lies between rows, all.
    """
    touched = {_clip_of(row) for row in _different(before, after)}
    scores = [row for row in after.scores if _clip_id(row.sample_id) in touched]
    part = replace(
        after,
        clips=[clip for clip in after.clips if clip.clip_id in touched],
        samples=[sample for sample in after.samples if sample.clip_id in touched],
        scores=scores,
    )
    return [*set_problems(after), *row_problems(part), *score_problems(part)]


def write_sealed(sealed: Path, data: Sealed, out: Path) -> None:
    """The set at `out`, with hashes, sizes and numbers of rows that are right; `sealed` has one shard a table."""
    shutil.copytree(sealed, out)
    manifest = json.loads((out / "manifest.json").read_text())
    tables: dict[str, list[Record]] = {
        "data": [*data.samples], "clips": [*data.clips], "scores": [*data.scores], "failures": [*data.outcomes],
    }  # fmt: skip
    for shard in manifest["shards"]:
        rows = tables.get(shard["table"])
        if not rows:
            continue
        path = out / shard["path"]
        pq.write_table(type(rows[0]).to_arrow(rows), path)
        shard["rows"], shard["bytes"] = len(rows), path.stat().st_size
        shard["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (out / "manifest.json").write_text(json.dumps(manifest))


Row = PublishedClip | PublishedSample | PublishedScore | Outcome


def _different(before: Sealed, after: Sealed) -> Iterator[Row]:
    """Rows that only one of them has, or one has more often."""
    for table in ("clips", "samples", "scores", "outcomes"):
        rows = {id(row): row for data in (before, after) for row in getattr(data, table)}
        times = [Counter(map(id, getattr(data, table))) for data in (before, after)]
        yield from (row for key, row in rows.items() if times[0][key] != times[1][key])


def _clip_of(row: Row) -> str:
    if isinstance(row, PublishedClip | PublishedSample):
        return row.clip_id
    return _clip_id(row.sample_id if isinstance(row, PublishedScore) else row.key)


def _clip_id(target_id: str) -> str:
    """Of a sample's or a caption's id."""
    return target_id.partition("/")[0] if "/" in target_id else target_id.rpartition("-")[0]
