"""Samples, their scores, and the tables that are published (DESIGN section 6)."""

from dataclasses import dataclass

from schemas.clip import Caption, CaptionedClip, Event, Quality, Relation, Trajectory
from schemas.row import Float32, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Record):
    role: str  # "user" | "assistant"
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextScore(Record):
    """Log-probabilities of the target's tokens in one context."""

    context: str  # "video" | "frame" | "text" | "shuffled" | "reversed" | "without" | "held"
    frame: int | None  # 0-based: the planned frame of "frame", the shuffle of "shuffled", the segment of "without"
    token_logprob: tuple[Float32, ...]  # nats


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScore(Record):
    """Everything DESIGN section 4 says about one target; sums over the target's tokens, in nats, unless said.

    docs/tpl.md has the formulas. What was not measured is null.
    """

    target_id: str  # sample_id, or "{clip_id}/caption/{kind}"
    token_id: tuple[int, ...]
    contexts: tuple[ContextScore, ...]
    nll_video: float  # L(y|V)
    nll_text: float  # L(y|no video)
    curve: tuple[float, ...]  # L(y|f_t) - L(y|V), by planned frame
    best_frame: int  # 0-based planned frame of the curve's minimum
    tpl: float  # mean of the curve
    tpl_key: float  # minimum of the curve
    tpl_random: float  # one frame drawn by the row's key
    text_gain: float  # L(y|no video) - L(y|V)
    static_gain: float  # L(y|no video) - L(y|best frame)
    tpl_per_token: float  # nats a token, as the next three
    tpl_key_per_token: float
    tpl_random_per_token: float  # the paper's estimator
    text_gain_per_token: float
    top3: float  # mean of the three largest token gains over the best frame
    order_gain: float | None  # mean over shuffles of L(y|shuffled) - L(y|V)
    order_gain_sd: float | None  # over the shuffles; null for fewer than two
    reverse_gain: float | None
    segment_gain: tuple[float, ...] | None  # L(y|V with a segment replaced by its neighbour) - L(y|V), by segment
    effective_frames: float | None  # 1 .. number of segments; null also where no segment is missed
    certificate: tuple[int, ...] | None  # 0-based planned frames that tell nearly all; null also where nothing is told
    certificate_share: float | None  # of text_gain that these frames have; under 0.9 where no few frames reach it
    hackability: float | None  # 0..1; null where text_gain is under its floor
    flags: tuple[str, ...]  # "ungrounded" | "frame_misleads" | "frame_beats_video"
    verdict: str | None  # see stages/algorithms/thresholds.py; null where the scorer is not calibrated

    # What an estimate says of itself, where all is known: every frame was read.

    @property
    def n_read(self) -> int:
        return len(self.curve)

    @property
    def tpl_se(self) -> float:
        return 0.0

    @property
    def tpl_key_most(self) -> float:
        return self.tpl_key

    @property
    def best_read(self) -> int:
        return self.best_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetEstimate(Record):
    """What some planned frames, not all, say of one target, in the quantities of TargetScore; what only all frames
    tell is no field of it. Made by stages/algorithms/budget.py."""

    target_id: str
    token_id: tuple[int, ...]
    contexts: tuple[ContextScore, ...]  # all that was read
    nll_video: float
    nll_text: float
    text_gain: float
    curve: tuple[float | None, ...]  # by planned frame; null where it was not read
    tpl: float | None  # the mean of a random sample of frames; null where those read are none
    tpl_se: float | None  # its standard error; null for a single frame
    tpl_key_most: float | None  # the least of those read: tpl_key is at most that; null where none was read
    best_read: int | None  # its frame
    verdict: str | None  # null also where the frames read do not decide it

    @property
    def n_read(self) -> int:
        """Frames that were read alone."""
        return sum(value is not None for value in self.curve)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerCard(Record):
    """What every score names about its scorer."""

    scorer: str  # id @ revision
    dtype: str
    engine: str
    prompt_hash: str
    n_frames: int | None  # of a plan, for which the thresholds were measured; null where none were
    scorer_domain: str  # "in" | "out": whether this clip looks like its films, and has that many frames; "unknown"
    skill: str  # JSON: the scorer's measured skill
    thresholds: str  # JSON: under which a gain is none, nats


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredClip(CaptionedClip):
    caption_scores: tuple[TargetScore, ...]
    scorer: ScorerCard


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Record):
    """A conversation and the program that its answer follows from."""

    sample_id: str
    group_id: str  # matched pairs and twins share it
    family: str  # of stages/algorithms/questions.py, or "given"
    direction: str  # what is asked -> what is answered: "spatial->record", "identity->trajectory", ...
    answer_type: str  # "text" | "choice" | "box" | "interval" | "order" | "number"
    messages: tuple[Message, ...]
    program: str  # JSON, see stages/algorithms/compose.py
    evidence: str  # JSON: {"tracks": [ids], "frames": [1-based plan indices]}
    reward: str  # JSON: {"kind": ..., "value": ...}, see stages/algorithms/rewards.py
    risk: float
    difficulty: int | None = None  # observations, a subject at a planned frame, that the answer rests on; null if given
    # A twin is about the same frames shown otherwise, see stages/algorithms/twins.py; null in all other samples.
    twin: str | None = None  # "reversed" | "swapped" | "mirrored" | "frozen" | "slowed"
    twin_effect: str | None = None  # on the answer: "must-change" | "must-not-change" | "unanswerable"
    frame_order: tuple[int, ...] | None = None  # 1-based planned frames in the order shown, at the plan's times
    mirrored: bool = False  # left for right
    reworded_by: str | None = None  # "mllm/{model}@{hash of the prompt}" that put its questions; null: the composer did


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(Record):
    """A text or a sample that a clip had and that is not published, with the reason."""

    key: str
    stage: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedClip(ScoredClip):
    samples: tuple[Sample, ...]
    drops: tuple[Drop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredClip(ComposedClip):
    """Composed, and its samples scored: one score or none (over budget, a twin, a family not taught) a sample."""

    sample_scores: tuple[TargetScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedClip(MeasuredClip):
    selected: tuple[str, ...]  # sample ids that are published; the others have a Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSample(Record):
    """One row of data/*.parquet: exactly these columns."""

    sample_id: str
    video_id: str
    clip_id: str
    group_id: str
    uri: str
    start_tick: int
    end_tick: int
    time_base_num: int
    time_base_den: int
    frame_tick: tuple[int, ...]
    family: str
    direction: str
    answer_type: str
    messages: tuple[Message, ...]
    program: str
    evidence: str
    reward: str
    tpl: float | None  # null where the sample was not scored: over the budget, a twin, a family not taught
    tpl_key: float | None
    hackability: float | None
    verdict: str | None
    risk: float
    scorer: str
    scorer_domain: str
    describer: str
    split: str  # "train" | "validation", by video
    difficulty: int | None = None
    twin: str | None = None
    twin_effect: str | None = None
    frame_order: tuple[int, ...] | None = None
    mirrored: bool = False
    reworded_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedClip(Record):
    """One row of clips/*.parquet."""

    clip_id: str
    tracks: tuple[Trajectory, ...]
    events: tuple[Event, ...]
    relations: tuple[Relation, ...]
    captions: tuple[Caption, ...]
    caption_scores: tuple[TargetScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedClip(PublishedClip):
    """One row of clips/*.parquet where frames are packed: for trainers that should not decode."""

    frames_jpeg: tuple[bytes, ...]  # the planned frames, in order, in the size of the frame store


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedQuality(Quality):
    """One row of quality/*.parquet: what the pictures of a published clip are worth, whether or not a bound was set."""

    clip_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedScore(Record):
    """One row of scores/*.parquet: one target in one context, token by token."""

    sample_id: str  # or the caption's target id
    context: str
    frame: int | None
    token_id: tuple[int, ...]
    token_logprob: tuple[Float32, ...]
