"""The manifest of a sealed data set: which shards it has, and what made them."""

import json
from dataclasses import dataclass, replace
from typing import Self

import pyarrow as pa

from schemas.row import Record

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard(Record):
    """One Parquet file. Video ids are those of its first and last row's video; null where it is empty."""

    path: str  # relative to the manifest, with "/"
    table: str  # "data" | "clips" | "scores" | "quality" | "failures"
    rows: int
    bytes: int
    sha256: str  # hex
    first_video_id: str | None
    last_video_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Package(Record):
    name: str
    release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonCount(Record):
    reason: str  # a Reason, or an error's class
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelLine(Record):
    """What became of the rows that entered one stage."""

    stage: str
    rows_in: int
    rows_out: int
    skipped: tuple[ReasonCount, ...]  # by reason
    failed: tuple[ReasonCount, ...]  # by the error's class


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerFacts(Record):
    """A scorer that clips of this data set were scored with, and how many of them lie in its domain."""

    scorer: str
    dtype: str
    engine: str
    prompt_hash: str
    n_frames: int | None  # for which the thresholds were measured; null where none were
    skill: str  # JSON
    thresholds: str  # JSON
    clips_in: int
    clips_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSeconds(Record):
    stage: str
    seconds: float  # work, summed over workers


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCounted(Record):
    """What a stage counts beside its rows: tokens, as the endpoint says."""

    stage: str
    what: str
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """Facts of the clock and the machine: equal builds differ in them, so no comparison looks at them."""

    started: str  # ISO 8601, UTC
    wall_s: float
    runner: str  # "ray" | "local"
    workers: int
    stages: tuple[StageSeconds, ...]
    counted: tuple[StageCounted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Record):
    """Equal inputs and recipes give equal manifests, but for `run`."""

    format: int
    engine: str  # version of this project
    plan_fingerprint: str
    plan: tuple[str, ...]  # "Stage.parameter = value"
    packages: tuple[Package, ...]
    videos_root: str | None  # what the uris of the rows are relative to; null where they are absolute
    scorers: tuple[ScorerFacts, ...]
    funnel: tuple[FunnelLine, ...]
    shards: tuple[Shard, ...]
    run: Run | None

    def without_run(self) -> Self:
        """What two builds of the same thing have in common."""
        return replace(self, run=None)

    def rows(self, table: str) -> int:
        """How many rows a table has over all its shards."""
        return sum(shard.rows for shard in self.shards if shard.table == table)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The manifest that `to_json` gave; raises ValueError on another format and on any field that does not fit."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{MANIFEST} is not JSON: {error}. Seal the data set again.") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            found = values.get("format") if isinstance(values, dict) else type(values).__name__
            raise ValueError(f"{MANIFEST} has format {found!r}; this version reads format {FORMAT}")
        if isinstance(values.get("run"), dict):
            values["run"].setdefault("counted", [])  # sealed before a run counted anything
        try:
            table = pa.Table.from_pylist([values], schema=cls.schema())
        except pa.ArrowInvalid as error:
            raise ValueError(f"{MANIFEST}: {error}") from error
        (manifest,) = cls.from_arrow(table)
        if manifest.to_dict() != values:
            raise ValueError(f"{MANIFEST} has fields that this version does not know, or lacks some")
        return manifest
