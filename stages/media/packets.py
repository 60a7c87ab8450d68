"""Opens a video and reads its packets: which frames a player would show, and when. Runs in the decoder child."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import fsspec
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.stream import VideoStream

from stages.media.child import ReadError
from stages.media.facts import Missing, Packets

TOLERANCE_S = 0.5  # by which the data of a whole file may end before the length in its header
MAX_TICK = 2**62  # of either sign; sums of two fit into a row
TEXT_BYTES = frozenset(range(32, 127)) | {9, 10, 12, 13}


class NoVideoStream(ReadError):
    """The file is well-formed and holds no moving picture: a decision for the stage, not an accident."""


def is_remote(location: str) -> bool:
    return "://" in location and not location.startswith("file://")


def local_path(location: str) -> Path:
    return Path(location.removeprefix("file://"))


@contextmanager
def opened(location: str, *, strict: bool = False) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A container and its first real video stream; every error names the file.

    `strict` raises on pictures that FFmpeg would mend. In open groups of pictures it raises on sound ones too: the
    leading frames after a seek refer to frames that were not decoded.
    """
    with named(location), _container(location) as container:
        if not container.streams.video and not container.streams.audio:
            raise ReadError(f"{location}: holds neither pictures nor sound: its headers are damaged; download it again")
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise NoVideoStream(f"{location}: no stream of moving pictures")
        stream = streams[0]
        if stream.codec_context is None:  # of a codec that FFmpeg does not know
            raise ReadError(f"{location}: no decoder for its pictures; re-encode or download it again")
        stream.codec_context.thread_count = 1
        # Else FFmpeg fills damaged pictures with parts of others and says nothing: of 1200 requests for frames of H.264
        # films with 60 damaged bytes, 33 gave the picture of another frame and 36 a broken one; strictly, 0 and 1.
        if strict:
            stream.codec_context.options = {"err_detect": "explode"}
        yield container, stream


@contextmanager
def named(location: str) -> Iterator[None]:
    """Turns what libraries raise into a ReadError with file, cause and remedy."""
    try:
        yield
    except MemoryError:
        raise
    except FileNotFoundError as error:
        raise ReadError(f"{location}: no such file; check the manifest") from error
    except FFmpegError as error:
        raise ReadError(f"{location}: cannot be decoded: {error.strerror}; re-encode or download it again") from error
    except OSError as error:
        raise ReadError(f"{location}: cannot be read: {error}") from error


@contextmanager
def _container(location: str) -> Iterator[InputContainer]:
    if is_remote(location):
        with fsspec.open(location, "rb") as file, av.open(file, "r", metadata_errors="replace") as container:
            yield container
        return
    path = local_path(location)
    if path.is_dir():
        raise ReadError(f"{location}: is a directory, not a video")
    if path.stat().st_size == 0:
        raise ReadError(f"{location}: is empty (0 bytes); download it again")
    # "file:" keeps colons in names from being read as protocols; playlists must not reach other hosts.
    options = {"protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", "r", options=options, metadata_errors="replace")
    except InvalidDataError as error:
        raise ReadError(f"{location}: {_why_invalid(path)}") from error
    with container:
        yield container


def _why_invalid(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    if all(byte in TEXT_BYTES for byte in head):
        return "is text, not a video; remove it from the input"
    if head[4:8] == b"ftyp":
        return "holds no readable index (moov): cut off or still being written; download it again"
    return "is in no known video format; remove it, or download it again"


def read_packets(location: str) -> Packets:
    """The packet table of a video, remembered while the file keeps its size and date."""
    return _read_packets(location, _stamp(location))[0]


def missing_part(location: str) -> Missing | None:
    """What the header promises and the file does not hold."""
    return _read_packets(location, _stamp(location))[1]


def _stamp(location: str) -> int:
    if not is_remote(location) and local_path(location).exists():
        stat = local_path(location).stat()
        return hash((stat.st_size, stat.st_mtime_ns))
    return 0


@lru_cache(maxsize=4)
def _read_packets(location: str, stamp: int) -> tuple[Packets, Missing | None]:
    with opened(location) as (container, stream):
        table, last_s = PacketTable(location), 0.0
        for packet in demuxed(location, container):
            if packet.stream_index == stream.index:
                table.add(packet)
            elif packet.pts is not None:
                last_s = max(last_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        packets = table.close()
        return packets, _missing(container, stream, table.n_packets, packets, last_s)


def demuxed(location: str, container: InputContainer, *streams: VideoStream) -> Iterator[av.Packet]:
    """The packets of these streams, or of all; ReadError at the end of a file in which another stream began late."""
    try:
        yield from container.demux(*streams)
    except IndexError as error:  # PyAV 18.1 ends all streams that there are now, and knows those of the beginning
        raise ReadError(
            f"{location}: a stream begins in the middle of the file; remux it: ffmpeg -i IN -map 0:v:0 -c copy OUT.mkv"
        ) from error


def _missing(
    container: InputContainer, stream: VideoStream, n_packets: int, packets: Packets, last_s: float
) -> Missing | None:
    formats = container.format.name.split(",")
    if "mov" in formats and n_packets < stream.frames:
        why = f"cut off: {n_packets} of {stream.frames} frames are in the file"
        return Missing(n_promised=stream.frames, why=why)
    assert stream.time_base is not None
    last_s = max(last_s, float(packets.end_tick * stream.time_base))
    promised_s = 0.0
    if "avi" in formats:  # counts ticks; the container's own duration is a guess from the bytes that are there
        promised_s = float(stream.frames * stream.time_base)
    elif container.duration and {"matroska", "flv"} & set(formats):
        promised_s = container.duration / av.time_base  # from time 0 on, also where the film begins later
    if last_s < 0.99 * promised_s - TOLERANCE_S:
        return Missing(n_promised=None, why=f"cut off: the data end at {last_s:.1f} of {promised_s:.1f} s")
    if packets.torn_tick is not None:
        torn_s = float(packets.torn_tick * stream.time_base)
        return Missing(n_promised=None, why=f"damaged: a packet at {torn_s:.2f} s is not whole")
    return None


class PacketTable:
    """Collects the packets of one video stream in the order of the file."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._shown: list[tuple[int, int]] = []  # tick and duration
        self._keys: list[int] = []
        self._has_open_gop = False
        self._in_doubt: list[int] = []  # a packet that is not whole, and those that came since
        self._torn_tick: int | None = None
        self.n_packets = 0  # whole ones

    def add(self, packet: Any) -> None:
        """Takes a packet in; those before the first keyframe and those that an edit list hides are not shown."""
        if packet.size == 0:
            return
        self.n_packets += not packet.is_corrupt
        if packet.pts is None:
            raise ReadError(
                f"{self._location}: packets without presentation times;"
                " remux it: ffmpeg -fflags +genpts -i IN -c copy OUT.mkv"
            )
        if packet.is_keyframe:
            self._keys.append(packet.pts)
        self._note_torn(packet)
        self._has_open_gop |= bool(self._keys) and packet.pts < self._keys[-1]
        # Leading frames of an open GOP at the start refer to frames that are not there.
        if self._keys and packet.pts >= self._keys[0] and not packet.is_discard:
            self._shown.append((packet.pts, packet.duration or 0))

    def _note_torn(self, packet: Any) -> None:
        """The demuxer knows of bytes that are gone, the decoder often does not: of 64 films with flipped, missing or
        swapped bytes 3 showed frames at each other's times. Joined segments tear at their seams and lack nothing: in
        a `.ts` the next packet but one is a keyframe then."""
        if self._torn_tick is not None:
            self._torn_tick = min(self._torn_tick, packet.pts)
        elif self._in_doubt:
            self._in_doubt = [] if packet.is_keyframe else [*self._in_doubt, packet.pts]
            if len(self._in_doubt) > 2:
                self._torn_tick = min(self._in_doubt)
        if packet.is_corrupt and self._keys and not self._in_doubt:
            self._in_doubt = [packet.pts]

    def close(self) -> Packets:
        """The table; the last frame lasts as long as its packet says, else as the frame before it."""
        shown = sorted(dict(self._shown).items())
        if not shown:
            raise ReadError(f"{self._location}: no decodable frame: no packet, or no keyframe; re-encode it")
        ticks = [tick for tick, _ in shown]
        if max(-ticks[0], ticks[-1]) > MAX_TICK:
            raise ReadError(
                f"{self._location}: frames at ticks {ticks[0]} to {ticks[-1]}: no film lasts so long; remux it"
            )
        last = shown[-1][1] or (ticks[-1] - ticks[-2] if len(ticks) > 1 else 1)
        return Packets(
            ticks=tuple(ticks),
            end_tick=ticks[-1] + last,
            key_ticks=tuple(sorted(set(self._keys))),
            has_open_gop=self._has_open_gop,
            torn_tick=min(self._in_doubt, default=None) if self._torn_tick is None else self._torn_tick,
        )


def file_id(location: str) -> tuple[str, str, int]:
    """Identity, its kind and the size in bytes: the hash of the content, remotely of size and etag."""
    with named(location):
        if not is_remote(location):
            with local_path(location).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest(), "bytes", os.fstat(file.fileno()).st_size
        filesystem, path = fsspec.core.url_to_fs(location)
        info = filesystem.info(path)
    etag = info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("content_md5")
    if not etag:
        raise ReadError(f"{location}: the store gives no etag to identify the file by; copy it to a local disk")
    size = int(info["size"])
    return hashlib.sha256(f"{size}:{etag}".encode()).hexdigest(), "etag", size
