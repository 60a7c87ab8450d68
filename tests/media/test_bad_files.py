"""A folder of bad files: each has its own, named outcome."""

from pathlib import Path

import av
import numpy as np
import pytest

from schemas.outcome import Reason, Skip
from schemas.video import Source, Video
from stages.media.child import ReadError
from stages.media.reader import Reader
from stages.probe_video import ProbeVideo
from tests import zoo


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    good = zoo.write(folder / "good.mp4", options=zoo.X264)
    front = zoo.write(folder / "front.mp4", options=zoo.X264, container_options={"movflags": "faststart"}).read_bytes()
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is no film\n" * 100)
    (folder / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(20_000))
    (folder / "no_index.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (folder / "cut.mp4").write_bytes(front[: len(front) * 8 // 10])
    (folder / "last_packet.mp4").write_bytes(front[:-20])
    matroska = zoo.write(folder / "good.mkv", options=zoo.X264).read_bytes()
    (folder / "cut.mkv").write_bytes(matroska[: len(matroska) // 2])
    long = [zoo.picture(number) for number in range(256)]
    avi = zoo.write(folder / "good.avi", "mpeg4", {"g": "12", "qscale": "3"}, frames=long).read_bytes()
    (folder / "cut.avi").write_bytes(avi[: len(avi) // 2])
    middle = len(front) * 2 // 3
    (folder / "damaged.mp4").write_bytes(front[:middle] + bytes(400) + front[middle + 400 :])
    (folder / "a_folder.mp4").mkdir()
    zoo.write(folder / "one_frame.mp4", frames=[zoo.picture(1)])
    write_sound(folder / "sound.mp4")
    return folder


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        for index in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate, frame.pts = 44100, 1024 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def probe(reader: Reader, path: Path) -> Video | Skip:
    (result,) = ProbeVideo().process(reader, [Source(uri=path.name, location=str(path), caption="c", qa=())])
    assert not isinstance(result, list)
    return result


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("zero.mp4", "is empty"),
        ("text.mp4", "is text, not a video"),
        ("noise.mp4", "is in no known video format"),
        ("no_index.mp4", "no readable index"),
        ("cut.mp4", r"cut off: \d+ of 60 frames"),
        ("last_packet.mp4", "cut off: 59 of 60 frames"),
        ("cut.mkv", r"cut off: the data end at \d\.\d of 2\.4 s"),
        ("cut.avi", r"cut off: the data end at \d\.\d of 10\.2 s"),
        ("missing.mp4", "no such file"),
        ("a_folder.mp4", "is a directory"),
    ],
)
def test_probe_names_file_and_cause(name: str, text: str, reader: Reader, folder: Path) -> None:
    with pytest.raises(ReadError, match=text) as caught:
        probe(reader, folder / name)
    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"), [("sound.mp4", Reason.NO_VIDEO_STREAM), ("one_frame.mp4", Reason.TOO_FEW_FRAMES)]
)
def test_probe_skips(name: str, reason: Reason, reader: Reader, folder: Path) -> None:
    result = probe(reader, folder / name)
    assert isinstance(result, Skip)
    assert result.reason is reason


def test_damage_inside_is_found_by_the_scan(reader: Reader, folder: Path) -> None:
    video = probe(reader, folder / "damaged.mp4")
    assert isinstance(video, Video)
    with pytest.raises(ReadError, match=r"damaged\.mp4: damaged: \d+ of 60 frames decode, first error at \d\.\d\d s"):
        reader.scan(video.location, video.n_frames)


def test_good_file_between_bad_ones(reader: Reader, folder: Path) -> None:
    video = probe(reader, folder / "good.mp4")
    assert isinstance(video, Video)
    assert (video.caption, video.n_frames, video.codec, video.id_kind) == ("c", 60, "h264", "bytes")
    assert video.n_bytes == (folder / "good.mp4").stat().st_size
    assert video.end_tick == 60 * zoo.STEP
