"""Small odd videos whose pixels say their frame number: what players, phones and cameras make of a film."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH_PX, HEIGHT_PX, BLOCK_PX = 128, 64, 32
N_BITS = (WIDTH_PX // BLOCK_PX) * (HEIGHT_PX // BLOCK_PX)
N_FRAMES = 60
RATE_HZ = 25
TIME_BASE = Fraction(1, 12800)
STEP = 512  # ticks a frame


def picture(number: int) -> np.ndarray:
    """A frame (64, 128, 3) of black and white blocks that hold `number` in binary, the lowest bit top left."""
    bits = [(number >> bit) & 1 for bit in range(N_BITS)]
    blocks = np.array(bits, np.uint8).reshape(HEIGHT_PX // BLOCK_PX, WIDTH_PX // BLOCK_PX) * 200 + 28
    grey_HW = np.kron(blocks, np.ones((BLOCK_PX, BLOCK_PX), np.uint8))
    return np.repeat(grey_HW[..., None], 3, axis=2)


def number_of(frame_HWC: np.ndarray) -> int:
    """The number in a frame of any size; ValueError where a block is neither black nor white."""
    height_px, width_px, _ = frame_HWC.shape
    rows, columns = HEIGHT_PX // BLOCK_PX, WIDTH_PX // BLOCK_PX
    total = 0
    for bit in range(N_BITS):
        y = int((bit // columns + 0.5) * height_px / rows)
        x = int((bit % columns + 0.5) * width_px / columns)
        level = float(frame_HWC[y - 1 : y + 2, x - 1 : x + 2].mean())
        if 90 < level < 165:
            raise ValueError(f"block {bit} has level {level:.0f}")
        total |= (level > 128) << bit
    return total


def write(
    path: Path,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    *,
    frames: Sequence[np.ndarray] | None = None,
    ticks: Sequence[int] | None = None,
    rotation_deg: int = 0,
    keep: Callable[[int, Any], bool] = lambda index, packet: True,
    shift: int = 0,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encodes numbered frames at `ticks` of 1/12800 s; `keep` and `shift` act on packets in decoding order."""
    frames = [picture(number) for number in range(N_FRAMES)] if frames is None else frames
    ticks = [STEP * number for number in range(len(frames))] if ticks is None else ticks
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=RATE_HZ, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = TIME_BASE if codec != "mpeg4" else Fraction(1, RATE_HZ)
        if rotation_deg:
            stream.set_display_rotation(-rotation_deg)
        index = 0
        for picture_HWC, tick in [*zip(frames, ticks, strict=True), (None, 0)]:
            frame = None
            if picture_HWC is not None:
                frame = av.VideoFrame.from_ndarray(picture_HWC, format="rgb24")
                frame.time_base = stream.codec_context.time_base
                frame.pts = int(tick * TIME_BASE / frame.time_base)
            for packet in stream.encode(frame):
                if keep(index, packet):
                    if shift:
                        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    container.mux(packet)
                index += 1
    return path


def write_format_change(path: Path) -> Path:
    """Numbered frames in 4:2:0, from number 30 on in 4:4:4: two encoders in one H.264 stream, as in a spliced film."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE_HZ, options={"x264-params": "repeat-headers=1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for pixel_format, numbers in (("yuv420p", range(30)), ("yuv444p", range(30, N_FRAMES))):
            encoder: Any = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = WIDTH_PX, HEIGHT_PX, pixel_format
            encoder.time_base = Fraction(1, RATE_HZ)
            encoder.options = X264 | {"x264-params": X264["x264-params"] + ":repeat-headers=1"}
            for number in [*numbers, None]:
                frame = None
                if number is not None:
                    frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24").reformat(format=pixel_format)
                    frame.pts, frame.time_base = number, encoder.time_base
                for packet in encoder.encode(frame):
                    packet.stream, packet.time_base = stream, encoder.time_base
                    container.mux(packet)
    return path


def write_with_sound(path: Path, sound_s: float) -> Path:
    """The numbered film with silence beside it that lasts longer, as recorders leave it."""
    silent = write(path.with_name(f"silent-{path.name}"), options=X264)
    with av.open(str(silent)) as source, av.open(str(path), "w") as container:
        video = container.add_stream_from_template(source.streams.video[0])
        audio: Any = container.add_stream("aac", rate=44100)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
        for index in range(int(sound_s * 44100 / 1024)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate, frame.pts = 44100, 1024 * index
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    silent.unlink()
    return path


def write_cut_off(path: Path) -> Path:
    """The numbered film with its index in front and its last fifth missing."""
    whole = write(path, options=X264, container_options={"movflags": "faststart"}).read_bytes()
    path.write_bytes(whole[: len(whole) * 8 // 10])
    return path


def write_damaged(path: Path) -> Path:
    """The numbered film with 400 bytes of zeros at two thirds."""
    whole = write(path, options=X264, container_options={"movflags": "faststart"}).read_bytes()
    middle = len(whole) * 2 // 3
    path.write_bytes(whole[:middle] + bytes(400) + whole[middle + 400 :])
    return path


X264 = {"g": "24", "bf": "3", "x264-params": "scenecut=0:keyint=24:min-keyint=24", "preset": "veryfast"}
X265 = {
    "x265-params": "keyint=24:min-keyint=24:bframes=3:open-gop=1:scenecut=0:log-level=none:pools=1",
    "preset": "ultrafast",
}
VFR_TICKS = [1320 + STEP * number + (137 * number) % 300 for number in range(N_FRAMES)]

# name -> what makes it, and the numbers of the frames that a player shows
ZOO: dict[str, tuple[Callable[[Path], Path], list[int]]] = {
    "b_frames.mp4": (lambda path: write(path, options=X264), list(range(N_FRAMES))),
    "open_gop.mp4": (
        lambda path: write(path, options=X264 | {"x264-params": X264["x264-params"] + ":open-gop=1"}),
        list(range(N_FRAMES)),
    ),
    "b_frames.mkv": (lambda path: write(path, options=X264), list(range(N_FRAMES))),
    "hevc_open_gop.mp4": (lambda path: write(path, "libx265", X265), list(range(N_FRAMES))),
    "vp9.webm": (lambda path: write(path, "libvpx-vp9", {"g": "24", "cpu-used": "8"}), list(range(N_FRAMES))),
    "av1.mp4": (
        lambda path: write(path, "libsvtav1", {"g": "24", "preset": "12", "svtav1-params": "lp=1"}),
        list(range(N_FRAMES)),
    ),
    "mpeg4.avi": (lambda path: write(path, "mpeg4", {"g": "12", "qscale": "3"}), list(range(N_FRAMES))),
    "vfr.mp4": (lambda path: write(path, options=X264, ticks=VFR_TICKS), list(range(N_FRAMES))),
    "vfr.mkv": (lambda path: write(path, options=X264, ticks=VFR_TICKS), list(range(N_FRAMES))),
    "late_keyframe.ts": (
        lambda path: write(path, options=X264, keep=lambda index, packet: index >= 9),
        list(range(24, N_FRAMES)),
    ),
    "late_keyframe_open_gop.ts": (
        lambda path: write(
            path,
            options=X264 | {"x264-params": X264["x264-params"] + ":open-gop=1"},
            keep=lambda index, packet: index >= 9,
        ),
        list(range(24, N_FRAMES)),
    ),
    "edit_list.mp4": (
        lambda path: write(path, options=X264, shift=STEP * 5, container_options={"avoid_negative_ts": "disabled"}),
        list(range(5, N_FRAMES)),
    ),
    "format_change.mkv": (write_format_change, list(range(N_FRAMES))),
    "format_change.ts": (write_format_change, list(range(N_FRAMES))),
    "long_sound.mp4": (lambda path: write_with_sound(path, 5.0), list(range(N_FRAMES))),
}
