"""Anybody's (video, text) pairs: as asked for, as planned, as scored."""

import json
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from schemas.row import Float32, Record, Row
from schemas.sample import Drop, ScorerCard, TargetEstimate, TargetScore
from schemas.video import QA


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Record):
    """One target: an answer, what was asked, and where both stand in the input."""

    pair_id: str  # unique in a run: the sample and the turn
    sample_id: str  # the conversation that the turn belongs to; independent texts of a record are samples of their own
    file: str  # of the input, relative to it; "" where the input is one file
    record: int  # number of the record in its file, from 0
    subset: str
    kind: str  # "caption" | "question" | "dialogue"
    turn: int  # of the record's targets, from 0
    question: str
    answer: str
    history: tuple[QA, ...]  # earlier turns: shown, never scored
    start_s: float | None  # of the film from its first frame; null: from the beginning, to the end
    end_s: float | None
    start_tick: int | None  # a span and plan that are given: then seconds are null
    end_tick: int | None
    frame_tick: tuple[int, ...]  # empty where the frames are to be planned

    @property
    def span(self) -> tuple[float | None, float | None, int | None, int | None, tuple[int, ...]]:
        """Texts of one film with equal spans share one watch."""
        return self.start_s, self.end_s, self.start_tick, self.end_tick, self.frame_tick


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSource(Row):
    """One video or image with all texts about it."""

    uri: str  # as the input names it; as published
    location: str  # as opened: absolute path or fsspec URL
    texts: tuple[Text, ...]

    @property
    def key(self) -> str:
        return self.uri

    @property
    def source_uri(self) -> str:
        return self.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class PairClip(Row):
    """One span of a video, the frames that are looked at, and the texts about it."""

    uri: str
    location: str
    span_index: int  # among the spans of its source, in the order of the input
    video_id: str
    clip_id: str  # video and span: "0f3a...-t0-76800"
    start_tick: int  # half-open: start <= t < end
    end_tick: int
    time_base_num: int
    time_base_den: int
    frame_tick: tuple[int, ...]  # the plan
    store_width_px: int  # size in which the frame store holds the frames; 0 for images, which are not stored
    store_height_px: int
    texts: tuple[Text, ...]

    @property
    def key(self) -> str:
        return f"{self.uri}#{self.span_index}"

    @property
    def source_uri(self) -> str:
        return self.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPairs(PairClip):
    """A span with its texts scored: a score, an estimate or a drop for each text."""

    budget: str  # see stages/algorithms/budget.py
    scores: tuple[TargetScore, ...]  # of texts that every frame was read for
    estimates: tuple[TargetEstimate, ...]  # of those that some were
    drops: tuple[Drop, ...]
    scorer: ScorerCard
    floor: float  # nats a token


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile(Record):
    path: str  # relative to the input; "" where the input is one file
    sha256: str
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFacts(Record):
    """What a run read: `utr select` goes back to it for the records."""

    path: str  # absolute
    format: str  # "manifest" | "llava" | "videochat2" | "image" | "shards"
    videos_root: str
    files: tuple[InputFile, ...]

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` gave; raises ValueError on anything else."""
        (facts,) = cls.from_arrow(pa.Table.from_pylist([json.loads(text)], schema=cls.schema()))
        return facts


@dataclass(frozen=True, slots=True, kw_only=True)
class PairScore(Record):
    """One row of scores/*.parquet of the score job. Quantities are those of TargetScore: sums over the answer's tokens
    in nats, `_per_token` the same divided by n_tokens; what was not measured is null: where n_read < n_frames, all that
    the frames left out might change."""

    pair_id: str
    sample_id: str
    file: str
    record: int
    subset: str
    kind: str
    turn: int
    uri: str
    video_id: str
    clip_id: str
    start_tick: int
    end_tick: int
    time_base_num: int
    time_base_den: int
    frame_tick: tuple[int, ...]
    question: str
    answer: str
    n_history: int  # earlier turns that were shown
    n_tokens: int
    nll_video: float
    nll_video_per_token: float
    nll_text: float
    nll_text_per_token: float
    budget: str  # "full", or which estimate: "k=4", "coarse", "early"
    n_read: int  # planned frames that were read alone; n_frames where the budget is full
    curve: tuple[float | None, ...]  # per-frame TPL; null where a frame was not read
    best_frame: int | None  # 0-based index in the plan
    best_read: int | None  # the same of the frames that were read
    tpl: float | None
    tpl_per_token: float | None  # the expectation of the paper's estimator
    tpl_se: float | None  # standard error of tpl over draws of frames: 0 where all were read, null for a single one
    tpl_key: float | None
    tpl_key_per_token: float | None
    tpl_key_most: float | None  # the least of the curve where it was read: tpl_key is at most that
    tpl_random: float | None
    tpl_random_per_token: float | None  # the paper's estimator: one frame, drawn by pair_id
    text_gain: float
    text_gain_per_token: float
    static_gain: float | None
    static_gain_per_token: float | None
    top3: float | None
    order_gain: float | None
    order_gain_per_token: float | None
    order_gain_sd: float | None
    reverse_gain: float | None
    reverse_gain_per_token: float | None
    segment_gain: tuple[float, ...] | None
    effective_frames: float | None
    certificate: tuple[int, ...] | None
    certificate_share: float | None
    hackability: float | None
    flags: tuple[str, ...] | None
    verdict: str | None  # null where the scorer is not calibrated for this, or the frames read do not decide it
    scorer: str
    revision: str
    dtype: str
    engine: str
    prompt_hash: str
    n_frames: int  # T: frames that the text was read with
    scorer_frames: int | None  # for which the scorer was calibrated
    floor: float  # nats a token: how far two ways of computing one log-probability lie apart
    thresholds: str  # JSON: what controls reach by chance, nats; a gain under it is none
    scorer_domain: str  # "in" | "out" | "unknown"
    skill: str  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTokens(Record):
    """One row of tokens/*.parquet: one target in one context, token by token."""

    pair_id: str
    context: str
    frame: int | None  # number of a frame, order or segment; of "held" the frame, where it was read alone
    shown: tuple[int, ...]  # planned frames in the order shown, 0-based
    token_id: tuple[int, ...]
    token_logprob: tuple[Float32, ...]  # nats
