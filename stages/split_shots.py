"""Where does the film cut, and what does each piece look like?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from schemas.clip import Clip
from schemas.outcome import Reason, Skip
from schemas.time import seconds
from schemas.video import Video
from stages.algorithms.camera import measure_camera
from stages.base import Resources, Stage
from stages.media.child import Limits
from stages.media.facts import DETECTORS, Scan, ScanOptions
from stages.media.reader import Reader


@dataclass(frozen=True, kw_only=True)
class SplitShots(Stage[Video, Clip, Reader]):
    """One sequential decode; shots from PySceneDetect, long ones in equal parts, a Skip for each that is too short."""

    detector: str = "adaptive"  # "adaptive" | "content"
    threshold: float | None = None  # of the detector, None for its default
    min_shot_s: float = 0.6  # no second cut within this time
    min_clip_s: float = 1.0
    max_clip_s: float = 30.0
    timeout_s: float = 3600.0
    memory_gb: float = 2.0

    version = 1
    resources = Resources(cpus=0.5, memory_gb=1.0)
    operational = frozenset({"timeout_s", "memory_gb"})

    def __post_init__(self) -> None:
        if not 0 < self.min_clip_s <= self.max_clip_s / 2:
            raise ValueError(
                f"max_clip_s {self.max_clip_s:g} must be at least twice min_clip_s {self.min_clip_s:g} > 0"
            )
        if self.detector not in DETECTORS:
            raise ValueError(f"detector {self.detector!r} is none of {', '.join(DETECTORS)}")

    def open(self) -> Reader:
        return Reader(Limits(timeout_s=self.timeout_s, memory_gb=self.memory_gb))

    def close(self, reader: Reader) -> None:
        reader.close()

    def process(self, reader: Reader, videos: Sequence[Video], /) -> list[Skip | list[Clip | Skip]]:
        return [self._split(reader, video) for video in videos]

    def _split(self, reader: Reader, video: Video) -> Skip | list[Clip | Skip]:
        options = ScanOptions(detector=self.detector, threshold=self.threshold, min_shot_s=self.min_shot_s)
        scan = reader.scan(video.location, video.n_frames, options)
        pieces = list(self._pieces(video, scan))
        if all(isinstance(piece, Skip) for piece in pieces):
            return Skip(Reason.TOO_SHORT, f"no shot of {self.min_clip_s:g} s: {_details(pieces)}")
        return [*pieces, *_texts_without_a_clip(video, pieces)]

    def _pieces(self, video: Video, scan: Scan) -> Iterator[Clip | Skip]:
        edges = [0, *scan.cuts, len(scan.ticks)]
        for shot, (first, last) in enumerate(pairwise(edges)):
            spans = list(self._parts(video, scan, first, last))
            length_s = _length_s(video, scan, first, last)
            if length_s < self.min_clip_s:
                yield Skip(Reason.TOO_SHORT, f"shot {shot}: {length_s:.2f} s < {self.min_clip_s:g} s")
                continue
            for part, span in enumerate(spans):
                yield _clip(video, scan, shot, part, span)

    def _parts(self, video: Video, scan: Scan, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Spans of equal frame counts; of a steady film each lasts `max_clip_s` at most, give or take a frame."""
        count = min(last - first, ceil(_length_s(video, scan, first, last) / self.max_clip_s))
        edges = [first + k * (last - first) // count for k in range(count + 1)]
        yield from pairwise(edges)


def _texts_without_a_clip(video: Video, pieces: Sequence[Clip | Skip]) -> list[Skip]:
    """Given texts are about the whole video: where no clip is the whole, they end here, by name."""
    texts = len(video.qa) + (video.caption is not None)
    if not texts or any(isinstance(piece, Clip) and piece.is_whole_video for piece in pieces):
        return []
    return [Skip(Reason.TEXT_SPANS_SHOTS, f"{texts} given texts are about the whole video, and no clip is the whole")]


def _clip(video: Video, scan: Scan, shot: int, part: int, span: tuple[int, int]) -> Clip:
    first, last = span
    steps = [k for k, at in enumerate(scan.step_frame[:-1]) if first <= at and scan.step_frame[k + 1] < last]
    camera, speed = measure_camera([scan.step_speed[k] for k in steps])
    middle = min(range(len(scan.step_frame)), key=lambda k: abs(scan.step_frame[k] - (first + last) // 2))
    return Clip(
        video_id=video.video_id,
        uri=video.uri,
        location=video.location,
        clip_id=f"{video.video_id[:16]}-s{shot:03d}-p{part:02d}",
        shot_index=shot,
        start_tick=scan.ticks[first],
        end_tick=_end_tick(video, scan, last),
        time_base_num=video.time_base_num,
        time_base_den=video.time_base_den,
        width_px=video.width_px,
        height_px=video.height_px,
        rotation_deg=video.rotation_deg,
        is_whole_video=(first, last) == (0, len(scan.ticks)),
        camera=camera,
        camera_speed=speed,
        luminance=float(scan.luminance_N[first:last].mean()),
        blur=float(scan.blur_N[first:last].mean()),
        motion=float(scan.motion_N[first + 1 : last].mean()) if last - first > 1 else 0.0,
        frame_hash=f"{scan.step_hash[middle]:016x}",
        caption_given=video.caption,
        qa_given=video.qa,
    )


def _length_s(video: Video, scan: Scan, first: int, last: int) -> float:
    length = _end_tick(video, scan, last) - scan.ticks[first]
    return seconds(length, video.time_base_num, video.time_base_den)


def _end_tick(video: Video, scan: Scan, last: int) -> int:
    return scan.ticks[last] if last < len(scan.ticks) else video.end_tick


def _details(pieces: Sequence[Clip | Skip]) -> str:
    return "; ".join(piece.detail for piece in pieces[:5] if isinstance(piece, Skip))
