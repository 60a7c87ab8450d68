"""Films with holes that a decoder does not see: packets of which bytes are gone, streams and codecs nobody knows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.media.child import ReadError
from stages.media.facts import StreamFacts
from stages.media.reader import Reader
from tests import zoo

TS_PACKET = 188
VIDEO_PID = 0x100
NO_B_FRAMES = zoo.X264 | {"bf": "0"}


def video_packets(film: bytes) -> list[int]:
    """Where the transport packets of the pictures begin."""
    starts = range(0, len(film), TS_PACKET)
    return [at for at in starts if int.from_bytes(film[at + 1 : at + 3], "big") & 0x1FFF == VIDEO_PID]


def without_a_packet(path: Path) -> int:
    """A `.ts` film of which one transport packet is gone, behind the second keyframe; the number of the frame."""
    film = zoo.write(path, options=NO_B_FRAMES).read_bytes()
    at = video_packets(film)[-20]
    path.write_bytes(film[:at] + film[at + TS_PACKET :])
    return zoo.N_FRAMES - 20


def test_a_lost_packet_of_a_ts_is_damage(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "hole.ts"
    without_a_packet(path)
    with pytest.raises(ReadError, match=r"hole\.ts: damaged: a packet at \d\.\d\d s is not whole; download it again"):
        reader.probe(str(path))


def test_what_lies_before_a_lost_packet_is_used(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "hole.ts"
    lost = without_a_packet(path)
    facts = reader.probe(str(path), "prefix")
    assert facts is not None
    assert facts.damage is not None
    assert lost - 2 <= facts.n_frames <= lost
    ticks = reader.packets(str(path)).ticks[: facts.n_frames]
    numbers = [zoo.number_of(frame) for frame in reader.frames(str(path), ticks, zoo.WIDTH_PX, zoo.HEIGHT_PX)]
    assert numbers == list(range(facts.n_frames))


def test_joined_segments_are_whole(reader: Reader, tmp_path: Path) -> None:
    """Their counters begin again at each seam, which looks like a loss, and there is none: a keyframe follows."""
    pictures = [zoo.picture(number) for number in range(zoo.N_FRAMES)]
    film = b""
    for first, last in ((0, 24), (24, zoo.N_FRAMES)):
        ticks = [zoo.STEP * number for number in range(first, last)]
        part = zoo.write(tmp_path / "part.ts", options=NO_B_FRAMES, frames=pictures[first:last], ticks=ticks)
        film += part.read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(film)
    facts = reader.probe(str(path))
    assert facts is not None
    assert facts.n_frames == zoo.N_FRAMES
    ticks = reader.packets(str(path)).ticks
    numbers = [zoo.number_of(frame) for frame in reader.frames(str(path), ticks, zoo.WIDTH_PX, zoo.HEIGHT_PX)]
    assert numbers == list(range(zoo.N_FRAMES))


def unknown_codec(path: Path) -> None:
    path.write_bytes(zoo.write(path, options=zoo.X264).read_bytes().replace(b"avc1", b"zzz1"))


def no_streams(path: Path) -> None:
    path.write_bytes(zoo.write(path, options=zoo.X264).read_bytes().replace(b"\x16\x54\xae\x6b", b"\x16\x54\xae\x6c"))


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("codec.mp4", unknown_codec, "no decoder for its pictures"),
        ("tracks.mkv", no_streams, "holds neither pictures nor sound: its headers are damaged"),
    ],
)
def test_headers_of_nothing_known_are_named(
    name: str, make: Callable[[Path], None], says: str, reader: Reader, tmp_path: Path
) -> None:
    make(tmp_path / name)
    with pytest.raises(ReadError, match=says) as caught:
        reader.probe(str(tmp_path / name))
    assert type(caught.value) is ReadError
    assert str(tmp_path / name) in str(caught.value)


def test_a_stream_that_begins_late_is_no_crash(reader: Reader, tmp_path: Path) -> None:
    """PyAV 18.1 reads past its own list of streams then: at random all is well, or it raises an IndexError."""
    silent = zoo.write(tmp_path / "silent.ts", options=zoo.X264).read_bytes()
    path = zoo.write_with_sound(tmp_path / "late.ts", 2.0)
    path.write_bytes(silent + path.read_bytes())
    try:
        ended: type = type(reader.probe(str(path)))
    except ReadError as error:
        ended = type(error)
    assert ended in (StreamFacts, ReadError)
