"""Pictures of samples, packed and from their files: the right ones, and a name for those that cannot be read."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.publish import DATA_ROWS, PACKED_ROWS
from pipeline.sources import SourceError
from pipeline.train.frames import FilmFrames, PackedFrames, Unreadable, frame_source
from pipeline.train.mix import DataSet, open_sets
from pipeline.train.read_sample import SampleReader
from pipeline.train.recipe import Data, Source
from pipeline.train.row_groups import RowGroups
from schemas.sample import PublishedSample
from schemas.train import PlannedSample
from stages.media.jpeg import jpeg
from stages.media.reader import Reader
from stages.media.world_film import random_film, write_world_film
from tests.train.sets import SIDE_PX, frames_of, sample, write_set


def data_set(folder: Path) -> DataSet:
    return open_sets(Data(mix={"a": Source(path=str(folder))}))["a"]


def planned(name: str, shard: str, row: int) -> PlannedSample:
    return PlannedSample(
        step=0, pack=0, place=0, source="a", sample_id=name, clip_id="", shard=shard, row=row, epoch=0, n_frames=4,
        n_tokens=0, n_visual=0, n_labels=0, n_tiles=0, reserve=None,
    )  # fmt: skip


def levels(media: object) -> list[int]:
    return [round(float(f.mean())) for f in media.frames_THWC]  # type: ignore[attr-defined]


def test_packed_frames_are_those_of_the_clip_in_the_order_asked_for(tmp_path: Path) -> None:
    own = [sample(f"s{k}", n_frames=1 + k % 5) for k in range(40)]
    frames = PackedFrames(data_set(write_set(tmp_path / "set", own, shard_bytes=3000)))
    assert len(list((tmp_path / "set/clips").glob("*.parquet"))) > 2
    for s in own:
        shape = frames.shape(s)
        assert shape is not None
        assert (shape.n_frames, shape.height_px, shape.width_px) == (len(s.frame_tick), SIDE_PX, SIDE_PX)
        assert shape.kind == ("image" if len(s.frame_tick) == 1 else "video")
        index = tuple(range(0, len(s.frame_tick), 2))
        media = frames.media(s, index)
        assert media is not None
        assert levels(media) == [10 + 20 * k for k in index]
        assert media.frames_THWC.dtype == np.uint8
        assert media.index == index
        assert media.times == shape.times == tuple(f"{k / 2:.2f} s" for k in s.frame_tick)


def test_a_twin_is_shown_as_its_row_says_at_the_times_of_the_plan(tmp_path: Path) -> None:
    """Through the shards, as a run reads them: order, repeats and mirror; the film itself stays as it is."""
    plain = sample("plain", video="film", n_frames=4)
    twins = [
        replace(plain, sample_id="backward", frame_order=(4, 3, 2, 1)),
        replace(plain, sample_id="held", frame_order=(3, 3, 3, 3)),
        replace(plain, sample_id="mirror", frame_order=(1, 2, 3, 4), mirrored=True),
    ]
    pictures = frames_of(plain)
    pictures[:, :, SIDE_PX // 2 :] += 100  # the right half is lighter
    packed = {plain.clip_id: tuple(jpeg(p, quality=95) for p in pictures)}
    reader = SampleReader(data_set(write_set(tmp_path / "set", [plain, *twins], frames_jpeg=packed)), "packed")
    rows = {s.sample_id: k for k, s in enumerate(sorted([plain, *twins], key=lambda s: s.sample_id))}
    shown = {}
    for name, row in rows.items():
        (shard,) = (p.relative_to(tmp_path / "set").as_posix() for p in (tmp_path / "set/data").glob("*.parquet"))
        media = reader.conversation(planned(name, shard, row)).media
        assert media is not None
        assert media.times == ("0.00 s", "0.50 s", "1.00 s", "1.50 s")
        left, right = (media.frames_THWC[:, :, half].mean(axis=(1, 2, 3)) for half in (slice(0, 6), slice(10, 16)))
        shown[name] = ([round(float(v) / 20 - 0.5) for v in np.minimum(left, right)], bool((left < right).all()))
    reader.close()
    assert shown == {
        "plain": ([0, 1, 2, 3], True),
        "backward": ([3, 2, 1, 0], True),
        "held": ([2, 2, 2, 2], True),
        "mirror": ([0, 1, 2, 3], False),
    }


def test_films_show_a_twin_from_frames_that_are_decoded_once(film: PublishedSample, films: FilmFrames) -> None:
    plain = films.media(film, (0, 1, 2))
    twin = films.media(replace(film, frame_order=(3, 1, 1), mirrored=True), (0, 1, 2))
    assert plain is not None
    assert twin is not None
    assert np.array_equal(twin.frames_THWC, plain.frames_THWC[[2, 0, 0]][:, :, ::-1])
    assert twin.times == plain.times


def test_a_text_has_no_pictures(tmp_path: Path) -> None:
    text = sample("text", n_frames=0)
    folder = write_set(tmp_path / "set", [text, sample("s")])
    for kind in ("packed", "films"):
        frames = frame_source(data_set(folder), kind)
        assert frames.shape(text) is None
        assert frames.media(text, ()) is None


def test_a_set_without_packed_frames_says_what_to_do(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", [sample("text", n_frames=0)])
    with pytest.raises(SourceError, match=r"has no clips/: .* --pack-frames, or write data\.frames: films"):
        PackedFrames(data_set(folder)).shape(sample("s"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda jpeg: jpeg[:200], "Truncated File Read"),
        (lambda jpeg: jpeg[:-30], "image file is truncated"),
        (lambda jpeg: b"", "cannot identify image"),
        (lambda jpeg: b"\x00" * len(jpeg), "cannot identify image"),
    ],
)
def test_a_damaged_jpeg_is_unreadable_by_name(tmp_path: Path, spoil: object, says: str) -> None:
    s = sample("s")
    buffer = BytesIO()
    noise_HWC = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise_HWC).save(buffer, "JPEG")
    good = buffer.getvalue()
    folder = write_set(tmp_path / "set", [s], frames_jpeg={s.clip_id: (good, good, spoil(good), good)})  # type: ignore[operator]
    frames = PackedFrames(data_set(folder))
    assert frames.media(s, (0, 1, 3)) is not None
    with pytest.raises(Unreadable, match=f"frame 2 of {s.clip_id}.*{says}"):
        frames.media(s, (1, 2))


def test_frames_of_two_sizes_are_no_film(tmp_path: Path) -> None:
    s = sample("s", n_frames=2)
    sizes = []
    for side in (16, 32):
        buffer = BytesIO()
        Image.new("RGB", (side, side)).save(buffer, "JPEG")
        sizes.append(buffer.getvalue())
    frames = PackedFrames(data_set(write_set(tmp_path / "set", [s], frames_jpeg={s.clip_id: tuple(sizes)})))
    with pytest.raises(Unreadable, match="its frames have 2 sizes"):
        frames.media(s, (0, 1))


def test_a_clip_that_is_not_there_and_a_file_that_is_torn(tmp_path: Path) -> None:
    gone, s = sample("gone"), sample("s")
    folder = write_set(tmp_path / "set", [gone, s], without=[gone.clip_id])
    with pytest.raises(Unreadable, match="is not in clips/"):
        PackedFrames(data_set(folder)).media(gone, (0,))
    path = folder / "clips/part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(Unreadable, match="Parquet"):
        PackedFrames(data_set(folder)).media(s, (0,))
    path.unlink()
    with pytest.raises(Unreadable, match="part-00000"):
        PackedFrames(data_set(folder)).media(s, (0,))


def test_a_random_read_is_one_row_group_of_few_rows(tmp_path: Path) -> None:
    own = [sample(f"s{k}") for k in range(300)]
    folder = write_set(tmp_path / "set", own)
    for table, most in (("clips", PACKED_ROWS), ("data", DATA_ROWS)):
        path = folder / table / "part-00000.parquet"
        footer = pq.read_metadata(path)
        sizes = [footer.row_group(k).num_rows for k in range(footer.num_row_groups)]
        assert max(sizes) <= most
        assert sum(sizes) == 300
        rows = RowGroups(folder, ("clip_id",))
        known = pq.read_table(path)["clip_id"].to_pylist()
        for k in (0, 1, 149, 150, 155, 299):
            assert rows.row(f"{table}/{path.name}", k)["clip_id"].to_pylist() == [known[k]]
        for k in (-1, 300):
            with pytest.raises(IndexError, match="300 rows"):
                rows.row(f"{table}/{path.name}", k)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> PublishedSample:
    """A sample about a real film that lies beside a set."""
    folder = tmp_path_factory.mktemp("films")
    write_world_film(folder / "a.mp4", random_film(3, shots=1), fps=Fraction(10), side_px=64)
    with Reader() as reader:
        facts = reader.probe(str(folder / "a.mp4"))
        ticks = reader.packets(str(folder / "a.mp4")).ticks
    assert facts is not None
    return replace(
        sample("film"), uri=str(folder / "a.mp4"), video_id=facts.video_id, start_tick=ticks[2], end_tick=ticks[-1],
        frame_tick=(ticks[2], ticks[5], ticks[9]), time_base_num=facts.time_base_num, time_base_den=facts.time_base_den,
    )  # fmt: skip


@pytest.fixture
def films() -> Iterator[FilmFrames]:
    found = FilmFrames("/")
    yield found
    found.close()


def test_films_give_exactly_the_planned_frames(film: PublishedSample, films: FilmFrames) -> None:
    shape, media = films.shape(film), films.media(film, (0, 2))
    assert shape is not None
    assert media is not None
    assert (shape.n_frames, shape.height_px, shape.width_px, shape.kind) == (3, 64, 64, "video")
    assert media.times == ("0.00 s", "0.30 s", "0.70 s")
    with Reader() as reader:
        truth_THWC = reader.frames(film.uri, (film.frame_tick[0], film.frame_tick[2]), 64, 64)
    assert np.array_equal(media.frames_THWC, truth_THWC)


def test_films_that_are_gone_or_changed_are_unreadable_by_name(film: PublishedSample, films: FilmFrames) -> None:
    for changed, says in (
        (replace(film, uri="/nowhere/a.mp4"), "/nowhere/a.mp4"),
        (replace(film, video_id="0" * 64), "is not the file that the set was made from"),
        (replace(film, frame_tick=(film.frame_tick[0], film.frame_tick[0] + 1)), "are no frames"),
        (replace(film, uri=__file__), "test_frames.py"),
    ):
        with pytest.raises(Unreadable, match=says):
            films.media(changed, (0, 1))


def test_image_files_are_read_upright(tmp_path: Path, films: FilmFrames) -> None:
    image = Image.new("RGB", (20, 10))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    image.save(tmp_path / "a.png", exif=exif)
    image_id = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    s = replace(sample("image", n_frames=1), uri=str(tmp_path / "a.png"), video_id=image_id)
    shape, media = films.shape(s), films.media(s, (0,))
    assert shape is not None
    assert media is not None
    assert (shape.kind, shape.height_px, shape.width_px) == ("image", 20, 10)
    assert media.frames_THWC.shape == (1, 20, 10, 3)
    assert media.frames_THWC[0, 0, 9].tolist() == [255, 0, 0]
    for changed, says in (
        (replace(s, uri=str(tmp_path / "b.png")), "b.png"),
        (replace(s, video_id="0" * 64), "is not the file that the set was made from"),
    ):
        with pytest.raises(Unreadable, match=says):
            films.shape(changed)
