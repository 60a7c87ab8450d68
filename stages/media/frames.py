"""Exactly the frames asked for, upright and small. Runs in the decoder child."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np
from av.container import InputContainer
from av.error import EOFError as StreamEnd
from av.error import PermissionError as NotIndexed
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from stages.media.child import ReadError
from stages.media.facts import Packets
from stages.media.packets import opened, read_packets

_scaler = VideoReformatter()  # keeps its tables: frame.reformat makes them anew for each frame, 0.1 ms and more


def decode_frames(location: str, ticks: Sequence[int], width_px: int, height_px: int) -> np.ndarray:
    """The frames with these presentation times, ascending: uint8 RGB (T, height, width, 3)."""
    packets = read_packets(location)
    require_frames(location, ticks, packets)
    frames_THWC = np.empty((len(ticks), height_px, width_px, 3), np.uint8)
    filled, back = 0, 0
    with opened(location, strict=not packets.has_open_gop) as (container, stream):
        while filled < len(ticks):
            key = bisect_right(packets.key_ticks, ticks[filled]) - 1 - back
            if key <= 0:
                got = _from_start(location, packets, ticks[filled:], frames_THWC[filled:])
            elif _seek(container, stream, packets.key_ticks[key]):
                got = _collect(decoded_from_key(container, stream), packets, ticks[filled:], frames_THWC[filled:])
            else:
                got = 0
            if got == 0 and key <= 0:
                raise ReadError(f"{location}: frame at tick {ticks[filled]} does not decode; re-encode the file")
            filled += got
            # A demuxer that lands behind the keyframe is sent to earlier ones; from the start it cannot miss.
            back = 0 if got else 2 * back + 1
    return frames_THWC


def require_frames(location: str, ticks: Sequence[int], packets: Packets) -> None:
    """Raises unless the ticks ascend and each is the time of a frame."""
    if list(ticks) != sorted(set(ticks)):
        raise ValueError(f"{location}: ticks must ascend and be unique")
    missing = sorted(set(ticks) - set(packets.ticks))
    if missing:
        raise ReadError(f"{location}: {len(missing)} of {len(ticks)} ticks are no frames, the first is {missing[0]}")


def _from_start(location: str, packets: Packets, ticks: Sequence[int], out_THWC: np.ndarray) -> int:
    with opened(location, strict=not packets.has_open_gop) as (container, stream):
        return _collect(decoded_from_key(container, stream), packets, ticks, out_THWC)


def _seek(container: InputContainer, stream: VideoStream, tick: int) -> bool:
    try:
        container.seek(tick, stream=stream, backward=True)
    except NotIndexed:  # how FFmpeg says that the index has no entry there
        return False
    return True


def _collect(frames: Iterator[VideoFrame], packets: Packets, ticks: Sequence[int], out_THWC: np.ndarray) -> int:
    """Decodes forward while that is worth it; the count of leading `ticks` it found and stored."""
    found = 0
    for frame in frames:
        assert frame.pts is not None
        if frame.pts < ticks[found]:
            continue
        if frame.pts > ticks[found]:
            return found
        out_THWC[found] = small_rgb(frame, out_THWC.shape[2], out_THWC.shape[1], "rgb24")
        found += 1
        if found == len(ticks) or _should_seek(packets, frame.pts, ticks[found]):
            return found
    return found


def _should_seek(packets: Packets, here: int, wanted: int) -> bool:
    """Whether a keyframe lies between, and a seek does not cost more than it saves."""
    return bisect_right(packets.key_ticks, wanted) > bisect_right(packets.key_ticks, here) + 1


def decoded_from_key(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames from the next keyframe on in presentation order, without its leading frames and without damaged ones."""
    first_key: int | None = None
    for packet in container.demux(stream):
        if first_key is None:
            if not packet.is_keyframe or packet.size == 0:
                continue
            first_key = packet.pts
        for frame in packet.decode():
            if frame.pts is not None and first_key is not None and frame.pts >= first_key and not frame.is_corrupt:
                yield frame


def rotation_deg(frame: VideoFrame) -> int:
    """The clockwise turn that makes the picture upright: 0, 90, 180 or 270."""
    return round(-frame.rotation / 90) * 90 % 360


def small_rgb(frame: VideoFrame, width_px: int, height_px: int, pixel_format: str) -> np.ndarray:
    """The upright frame, resized by area, uint8 (height, width, 3)."""
    turn = rotation_deg(frame)
    stored_w, stored_h = (height_px, width_px) if turn in (90, 270) else (width_px, height_px)
    small = _scaler.reformat(
        frame, width=stored_w, height=stored_h, format=pixel_format, interpolation="AREA", threads=1
    )
    return np.rot90(small.to_ndarray(), k=-turn // 90) if turn else small.to_ndarray()


def first_frame(location: str) -> VideoFrame:
    """The first frame that decodes."""
    with opened(location) as (container, stream):
        try:
            return next(decoded_from_key(container, stream))
        except (StopIteration, StreamEnd) as error:
            raise ReadError(f"{location}: no frame can be decoded; re-encode the file") from error
