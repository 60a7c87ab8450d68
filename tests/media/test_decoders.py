"""Each decoder on each odd file: the frame that was asked for, or an error that says why; never another frame."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from schemas.clip import DecodedClip
from stages.decode_clip import DecodeClip
from stages.media.child import Limits, ReadError, ReadRefused
from stages.media.decoders import DECORD, PYAV, TORCHCODEC
from stages.media.frame_store import ClipFrames
from stages.media.reader import Reader
from tests import zoo
from tests.media.test_stages import decode

DECODERS = (PYAV, DECORD, TORCHCODEC)
MAX_LEVELS = 12  # mean difference to the picture that was encoded: another frame, or a broken one, is further away

# What other decoders are wrong about, and how that is found out. All other files must be read, and rightly.
COUNTS, OPEN_GOP = r"counts \d+ frames where the packets hold \d+", "open groups of pictures"
REFUSED = {
    (DECORD, "open_gop.mp4"): OPEN_GOP,
    (DECORD, "hevc_open_gop.mp4"): OPEN_GOP,
    (DECORD, "av1.mp4"): "cannot read it",
    (DECORD, "vfr.mp4"): r"shows frame 0 at 0\.000 s, the packets at 0\.103 s",
    (DECORD, "vfr.mkv"): r"shows frame 0 at 0\.000 s, the packets at 0\.103 s",
    (DECORD, "late_keyframe.ts"): COUNTS,
    (DECORD, "late_keyframe_open_gop.ts"): COUNTS,
    (DECORD, "edit_list.mp4"): COUNTS,
    (DECORD, "format_change.ts"): "shows frame 0 at",
    (TORCHCODEC, "late_keyframe.ts"): COUNTS,
    (TORCHCODEC, "late_keyframe_open_gop.ts"): COUNTS,
    (TORCHCODEC, "format_change.ts"): "shows frame",
}


@pytest.fixture(scope="module", params=DECODERS)
def decoder(request: pytest.FixtureRequest, reader: Reader, cage: Path) -> str:
    """The name of a decoder that can be loaded here; torchcodec needs FFmpeg's libraries."""
    try:
        reader.frames(str(cage / "b_frames.mp4"), [0], 64, 32, request.param)
    except ReadError as error:
        if "cannot be loaded" in str(error):
            pytest.skip(str(error))
        raise
    return request.param


def wrong(frames_THWC: np.ndarray, shown: Sequence[int], turn: int = 0) -> list[int]:
    """Which of the frames (upright, turned clockwise by `turn`) do not look like the numbers."""
    far = []
    for frame_HWC, number in zip(frames_THWC, shown, strict=True):
        stored_HWC = np.rot90(frame_HWC, turn // 90).astype(int)
        if np.abs(stored_HWC - zoo.picture(number)).mean() > MAX_LEVELS:
            far.append(number)
    return far


@pytest.mark.parametrize("name", sorted(zoo.ZOO))
def test_the_right_frame_or_none(name: str, decoder: str, reader: Reader, cage: Path) -> None:
    path, shown = str(cage / name), zoo.ZOO[name][1]
    ticks = reader.packets(path).ticks
    rng = np.random.default_rng(3)
    requests = [list(range(len(shown))), *([int(k)] for k in rng.choice(len(shown), 12, replace=False))]
    requests += [sorted(rng.choice(len(shown), 5, replace=False).tolist()) for _ in range(3)]
    for wanted in requests:
        if (decoder, name) in REFUSED:
            with pytest.raises(ReadRefused, match=f"{name}: {decoder} .*{REFUSED[decoder, name]}.*; use decoder: pyav"):
                reader.frames(path, [ticks[k] for k in wanted], zoo.WIDTH_PX, zoo.HEIGHT_PX, decoder)
            continue
        frames_THWC = reader.frames(path, [ticks[k] for k in wanted], zoo.WIDTH_PX, zoo.HEIGHT_PX, decoder)
        assert not wrong(frames_THWC, [shown[k] for k in wanted])


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_films_are_upright(turn: int, decoder: str, reader: Reader, tmp_path: Path) -> None:
    path = zoo.write(tmp_path / "turned.mp4", options=zoo.X264, rotation_deg=turn)
    size = (zoo.WIDTH_PX, zoo.HEIGHT_PX) if turn == 180 else (zoo.HEIGHT_PX, zoo.WIDTH_PX)
    frames_THWC = reader.frames(str(path), [zoo.STEP * k for k in range(60)], *size, decoder)
    assert not wrong(frames_THWC, range(60), turn)


def test_of_a_damaged_film_only_right_frames(decoder: str, reader: Reader, tmp_path: Path) -> None:
    path = str(zoo.write_damaged(tmp_path / "damaged.mp4"))
    right: list[int] = []
    errors: list[str] = []
    for number, tick in enumerate(reader.packets(path).ticks):
        try:
            frames_THWC = reader.frames(path, [tick], zoo.WIDTH_PX, zoo.HEIGHT_PX, decoder)
        except ReadError as error:
            errors.append(str(error))
        else:
            assert not wrong(frames_THWC, [number])
            right.append(number)
    assert errors
    assert all("damaged.mp4: " in error for error in errors)
    if decoder != DECORD:  # which reads ahead, and raises for frames before the damage too, not always the same ones
        assert {*range(5), *range(48, 60)} <= set(right)


def test_of_a_film_that_is_cut_off_only_right_frames(decoder: str, reader: Reader, tmp_path: Path) -> None:
    """Whether it is used at all is the policy of the probe."""
    path = str(zoo.write_cut_off(tmp_path / "cut.mp4"))
    for number in (0, 5, 20, 31, 59):
        try:
            frames_THWC = reader.frames(path, [zoo.STEP * number], zoo.WIDTH_PX, zoo.HEIGHT_PX, decoder)
        except ReadError as error:
            why = str(error)
            continue
        assert not wrong(frames_THWC, [number])
    assert "cut.mp4: 1 of 1 ticks are no frames" in why  # of the last


def test_the_zoo_changes_its_pixel_format(cage: Path) -> None:
    for name in ("format_change.mkv", "format_change.ts"):
        with av.open(str(cage / name)) as container:
            formats = [frame.format.name for frame in container.decode(video=0)]
        assert formats == ["yuv420p"] * 30 + ["yuv444p"] * 30


def test_the_zoo_has_sound_that_lasts_longer(cage: Path) -> None:
    with av.open(str(cage / "long_sound.mp4")) as container:
        lengths_s = [float((s.duration or 0) * (s.time_base or 0)) for s in container.streams]
    assert lengths_s == pytest.approx([2.4, 5.0], abs=0.05)


def test_small_frames_look_alike_in_all_decoders(decoder: str, reader: Reader, cage: Path) -> None:
    path = str(cage / "b_frames.mp4")
    ticks = reader.packets(path).ticks
    ours_THWC = reader.frames(path, ticks, 64, 32)
    assert np.abs(reader.frames(path, ticks, 64, 32, decoder).astype(int) - ours_THWC).mean() < 3


def test_remote_files_are_for_pyav(decoder: str, reader: Reader, cage: Path) -> None:
    location = f"local://{cage / 'b_frames.mp4'}"
    if decoder == PYAV:
        assert not wrong(reader.frames(location, [zoo.STEP], zoo.WIDTH_PX, zoo.HEIGHT_PX), [1])
        return
    with pytest.raises(ReadRefused, match=f"{decoder} is given local files only; use decoder: pyav"):
        reader.frames(location, [zoo.STEP], 64, 32, decoder)


def test_a_decoder_loads_within_a_small_allowance(decoder: str, cage: Path) -> None:
    """What its libraries map is not taken off the memory that a call may use."""
    with Reader(Limits(timeout_s=60, memory_gb=0.3)) as reader:
        assert reader.frames(str(cage / "b_frames.mp4"), [0], 64, 32, decoder).shape == (1, 32, 64, 3)


def test_a_clip_says_who_decoded_it(decoder: str, reader: Reader, cage: Path, tmp_path: Path) -> None:
    stage = DecodeClip(store_dir=str(tmp_path), max_side_px=64, decoder=decoder)
    frames, clip = decode(reader, cage / "b_frames.mp4", stage)
    assert clip.decoder == decoder
    assert [zoo.number_of(f) for f in frames.load(clip)] == [tick // zoo.STEP for tick in clip.track_tick]
    frames.close()


def test_decoders_do_not_share_stored_frames(reader: Reader, cage: Path, tmp_path: Path) -> None:
    frames, clip = decode(reader, cage / "b_frames.mp4", DecodeClip(store_dir=str(tmp_path), max_side_px=64))
    frames.close()
    with ClipFrames(str(tmp_path), 1.0, Limits(timeout_s=60)) as others:
        moved = {**clip.to_dict(), "location": "/nowhere.mp4", "qa_given": ()}
        assert others.load(DecodedClip(**moved)).shape == (len(clip.track_tick), 32, 64, 3)
        with pytest.raises(ReadError, match=r"/nowhere\.mp4: no such file"):
            others.load(DecodedClip(**{**moved, "decoder": DECORD}))


def test_a_decoder_of_no_known_name() -> None:
    with pytest.raises(ValueError, match="decoder 'opencv' is none of pyav, decord, torchcodec"):
        DecodeClip(decoder="opencv")


def test_a_decoder_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.media.decoders.PACKAGES", {DECORD: "no-such-package"})
    with pytest.raises(ValueError, match=r"decord is not installed; pip install 'utr-engine\[decord\]'"):
        DecodeClip(decoder=DECORD)


def test_another_decoder_is_another_plan() -> None:
    assert DecodeClip(decoder=DECORD).fingerprint != DecodeClip().fingerprint
    assert DecodeClip(decoder=DECORD).parameters["decoder"] == "decord-0.6.0"


def test_a_mended_picture_is_no_frame(reader: Reader, tmp_path: Path) -> None:
    """Noise inside a frame's data: FFmpeg would show a copy of the frame before it, or a torn one."""
    path = zoo.write(tmp_path / "noise.mp4", options=zoo.X264, container_options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        (packet,) = (p for p in container.demux(video=0) if p.pts == zoo.STEP * 30)
        at, size = packet.pos or 0, packet.size
    data[at + 8 : at + size] = np.random.default_rng(1).bytes(size - 8)
    path.write_bytes(data)
    raised = []
    for number in range(60):
        try:
            frames_THWC = reader.frames(str(path), [zoo.STEP * number], zoo.WIDTH_PX, zoo.HEIGHT_PX)
        except ReadError:
            raised.append(number)
        else:
            assert not wrong(frames_THWC, [number])
    assert 30 in raised
    assert set(raised) <= set(range(24, 48))  # the groups before and behind it are whole
