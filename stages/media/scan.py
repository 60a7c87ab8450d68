"""Pass 1: one sequential low-resolution decode, of which only small numbers come back. Runs in the decoder child."""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import IO

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import InvalidDataError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from scenedetect import FrameTimecode
from scenedetect.detector import SceneDetector

from schemas.time import seconds
from stages.algorithms.camera import global_motion, step_speed
from stages.algorithms.shots import THUMBNAIL_SHAPE
from stages.media.child import ReadError
from stages.media.cuts import Adaptive, Content
from stages.media.facts import DETECTORS, Packets, Scan, ScanOptions
from stages.media.frames import rotation_deg, small_rgb
from stages.media.packets import PacketTable, demuxed, opened

# Of all colour levels, 0..1. The detectors compare hues as numbers: in a red picture, where the hue jumps between 0
# and 179, a keyframe that changes nothing to the eye counts as a cut.
MIN_CUT_CHANGE = 0.02


def scan_video(location: str, n_frames: int, options: ScanOptions, thumbnails_path: str | None = None) -> Scan:
    """Numbers of the first `n_frames` frames; ReadError unless exactly these decode.

    Where there is a `thumbnails_path`, each frame is also written to that file, as uint8 RGB of THUMBNAIL_SHAPE: a
    film of 10 hours is too long for an answer, and the networks that look at it have no place in this process.
    """
    with (
        nullcontext() if thumbnails_path is None else Path(thumbnails_path).open("r+b") as thumbnails,
        opened(location) as (container, stream),
    ):
        assert stream.time_base is not None
        rate_hz = float(stream.average_rate or 25)
        base = (stream.time_base.numerator, stream.time_base.denominator)
        pass_1 = _Pass(options, rate_hz, base, thumbnails)
        source = _Sequence(location, container, stream)
        for frame in islice(source, n_frames):
            assert frame.pts is not None
            pass_1.look(frame.pts, frame)
        source.check(n_frames, pass_1.ticks)
    return pass_1.result()


class _Sequence:
    """All frames of a stream, damaged packets passed over but remembered."""

    def __init__(self, location: str, container: InputContainer, stream: VideoStream) -> None:
        self._location, self._container, self._stream = location, container, stream
        self._table = PacketTable(location)
        self._damage: str | None = None
        self._damage_tick: int | None = None

    def __iter__(self) -> Iterator[VideoFrame]:
        first_key: int | None = None
        for packet in self._packets():
            self._table.add(packet)
            if first_key is None and packet.is_keyframe:
                first_key = packet.pts
            try:
                frames = packet.decode()
            except InvalidDataError as error:
                self._note(error.strerror or "invalid data", packet.pts)
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._note("damaged picture", frame.pts)
                elif frame.pts is not None and first_key is not None and frame.pts >= first_key:
                    yield frame

    def check(self, n_frames: int, ticks: list[int]) -> None:
        """Raises unless the decoded frames are those that the packets promise, as many as were probed."""
        packets: Packets = self._table.close()
        if tuple(ticks) == packets.ticks[:n_frames] and len(ticks) == n_frames:
            return
        lost = sorted(set(packets.ticks) - set(ticks))
        tick = self._damage_tick if self._damage_tick is not None else (lost[0] if lost else packets.end_tick)
        base = self._stream.time_base
        assert base is not None
        at_s = seconds(tick, base.numerator, base.denominator)
        n_right = len(set(ticks) & set(packets.ticks[:n_frames]))
        raise ReadError(
            f"{self._location}: damaged: {n_right} of {n_frames} frames decode, first error at {at_s:.2f} s"
            f" ({self._damage or 'frames missing or at other times'}); re-encode or download it again"
        )

    def _packets(self) -> Iterator[av.Packet]:
        try:
            yield from demuxed(self._location, self._container, self._stream)
        except InvalidDataError as error:
            self._note(error.strerror or "invalid data", None)

    def _note(self, damage: str, tick: int | None) -> None:
        if self._damage is None:
            self._damage, self._damage_tick = damage, tick


class _Pass:
    """The measurements of pass 1, frame by frame."""

    def __init__(
        self, options: ScanOptions, rate_hz: float, time_base: tuple[int, int], thumbnails: IO[bytes] | None
    ) -> None:
        self._options, self._rate_hz, self._base = options, rate_hz, time_base
        self._detectors = _detectors(options, rate_hz)
        self._thumbnails = thumbnails
        self._size: tuple[int, int] | None = None  # width, height
        self._bgr: np.ndarray | None = None
        self._step_grey: np.ndarray | None = None
        self._luminance: list[float] = []
        self._blur: list[float] = []
        self._motion: list[float] = []
        self._cuts: list[int] = []
        self._step_frame: list[int] = []
        self._step_speed: list[float | None] = []
        self._step_hash: list[int] = []
        self.ticks: list[int] = []

    def look(self, tick: int, frame: VideoFrame) -> None:
        """Takes in the next frame."""
        self._size = self._size or _scan_size(frame, self._options.longest_side_px)
        bgr_HWC = np.ascontiguousarray(small_rgb(frame, *self._size, "bgr24"))
        grey_HW = cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2GRAY)
        index = len(self.ticks)
        self.ticks.append(tick)
        for detector in self._detectors:
            self._cuts += _indices(detector.process_frame(FrameTimecode(index, self._rate_hz), bgr_HWC))
        if self._thumbnails is not None:
            self._thumbnails.write(_thumbnail(bgr_HWC).tobytes())
        self._luminance.append(cv2.mean(grey_HW)[0] / 255)
        self._blur.append(float(cv2.meanStdDev(cv2.Laplacian(grey_HW, cv2.CV_16S))[1][0, 0]) ** 2)
        self._motion.append(0.0 if self._bgr is None else sum(cv2.mean(cv2.absdiff(bgr_HWC, self._bgr))[:3]) / 765)
        self._bgr = bgr_HWC
        if not self._step_frame or self._since_step_s(tick) >= self._options.step_s:
            self._step(index, tick, grey_HW)

    def result(self) -> Scan:
        """Everything that was measured."""
        last = FrameTimecode(max(len(self.ticks) - 1, 0), self._rate_hz)
        cuts = {*self._cuts, *(cut for detector in self._detectors for cut in _indices(detector.post_process(last)))}
        return Scan(
            ticks=tuple(self.ticks),
            cuts=tuple(
                sorted(cut for cut in cuts if 0 < cut < len(self.ticks) and self._motion[cut] >= MIN_CUT_CHANGE)
            ),
            luminance_N=np.array(self._luminance),
            blur_N=np.array(self._blur),
            motion_N=np.array(self._motion),
            step_frame=tuple(self._step_frame),
            step_speed=tuple(self._step_speed),
            step_hash=tuple(self._step_hash),
        )

    def _since_step_s(self, tick: int) -> float:
        # Half a frame of slack: else a 24 fps film takes every sixth frame instead of every fifth.
        return seconds(tick - self.ticks[self._step_frame[-1]], *self._base) + 0.5 / self._rate_hz

    def _step(self, index: int, tick: int, grey_HW: np.ndarray) -> None:
        if self._step_grey is not None:
            step_s = seconds(tick - self.ticks[self._step_frame[-1]], *self._base)
            shape = (grey_HW.shape[0], grey_HW.shape[1])
            self._step_speed.append(step_speed(global_motion(self._step_grey, grey_HW), shape, step_s))
        self._step_frame.append(index)
        self._step_hash.append(perceptual_hash(grey_HW))
        self._step_grey = grey_HW


def perceptual_hash(grey_HW: np.ndarray) -> int:
    """64 bits: which of the 8x8 lowest cosine frequencies of the picture lie above their median."""
    small_HW = cv2.resize(grey_HW, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low_64 = cv2.dct(small_HW)[:8, :8].ravel()
    return int.from_bytes(np.packbits(low_64 > np.median(low_64)).tobytes(), "big")


def _scan_size(frame: VideoFrame, longest_side_px: int) -> tuple[int, int]:
    width_px, height_px = frame.width, frame.height
    if rotation_deg(frame) in (90, 270):
        width_px, height_px = height_px, width_px
    scale = min(1.0, longest_side_px / max(width_px, height_px))
    return max(8, round(width_px * scale)), max(8, round(height_px * scale))


def _thumbnail(bgr_HWC: np.ndarray) -> np.ndarray:
    """What TransNetV2 looks at: without regard to the picture's shape, as it was trained."""
    height_px, width_px, _ = THUMBNAIL_SHAPE
    return cv2.cvtColor(cv2.resize(bgr_HWC, (width_px, height_px), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def _detectors(options: ScanOptions, rate_hz: float) -> list[SceneDetector]:
    """Those of the names in `options.detector`, joined by "+", that look at whole frames; none for ""."""
    shortest = max(1, round(options.min_shot_s * rate_hz))
    found: list[SceneDetector] = []
    for name in filter(None, options.detector.split("+")):
        if name == "adaptive":
            ratio = 3.0 if options.threshold is None else options.threshold
            found.append(Adaptive(adaptive_threshold=ratio, min_scene_len=shortest))
        elif name == "content":
            content = 27.0 if options.threshold is None else options.threshold
            found.append(Content(threshold=content, min_scene_len=shortest))
        else:
            raise ValueError(f"detector {name!r} of pass 1 is none of {', '.join(DETECTORS)}")
    return found


def _indices(cuts: list[FrameTimecode]) -> list[int]:
    return [cut.frame_num for cut in cuts]
