"""Rows of one clip, a type per thing learned about it: cut, decoded, detected, tracked, described, captioned."""

from dataclasses import dataclass

from schemas.row import Record, Row
from schemas.video import QA

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the upright frame, half-open
Affine = tuple[float, float, float, float, float, float]  # a, b, tx, c, d, ty: (x, y) -> (ax + by + tx, cx + dy + ty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip(Row):
    """A span of one shot."""

    video_id: str
    uri: str
    location: str
    clip_id: str  # video_id[:16], shot and part: "0f3a...-s003-p01"
    shot_index: int
    start_tick: int  # half-open: start <= t < end
    end_tick: int
    time_base_num: int
    time_base_den: int
    width_px: int
    height_px: int
    rotation_deg: int
    is_whole_video: bool  # the only clip of its video, from first frame to last
    camera: str  # "static" | "moving" | "unknown"
    camera_speed: float | None  # median over the clip, frame diagonals a second
    luminance: float  # mean, 0..1
    blur: float  # mean variance of the Laplacian of the grey scan frame, 0..255 scale
    motion: float  # mean absolute change between scan frames, 0..1
    frame_hash: str  # 64-bit perceptual hash of the middle scan frame, hex
    caption_given: str | None
    qa_given: tuple[QA, ...]

    @property
    def key(self) -> str:
        return self.clip_id

    @property
    def source_uri(self) -> str:
        return self.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality(Record):
    """What the pictures of a clip are worth, over its tracking frames; stages/algorithms/quality*.py say how."""

    motion: float  # median length of the optical flow, frame diagonals a second
    sharpness: float  # median variance of the Laplacian of the grey frame at 256 px, 0..255 scale
    luminance: float  # mean, 0..1
    luminance_spread: float  # standard deviation over all pixels of all frames, 0..1
    black_share: float  # of the frames
    frozen_share: float  # of the time: stretches of at least half a second in which nothing changes
    text_share: float  # of the picture: lines of text that stay in place
    picture_share: float  # of the frame: what lies between black bars
    aesthetic: float | None = None  # 0..1; null where the recipe names no judge, as the next three
    aesthetic_judge: str | None = None  # id@version
    nsfw: float | None = None  # 0..1
    nsfw_judge: str | None = None
    near_duplicate_of: str | None = None  # clip_id of the original; known when all clips of a build are


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedClip(Clip):
    """Which frames are looked at, and that they could be decoded."""

    track_tick: tuple[int, ...]  # presentation times of the tracking frames
    plan_index: tuple[int, ...]  # the planned frames: indices into track_tick, ascending
    store_width_px: int  # size in which the frame store holds the frames
    store_height_px: int
    decoder: str = "pyav"  # that gave the pixels: "pyav" | "decord" | "torchcodec"
    quality: Quality | None = None  # null until FilterClips has looked, as the next
    fingerprint: bytes | None = None  # by which copies are found: stages/algorithms/near_duplicates.py

    @property
    def plan_tick(self) -> tuple[int, ...]:
        return tuple(self.track_tick[i] for i in self.plan_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection(Record):
    frame: int  # index into track_tick
    box_xyxy_px: Box
    label: str  # the expert's class, "" where it has none
    score: float  # 0..1
    rgb: tuple[float, ...]  # median colour of the subject's pixels, 0..255
    fill: float  # subject pixels over box pixels, 0..1
    outline: float  # 4 pi area / perimeter^2 of the outline, 0..1: circle 1, square .79, triangle .60; 0 unknown
    interpolated: bool = False  # nothing was seen here: the box lies between two that were, score 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedClip(DecodedClip):
    detections: tuple[Detection, ...]  # by frame
    camera_path: tuple[Affine, ...]  # one for each tracking frame: its pixels -> those of tracking frame 0
    detector: str  # id and version of the expert


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute(Record):
    """A word of one group of attributes: material, clothing."""

    group: str
    word: str
    margin: float  # as of Naming, as the next
    agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookalike(Record):
    """A track that may show the same subject at another time."""

    track_id: int
    similarity: float  # cosine of both embeddings


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming(Record):
    """What a model of pictures and words makes of a subject's crops; the track's label only where it was taken."""

    word: str  # the vocabulary's best over the crops; "" where no crop is good enough to vote
    margin: float  # of its probability over the runner-up's, mean over the crops
    agreement: float  # share of the crops whose own best it is
    is_taken: bool
    attributes: tuple[Attribute, ...]  # those that are sure; no question or answer holds them
    lookalikes: tuple[Lookalike, ...]
    frames: tuple[int, ...]  # of the crops, indices into track_tick
    embedding: bytes  # mean of the crops' unit vectors, unit length, float16; empty where there is no crop
    namer: str  # expert_id: model, weights, licence, library


@dataclass(frozen=True, slots=True, kw_only=True)
class Track(Record):
    """One subject inside one shot."""

    track_id: int  # 1-based, in order of first appearance
    label: str  # of the detector, "" where it has none; or the word of `naming`
    observations: tuple[Detection, ...]  # at most one a frame, ascending
    switch_risk: float | None = None  # 0..1: that it is of more than one subject; null where no truth was measured
    label_risk: float | None = None  # 0..1: how near the label is to another; null where nothing speaks against it
    naming: Naming | None = None  # null until NameTracks has looked
    agreement: float | None = None  # 0..1: share of its checked frames at which a second detector finds it, too


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedClip(DetectedClip):
    tracks: tuple[Track, ...]
    rejected: int  # things that were tracked and not taken as subjects: too short, too faint, still, merged
    tracker: str
    checker: str | None = None  # id and version of a second detector; null where none was asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment(Record):
    """A subject at one tracking frame."""

    tick: int
    box_xyxy_px: Box
    location: str  # "left", "top right", "centre", ...
    action: str  # "moving right", "still", ...
    action_risk: float  # 0..1: how near the motion is to another word
    interpolated: bool = False  # as of its observation: no text may claim it


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory(Record):
    """A subject's attribute trajectory (paper, Eq. 7 and 8): identity, appearance, location, action over time."""

    track_id: int
    name: str  # "circle", "car", "object"
    appearance: str  # "small red"
    frame_width_px: int
    frame_height_px: int
    risk: float  # 0..1: worst of: share of frames at which it was lost; colour and size near others; switch, label risk
    moments: tuple[Moment, ...]
    named_by: str | None = None  # expert_id of who gave or confirmed the name; null: the detector or the outline alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Record):
    """Something that happens to a subject, or between two; stages/algorithms/events.py says when it counts."""

    # "enters" | "appears" | "leaves" | "disappears"; "starts" | "stops" | "turns"; "crosses" | "overtakes" | "nears"
    kind: str
    track_id: int
    tick: int  # first moment surely of what is new; where it leaves or disappears, the last at which it was seen
    since_tick: int | None = None  # last moment surely of what was before; null for ends of tracks
    other_id: int | None = None  # whom it passes or nears
    detail: str = ""  # what was and what is: "right to down", "left to right"
    risk: float = 0.0  # 0..1: how near it is to being none, or another one


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation(Record):
    """Where one subject is beside another, over a stretch of moments at which both were observed."""

    track_id: int
    other_id: int
    word: str  # "left of" | "right of" | "above" | "below"
    start_tick: int
    end_tick: int  # the last such moment


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedClip(TrackedClip):
    trajectories: tuple[Trajectory, ...]
    events: tuple[Event, ...]
    relations: tuple[Relation, ...]
    describer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption(Record):
    kind: str  # "global" | "timeline" | "given": somebody's words, which follow from no track
    text: str
    describer: str  # "templates/1"; of a given one "manifest" or "mllm/{model}@{hash of the prompt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedClip(DescribedClip):
    captions: tuple[Caption, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldSubject(Record):
    """What a multimodal model calls a subject; beside our name, never in its place."""

    track_id: int
    name: str
    attributes: tuple[str, ...]
    fits: bool  # whether it finds our name right


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldClip(CaptionedClip):
    """A clip about which a multimodal model was asked."""

    teller: str | None  # "mllm/{model}@{hash of the prompt}"; null where it was not asked
    told: tuple[ToldSubject, ...]
    prompt_tokens: int | None  # as the endpoint counts, over all requests; null also where it does not
    completion_tokens: int | None
