"""Videos as asked for and as probed. A row carries an address, never pixels."""

from dataclasses import dataclass

from schemas.row import Record, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class QA(Record):
    """A question and its answer, as a manifest brings them."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Row):
    """One line of a manifest, or one file of a folder."""

    uri: str  # as published: relative to the manifest or folder where it can be
    location: str  # as opened: absolute path or fsspec URL
    caption: str | None
    qa: tuple[QA, ...]

    @property
    def key(self) -> str:
        return self.uri

    @property
    def source_uri(self) -> str:
        return self.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Video(Source):
    """What packets and bytes say about a source, before any policy."""

    video_id: str  # sha256 of the bytes, hex; remote files: of size and etag
    id_kind: str  # "bytes" | "etag"
    n_bytes: int
    container: str
    codec: str
    width_px: int  # upright: after rotation
    height_px: int
    rotation_deg: int  # clockwise turn that makes the stored picture upright: 0, 90, 180, 270
    time_base_num: int
    time_base_den: int
    n_frames: int  # presentable frames: packets inside the edit list, by presentation time
    start_tick: int  # presentation time of the first frame
    end_tick: int  # end of the last frame, exclusive
    is_vfr: bool  # frame durations differ by more than a tick of rounding
    n_promised: int | None  # frames by header and packets; of a damaged film more than n_frames, null where not told
    damage: str | None  # why the film is used up to end_tick only; null: it is whole, or nobody looked

    @property
    def key(self) -> str:
        return self.video_id
