"""The right frame from every odd file: the pixels say which one it is."""

from pathlib import Path

import av
import numpy as np
import pytest

from stages.media.child import ReadError
from stages.media.reader import Reader
from tests import zoo

NAMES = sorted(zoo.ZOO)


def numbers(reader: Reader, path: Path, ticks: list[int] | tuple[int, ...]) -> list[int]:
    return [zoo.number_of(frame) for frame in reader.frames(str(path), ticks, 64, 32)]


@pytest.mark.parametrize("name", NAMES)
def test_packet_table_decoding_and_scan_agree(name: str, reader: Reader, cage: Path) -> None:
    shown = zoo.ZOO[name][1]
    packets = reader.packets(str(cage / name))
    facts = reader.probe(str(cage / name))
    assert facts is not None
    assert facts.n_frames == len(packets.ticks) == len(shown)
    assert (facts.start_tick, facts.end_tick) == (packets.ticks[0], packets.end_tick)
    assert packets.end_tick > packets.ticks[-1]
    assert numbers(reader, cage / name, packets.ticks) == shown
    assert reader.scan(str(cage / name), len(shown)).ticks == packets.ticks


@pytest.mark.parametrize("name", NAMES)
def test_random_requests(name: str, reader: Reader, cage: Path) -> None:
    rng = np.random.default_rng(7)
    shown = zoo.ZOO[name][1]
    ticks = reader.packets(str(cage / name)).ticks
    for size in (1, 1, 1, 1, 1, 1, 2, 3, 5):
        wanted = sorted(int(i) for i in rng.choice(len(shown), size, replace=False))
        assert numbers(reader, cage / name, [ticks[i] for i in wanted]) == [shown[i] for i in wanted]


@pytest.mark.parametrize("name", ["open_gop.mp4", "hevc_open_gop.mp4"])
def test_zoo_has_open_gops(name: str, cage: Path) -> None:
    key: int | None = None
    leading = 0
    with av.open(str(cage / name)) as container:
        for packet in container.demux(video=0):
            if packet.pts is None:
                continue
            if packet.is_keyframe:
                key = packet.pts
            leading += key is not None and packet.pts < key
    assert leading > 0


def test_edit_list_hides_frames_that_are_in_the_file(reader: Reader, cage: Path) -> None:
    with av.open(str(cage / "edit_list.mp4")) as container:
        in_file = sum(packet.size > 0 for packet in container.demux(video=0))
    assert in_file == zoo.N_FRAMES
    assert reader.packets(str(cage / "edit_list.mp4")).ticks[0] == 0


def test_variable_frame_rate_keeps_its_times(reader: Reader, cage: Path) -> None:
    facts = reader.probe(str(cage / "vfr.mp4"))
    packets = reader.packets(str(cage / "vfr.mp4"))
    assert facts is not None
    assert facts.is_vfr
    gaps = np.diff(packets.ticks) - np.diff(zoo.VFR_TICKS)
    assert np.abs(gaps).max() <= 1
    assert abs(packets.ticks[0] / 12800 - zoo.VFR_TICKS[0] / 12800) < 0.001
    constant = reader.probe(str(cage / "b_frames.mp4"))
    assert constant is not None
    assert not constant.is_vfr


def test_matroska_rounding_is_not_variable(reader: Reader, tmp_path: Path) -> None:
    ticks = [round(number * 12800 / 24) for number in range(48)]
    path = zoo.write(tmp_path / "24.mkv", options=zoo.X264, frames=[zoo.picture(n) for n in range(48)], ticks=ticks)
    facts = reader.probe(str(path))
    assert facts is not None
    assert not facts.is_vfr


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation(turn: int, reader: Reader, tmp_path: Path) -> None:
    path = zoo.write(tmp_path / "turned.mp4", options=zoo.X264, rotation_deg=turn)
    facts = reader.probe(str(path))
    assert facts is not None
    assert facts.rotation_deg == turn
    upright = (zoo.WIDTH_PX, zoo.HEIGHT_PX) if turn == 180 else (zoo.HEIGHT_PX, zoo.WIDTH_PX)
    assert (facts.width_px, facts.height_px) == upright
    (frame_HWC,) = reader.frames(str(path), [zoo.STEP * 37], facts.width_px, facts.height_px)
    as_stored_HWC = np.rot90(frame_HWC, turn // 90)  # counter-clockwise: undoes the clockwise turn
    assert zoo.number_of(as_stored_HWC) == 37
    assert np.abs(as_stored_HWC.astype(int) - zoo.picture(37)).mean() < 12


@pytest.mark.parametrize(
    ("suffix", "codec"), [("avi", "mpeg4"), ("avi", "libx264"), ("mov", "libx264"), ("ts", "libx264")]
)
def test_long_films_with_many_keyframes(suffix: str, codec: str, reader: Reader, tmp_path: Path) -> None:
    options = {"bf": "2", "g": "12", "qscale": "3"} if codec == "mpeg4" else zoo.X264
    if suffix == "avi" and codec == "libx264":
        options = options | {"bf": "0"}
    path = tmp_path / f"long.{suffix}"
    zoo.write(path, codec, options, frames=[zoo.picture(n % 256) for n in range(400)])
    ticks = reader.packets(str(path)).ticks
    assert len(ticks) == 400
    for wanted in ([399], [200, 390], [3, 4, 5], [0, 100, 101, 399]):
        assert numbers(reader, path, [ticks[i] for i in wanted]) == [i % 256 for i in wanted]


def test_a_tick_that_is_no_frame(reader: Reader, cage: Path) -> None:
    with pytest.raises(ReadError, match=r"b_frames\.mp4: 1 of 2 ticks are no frames, the first is 513"):
        reader.frames(str(cage / "b_frames.mp4"), [512, 513], 64, 32)


def test_h264_with_b_frames_in_avi_is_refused(reader: Reader, tmp_path: Path) -> None:
    """AVI has no presentation times and FFmpeg guesses wrongly here: an error, never the wrong frame."""
    path = zoo.write(tmp_path / "guess.avi", options=zoo.X264)
    facts = reader.probe(str(path))
    assert facts is not None
    with pytest.raises(ReadError, match=r"guess\.avi: damaged: \d+ of \d+ frames decode"):
        reader.scan(str(path), facts.n_frames)


def test_remote_file(reader: Reader, cage: Path) -> None:
    """An fsspec file system without etags is refused; frames are read all the same."""
    location = f"local://{cage / 'b_frames.mp4'}"
    assert [zoo.number_of(f) for f in reader.frames(location, [zoo.STEP * 30], 64, 32)] == [30]
    with pytest.raises(ReadError, match="no etag"):
        reader.probe(location)
