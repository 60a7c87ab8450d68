"""Probe, split and decode as stages: rows in, rows and reasons out."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from schemas.clip import Clip, DecodedClip
from schemas.outcome import Reason, Skip
from schemas.time import seconds
from schemas.video import QA, Source, Video
from stages.decode_clip import DecodeClip, store_size
from stages.media.child import Limits
from stages.media.facts import ScanOptions
from stages.media.frame_store import ClipFrames
from stages.media.reader import Reader
from stages.probe_video import ProbeVideo
from stages.split_shots import SplitShots
from tests import zoo

BIKES_CUTS = (30, 76, 137, 187, 242)
HUES = ((200, 40, 40), (40, 180, 60), (50, 60, 200), (190, 180, 40))


def probe(reader: Reader, path: str) -> Video:
    source = Source(uri="films/x.mp4", location=path, caption="a caption", qa=(QA(question="q", answer="a"),))
    (video,) = ProbeVideo().process(reader, [source])
    assert isinstance(video, Video)
    return video


def split(reader: Reader, video: Video, stage: SplitShots) -> Skip | list[Clip | Skip]:
    (result,) = stage.process(reader, [video])
    return result


def clips_of(result: Skip | list[Clip | Skip]) -> list[Clip]:
    assert isinstance(result, list)
    return [piece for piece in result if isinstance(piece, Clip)]


def shots(path: Path, lengths: tuple[int, ...]) -> Path:
    """A film with a hard cut after each length: a texture in another colour that slides to the left in shot 1."""
    rng = np.random.default_rng(3)
    frames: list[np.ndarray] = []
    for shot, length in enumerate(lengths):
        noise = cv2.GaussianBlur(rng.normal(size=(200, 900)).astype(np.float32), (0, 0), 3)
        scene = np.clip(noise / noise.std() * 0.25 + 1, 0.2, 1.3)[..., None] * np.array(HUES[shot % len(HUES)])
        for t in range(length):
            x = 4 * t if shot == 1 else 0
            frames.append(np.clip(scene[:144, x : x + 256], 0, 255).astype(np.uint8))
    return zoo.write(path, options=zoo.X264 | {"crf": "20"}, frames=frames)


def test_bikes_cuts(reader: Reader, bikes: str) -> None:
    video = probe(reader, bikes)
    assert (video.width_px, video.height_px, video.n_frames, video.rotation_deg) == (640, 272, 250, 0)
    assert reader.scan(bikes, video.n_frames).cuts == BIKES_CUTS
    result = split(reader, video, SplitShots())
    clips = clips_of(result)
    assert [clip.start_tick // 512 for clip in clips] == [0, 30, 76, 137, 187]
    assert [clip.end_tick // 512 for clip in clips] == list(BIKES_CUTS)
    assert isinstance(result, list)
    assert result[-2] == Skip(Reason.TOO_SHORT, "shot 5: 0.32 s < 1 s")
    assert result[-1] == Skip(
        Reason.TEXT_SPANS_SHOTS, "2 given texts are about the whole video, and no clip is the whole"
    )
    assert [clip.camera for clip in clips] == ["static", "unknown", "moving", "moving", "moving"]


def test_content_detector_is_a_choice(reader: Reader, bikes: str) -> None:
    cuts = reader.scan(bikes, 250, ScanOptions(detector="content")).cuts
    assert set(cuts) <= {30, 76, 137, 187, 242}
    assert len(cuts) >= 4


def test_shots_and_their_facts(reader: Reader, tmp_path: Path) -> None:
    video = probe(reader, str(shots(tmp_path / "x.mp4", (40, 50, 10, 30))))
    result = split(reader, video, SplitShots(min_shot_s=0.3))
    assert isinstance(result, list)
    assert [type(piece) for piece in result] == [Clip, Clip, Skip, Clip, Skip]  # the last: given texts
    assert result[2] == Skip(Reason.TOO_SHORT, "shot 2: 0.40 s < 1 s")
    first, second, last = clips_of(result)
    assert [clip.clip_id for clip in (first, second, last)] == [
        f"{video.video_id[:16]}-s{shot:03d}-p00" for shot in (0, 1, 3)
    ]
    assert (first.start_tick, first.end_tick, second.end_tick, last.end_tick) == tuple(
        512 * n for n in (0, 40, 90, 130)
    )
    assert [clip.camera for clip in (first, second, last)] == ["static", "moving", "static"]
    assert second.camera_speed == pytest.approx(4 * 25 / np.hypot(256, 144), rel=0.02)
    assert first.motion < 0.01 < second.motion
    assert 0 < first.luminance < 1
    assert first.blur > 0
    assert first.frame_hash != last.frame_hash
    assert len(first.frame_hash) == 16
    assert not first.is_whole_video
    assert (first.caption_given, first.qa_given, first.uri) == ("a caption", video.qa, "films/x.mp4")


def test_long_shot_is_cut_into_equal_parts(reader: Reader, tmp_path: Path) -> None:
    video = probe(reader, str(shots(tmp_path / "x.mp4", (100,))))
    clips = clips_of(split(reader, video, SplitShots(min_clip_s=0.5, max_clip_s=1.5)))
    assert [clip.clip_id[-9:] for clip in clips] == ["-s000-p00", "-s000-p01", "-s000-p02"]
    assert [clip.end_tick for clip in clips[:-1]] == [clip.start_tick for clip in clips[1:]]
    assert (clips[0].start_tick, clips[-1].end_tick) == (video.start_tick, video.end_tick)
    lengths_s = [seconds(clip.end_tick - clip.start_tick, 1, 12800) for clip in clips]
    assert max(lengths_s) <= 1.5
    assert max(lengths_s) - min(lengths_s) <= 0.041


def test_one_shot_is_the_whole_video(reader: Reader, tmp_path: Path) -> None:
    video = probe(reader, str(shots(tmp_path / "x.mp4", (40,))))
    (clip,) = clips_of(split(reader, video, SplitShots()))
    assert clip.is_whole_video


def test_only_short_shots_is_a_skip(reader: Reader, tmp_path: Path) -> None:
    video = probe(reader, str(shots(tmp_path / "x.mp4", (20,))))
    result = split(reader, video, SplitShots())
    assert result == Skip(Reason.TOO_SHORT, "no shot of 1 s: shot 0: 0.80 s < 1 s")


def test_impossible_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="at least twice min_clip_s"):
        SplitShots(min_clip_s=20, max_clip_s=30)


def test_unknown_detector_is_refused() -> None:
    with pytest.raises(ValueError, match="'magic' is none of adaptive, content"):
        SplitShots(detector="magic")


def test_where_the_frames_are_kept_is_not_in_the_fingerprint() -> None:
    assert DecodeClip(store_dir="/a").fingerprint == DecodeClip(store_dir="/b", store_gb=1).fingerprint
    assert DecodeClip(store_dir="/a").fingerprint != DecodeClip(store_dir="/a", track_fps=5).fingerprint


def decode(reader: Reader, path: Path, stage: DecodeClip) -> tuple[ClipFrames, DecodedClip]:
    video = probe(reader, str(path))
    (clip,) = clips_of(split(reader, video, SplitShots(detector="content", threshold=255.0)))
    frames = stage.open()
    (decoded,) = stage.process(frames, [clip])
    assert isinstance(decoded, DecodedClip)
    return frames, decoded


@pytest.mark.parametrize("name", ["b_frames.mp4", "hevc_open_gop.mp4", "vfr.mkv", "edit_list.mp4", "late_keyframe.ts"])
def test_decoded_clip_holds_its_frames(name: str, reader: Reader, cage: Path, tmp_path: Path) -> None:
    frames, clip = decode(reader, cage / name, DecodeClip(store_dir=str(tmp_path), max_side_px=64))
    shown = dict(zip(reader.packets(str(cage / name)).ticks, zoo.ZOO[name][1], strict=True))
    assert (clip.store_width_px, clip.store_height_px) == (64, 32)
    assert [zoo.number_of(f) for f in frames.load(clip)] == [shown[tick] for tick in clip.track_tick]
    assert [zoo.number_of(f) for f in frames.plan(clip)] == [shown[tick] for tick in clip.plan_tick]
    gaps_s = np.diff(clip.track_tick) * clip.time_base_num / clip.time_base_den
    assert gaps_s.mean() == pytest.approx(0.1, abs=0.02)
    assert len(clip.plan_index) == 8
    frames.close()


def test_frames_come_from_the_store_and_again_after_eviction(reader: Reader, cage: Path, tmp_path: Path) -> None:
    frames, clip = decode(reader, cage / "b_frames.mp4", DecodeClip(store_dir=str(tmp_path), max_side_px=64))
    (stored,) = tmp_path.glob("*.npy")
    elsewhere = replace(clip, location="/nowhere.mp4")
    first = frames.load(elsewhere)  # the store alone can answer this
    stored.unlink()
    assert np.array_equal(frames.load(clip), first)
    assert stored.exists()
    frames.close()


def test_too_few_frames(reader: Reader, cage: Path, tmp_path: Path) -> None:
    frames, clip = decode(reader, cage / "b_frames.mp4", DecodeClip(store_dir=str(tmp_path)))
    short = replace(clip, end_tick=clip.start_tick + 512)
    (result,) = DecodeClip(store_dir=str(tmp_path)).process(frames, [short])
    assert result == Skip(Reason.TOO_FEW_FRAMES, "1 frames at 10 a second")
    frames.close()


def test_two_workers_share_a_store(reader: Reader, cage: Path, tmp_path: Path) -> None:
    frames, clip = decode(reader, cage / "b_frames.mp4", DecodeClip(store_dir=str(tmp_path), max_side_px=64))
    with ClipFrames(str(tmp_path), 1.0, Limits(timeout_s=30)) as other:
        assert np.array_equal(other.load(replace(clip, location="/nowhere.mp4")), frames.load(clip))
    frames.close()


@pytest.mark.parametrize(
    ("size", "stored"),
    [((1280, 720), (480, 270)), ((720, 1280), (270, 480)), ((320, 181), (320, 180)), ((64, 64), (64, 64))],
)
def test_store_size(size: tuple[int, int], stored: tuple[int, int]) -> None:
    assert store_size(*size, 480) == stored
