"""Headers and packets that claim 10 hours, or no time that can be: named at once, from a child of bounded memory."""

import struct
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipeline.collect import Finished, finished
from pipeline.plan import Plan
from pipeline.run_local import run_local
from schemas.clip import DecodedClip
from schemas.video import Source
from stages.decode_clip import DecodeClip
from stages.media.child import Limits, ReadError
from stages.media.reader import Reader
from stages.probe_video import ProbeVideo
from stages.split_shots import SplitShots
from tests import zoo

TEN_HOURS_S = 36_000
NO_B_FRAMES = zoo.X264 | {"bf": "0"}


def built(film: Path, store: Path) -> Finished:
    source = Source(uri=film.name, location=str(film), caption=None, qa=())
    plan = (
        Plan.of([source], Source)
        .then(ProbeVideo(timeout_s=60, memory_gb=0.5))
        .then(SplitShots(detector="content", threshold=255.0, min_shot_s=0.1, timeout_s=60, memory_gb=0.5))
        .then(DecodeClip(store_dir=str(store), track_fps=25.0, timeout_s=60, memory_gb=0.5))
    )
    (done,) = finished(plan, run_local(plan))
    return done


def put(film: bytearray, box: bytes, offset: int, value: int) -> None:
    """A number of 32 bits, `offset` bytes behind the name of an mp4 box."""
    at = film.index(box) + 4 + offset
    film[at : at + 4] = value.to_bytes(4, "big")


def long_header(path: Path) -> None:
    film = bytearray(zoo.write(path, options=NO_B_FRAMES).read_bytes())
    for box in (b"mvhd", b"mdhd"):
        scale_at = film.index(box) + 4 + 12
        put(film, box, 16, TEN_HOURS_S * int.from_bytes(film[scale_at : scale_at + 4], "big"))
    path.write_bytes(film)


def many_frames(n: int) -> Callable[[Path], None]:
    """All samples as large as the first: a table of any length takes 60 bytes."""

    def make(path: Path) -> None:
        film = bytearray(zoo.write(path, options=NO_B_FRAMES).read_bytes())
        put(film, b"stts", 4 + 4, n)
        first_size_at = film.index(b"stsz") + 4 + 12
        put(film, b"stsz", 4, int.from_bytes(film[first_size_at : first_size_at + 4], "big"))
        put(film, b"stsz", 4 + 4, n)
        put(film, b"stsc", 4 + 4 + 4, n)
        path.write_bytes(film)

    return make


def long_matroska(path: Path) -> None:
    film = bytearray(zoo.write(path, options=zoo.X264).read_bytes())
    at = film.index(b"\x44\x89\x88") + 3  # Duration, a double of milliseconds
    film[at : at + 8] = struct.pack(">d", TEN_HOURS_S * 1000.0)
    path.write_bytes(film)


def gap_of_ten_hours(path: Path) -> None:
    """Two films of a second, ten hours apart."""
    gap = TEN_HOURS_S * zoo.TIME_BASE.denominator
    zoo.write(path, options=zoo.X264, ticks=[zoo.STEP * k + gap * (k >= 30) for k in range(zoo.N_FRAMES)])


def endless(path: Path) -> None:
    film = bytearray(zoo.write(path, options=zoo.X264, ticks=[zoo.STEP * k + 2**62 for k in range(60)]).read_bytes())
    at = film.index(b"\xe7\x88", film.index(b"\x1f\x43\xb6\x75")) + 2  # the time of the first cluster, in milliseconds
    film[at : at + 8] = (2**62 + 5).to_bytes(8, "big")
    path.write_bytes(film)


@pytest.mark.parametrize(
    ("name", "make", "stage", "reason", "says"),
    [
        ("frames.mp4", many_frames(TEN_HOURS_S * zoo.RATE_HZ), "ProbeVideo", "ReadError", "of 900000 frames are in"),
        ("most_frames.mp4", many_frames(2**31 - 1), "ProbeVideo", "ReadError", "most_frames.mp4: "),
        ("all_frames.mp4", many_frames(2**32 - 1), "ProbeVideo", "ReadError", "all_frames.mp4: "),
        ("long.mkv", long_matroska, "ProbeVideo", "ReadError", "cut off: the data end at 2.4 of 36000.0 s"),
        ("gap.mp4", gap_of_ten_hours, "DecodeClip", "too_few_frames", "1 frames at 25 a second"),
        ("endless.mkv", endless, "ProbeVideo", "ReadError", "no film lasts so long"),
    ],
)
def test_a_claim_is_named(
    name: str, make: Callable[[Path], None], stage: str, reason: str, says: str, tmp_path: Path
) -> None:
    make(tmp_path / name)
    done = built(tmp_path / name, tmp_path / "store")
    assert not done.rows.num_rows
    assert {(o.stage, o.reason) for o in done.outcomes} == {(stage, reason)}
    assert says in done.outcomes[0].detail


def test_a_long_header_over_whole_tables_changes_nothing(tmp_path: Path) -> None:
    """What an mp4 holds is in its sample tables; the length in its header is never asked for."""
    long_header(tmp_path / "long.mp4")
    done = built(tmp_path / "long.mp4", tmp_path / "store")
    (clip,) = DecodedClip.from_arrow(done.rows)
    assert (clip.start_tick, clip.end_tick) == (0, zoo.N_FRAMES * zoo.STEP)


def test_a_film_that_begins_late_is_not_cut_off(reader: Reader, tmp_path: Path) -> None:
    """Matroska counts its length from time 0, not from the first frame."""
    hour = 3600 * zoo.TIME_BASE.denominator
    path = zoo.write(tmp_path / "late.mkv", options=zoo.X264, ticks=[hour + zoo.STEP * k for k in range(60)])
    facts = reader.probe(str(path))
    assert facts is not None
    assert (facts.start_tick, facts.n_frames, facts.damage) == (3_600_000, 60, None)


def test_a_claim_costs_neither_time_nor_memory(tmp_path: Path) -> None:
    path = tmp_path / "frames.mp4"
    many_frames(2**31 - 1)(path)
    began = time.monotonic()
    with Reader(Limits(timeout_s=60, memory_gb=0.5)) as reader:
        with pytest.raises(ReadError):
            reader.probe(str(path))
        assert reader.pid is not None
        assert psutil.Process(reader.pid).memory_info().rss < 400e6  # 170e6 is what the libraries take
    assert time.monotonic() - began < 60
