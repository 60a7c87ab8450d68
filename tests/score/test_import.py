"""`utr import`: other people's sets in the shard schema; what is not there is named."""

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from jobs.cli_score import app
from jobs.console import Console
from jobs.import_data import import_data
from pipeline.formats.read import read_pairs
from pipeline.publish import read_manifest, split_of
from pipeline.shards import problems
from pipeline.sources import SourceError
from pipeline.verify import NotADataSet, verify
from schemas.sample import PackedClip, PublishedSample
from stages.media.reader import Reader
from stages.plan_images import is_image
from tests.score.conftest import shards, talk


def samples(out: Path) -> dict[str, PublishedSample]:
    rows = [s for path in (out / "data").glob("*.parquet") for s in PublishedSample.from_arrow(pq.read_table(path))]
    return {row.sample_id: row for row in rows}


def bring(data: Path, out: Path, format: str, *more: str) -> str:
    command = ["import", str(data), "--format", format, "--out", str(out), "--runner", "local", *more]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    return found.output


def test_llava_conversations_become_samples(llava: Path, tmp_path: Path) -> None:
    text = bring(llava, tmp_path / "out", "llava", "--frames", "6")
    found = samples(tmp_path / "out")
    assert sorted(found) == [f"llava-000000{k}" for k in range(4)]
    talked = found["llava-0000000"]
    assert [(m.role, m.content) for m in talked.messages] == [
        ("user", "<video>\nWhat happens in this video?"),
        ("assistant", "A large red circle moves right."),
        ("user", "How many shapes are there?"),
        ("assistant", "Two."),
    ]
    assert (len(talked.frame_tick), talked.family, talked.tpl, talked.uri) == (6, "given", None, "a.mp4")
    assert json.loads(talked.program) == {"op": "given", "source": "llava"}
    failures = pl.read_parquet(tmp_path / "out/failures/*.parquet")
    assert failures.height == 7
    assert "4 samples" in text
    assert "of 12 texts 1 skipped, 6 failed" in text
    assert json.loads((tmp_path / "out/manifest.json").read_text())["videos_root"] == str(llava.parent)


def test_videochat2_spans_become_clips(films: Path, tmp_path: Path) -> None:
    qa = [{"i": "Answer.", "q": "Who?", "a": "A dog."}]
    (tmp_path / "qa.json").write_text(json.dumps([{"video": "a.mp4", "QA": qa, "start": 0.5, "end": 1.5}]))
    bring(tmp_path / "qa.json", tmp_path / "out", "videochat2", "--videos", str(films))
    (sample,) = samples(tmp_path / "out").values()
    second = sample.time_base_den / sample.time_base_num
    assert (sample.start_tick / second, sample.end_tick / second) == (0.5, 1.5)
    assert sample.messages[0].content == "<video>\nAnswer.\nWho?"


def test_images_become_clips_of_one_frame(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "images/a.jpg")
    (tmp_path / "images/text.png").write_text("no image")
    said = talk("Describe.\n<image>", "A black square.")
    records = [{"image": name, "conversations": said} for name in ("a.jpg", "missing.jpg", "text.png")]
    (tmp_path / "laion.json").write_text(json.dumps([*records, {"conversations": said}]))
    bring(tmp_path / "laion.json", tmp_path / "out", "image", "--videos", str(tmp_path / "images"))
    (sample,) = samples(tmp_path / "out").values()
    assert (sample.frame_tick, sample.start_tick, sample.end_tick) == ((0,), 0, 1)
    assert (sample.messages[0].content, sample.messages[1].content) == ("<video>\nDescribe.", "A black square.")
    assert is_image(sample.uri)
    failures = pl.read_parquet(tmp_path / "out/failures/*.parquet").sort("key")
    assert failures["key"].to_list() == ["laion-0000001-t00", "laion-0000002-t00", "laion-0000003"]
    assert failures["reason"].to_list() == ["ReadError", "ReadError", "NoVideoKey"]
    assert "no such file" in failures["detail"][0]
    assert "is no image that can be read" in failures["detail"][1]


def test_an_import_that_is_repeated_gives_the_same_bytes(llava: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        import_data(
            read_pairs(str(llava), format="llava"), tmp_path / name, frames=8, runner="local", resume=False,
            console=Console(quiet=True),
        )  # fmt: skip
    before = shards(tmp_path / "one")
    assert shards(tmp_path / "two") == before
    bring(llava, tmp_path / "one", "llava", "--frames", "8", "--resume")
    assert shards(tmp_path / "one") == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "shards"], "--format shards: llava, videochat2, image"),
        (["--format", "image"], "gives no pair as --format image"),
        (["--format", "llava", "--frames", "1"], "--frames at least 2"),
    ],
)
def test_a_wrong_command_is_refused(tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "set.json").write_text(json.dumps([{"video": "a.mp4", "conversations": talk("q", "a")}]))
    command = ["import", str(tmp_path / "set.json"), "--out", str(tmp_path / "out"), "--runner", "local", *arguments]
    found = CliRunner().invoke(app, command)
    assert (found.exit_code, says in found.output) == (2, True), found.output


def clips(out: Path) -> dict[str, PackedClip]:
    found = [c for path in (out / "clips").glob("*.parquet") for c in PackedClip.from_arrow(pq.read_table(path))]
    assert len({c.clip_id for c in found}) == len(found)
    return {clip.clip_id: clip for clip in found}


def test_packed_frames_are_those_of_the_plan(llava: Path, tmp_path: Path) -> None:
    bring(llava, tmp_path / "out", "llava", "--frames", "6", "--pack-frames")
    found, packed = samples(tmp_path / "out"), clips(tmp_path / "out")
    assert {s.clip_id for s in found.values()} == packed.keys()
    assert not (tmp_path / "out/_work/frames").exists()
    with Reader() as reader:
        for s in found.values():
            truth_THWC = reader.frames(str(llava.parent / s.uri), s.frame_tick, 96, 96)
            frames = [np.asarray(Image.open(BytesIO(data))) for data in packed[s.clip_id].frames_jpeg]
            assert len(frames) == 6
            assert np.abs(np.stack(frames).astype(int) - truth_THWC).mean() < 3
    plain = tmp_path / "plain"
    bring(llava, plain, "llava", "--frames", "6")
    assert samples(plain) == found
    assert not (plain / "clips").exists()
    failures = [pl.read_parquet(out / "failures/*.parquet") for out in (plain, tmp_path / "out")]
    assert failures[0].equals(failures[1])


def test_a_packed_import_that_is_repeated_gives_the_same_bytes(llava: Path, tmp_path: Path) -> None:
    """The second time the frames that were kept for sealing are gone, and are decoded again."""
    arguments = ("llava", "--frames", "4", "--pack-frames")
    bring(llava, tmp_path / "out", *arguments)
    before = shards(tmp_path / "out")
    bring(llava, tmp_path / "out", *arguments)
    assert shards(tmp_path / "out") == before


def test_packed_images_are_upright_jpegs_or_the_files_own_bytes(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (8, 16, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.jpg", quality=70)
    Image.fromarray(np.full((8, 16, 4), 128, np.uint8)).save(tmp_path / "b.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "c.jpg", exif=exif)
    Image.new("RGB", (5000, 10)).save(tmp_path / "d.png")
    (tmp_path / "e.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-40])
    names = ("a.jpg", "b.png", "c.jpg", "d.png", "e.jpg")
    records = [{"image": name, "conversations": talk("<image>\nDescribe.", "Something.")} for name in names]
    (tmp_path / "set.json").write_text(json.dumps(records))
    bring(tmp_path / "set.json", tmp_path / "out", "image", "--pack-frames")
    packed = {s.uri: clips(tmp_path / "out")[s.clip_id].frames_jpeg for s in samples(tmp_path / "out").values()}
    assert packed["a.jpg"] == ((tmp_path / "a.jpg").read_bytes(),)
    sizes = {name: Image.open(BytesIO(own[0])).size for name, own in packed.items()}
    assert sizes == {"a.jpg": (16, 8), "b.png": (16, 8), "c.jpg": (8, 16), "d.png": (2304, 5)}
    (failure,) = pl.read_parquet(tmp_path / "out/failures/*.parquet").to_dicts()
    assert (failure["key"], failure["stage"], failure["reason"]) == ("set-0000004-t00", "PackFrames", "ReadError")
    assert "truncated" in failure["detail"]


def test_what_cannot_be_decoded_when_it_is_sealed_is_one_failure(tmp_path: Path) -> None:
    """Its frames were kept on a machine that is gone, and the file has gone bad since; an equal one does as well."""
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("c.png", "red")):
        Image.new("RGB", (16, 8), colour).save(tmp_path / name)
    names = ("a.png", "b.png", "c.png", "missing.png")
    records = [{"image": name, "conversations": talk("<image>\nWhat?", "This.", "And?", "That.")} for name in names]
    (tmp_path / "set.json").write_text(json.dumps(records))
    bring(tmp_path / "set.json", tmp_path / "out", "image", "--pack-frames")
    for name in ("a.png", "b.png"):
        stat = (tmp_path / name).stat()
        (tmp_path / name).write_bytes(b"?" * stat.st_size)
        os.utime(tmp_path / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    said = bring(tmp_path / "set.json", tmp_path / "out", "image", "--pack-frames", "--resume")
    assert sorted(s.uri for s in samples(tmp_path / "out").values()) == ["a.png", "c.png"]
    assert clips(tmp_path / "out").keys() == {s.clip_id for s in samples(tmp_path / "out").values()}
    failures = pl.read_parquet(tmp_path / "out/failures/*.parquet").sort("key")
    assert failures.select("key", "stage", "kind", "reason").rows() == [
        ("set-0000001-t00", "PackFrames", "failure", "ReadError"),
        ("set-0000001-t01", "PackFrames", "failure", "ReadError"),
        ("set-0000003-t00", "PlanImages", "failure", "ReadError"),
        ("set-0000003-t01", "PlanImages", "failure", "ReadError"),
    ]
    assert "of 8 texts 0 skipped, 4 failed" in said
    packing = next(line for line in read_manifest(tmp_path / "out").funnel if line.stage == "PackFrames")
    assert (packing.rows_in, packing.rows_out) == (6, 4)


TEXTS = [
    {"id": "0", "conversations": talk("Name a colour.", "Red.", "Another one?", "Blue.")},
    {"id": "1", "image": None, "conversations": talk("Name a colour.", "Red.", "Another one?", "Blue.")},
    {"id": "2", "conversations": talk("Two and two?", "Four.")},
    {"id": "3", "vidoe": "a.mp4", "conversations": talk("<video>\nWho?", "Nobody.")},  # asks for what it does not name
    {"id": "4", "conversations": talk("Empty?", " ")},
]


@pytest.mark.parametrize("format", ["llava", "image"])
def test_records_without_a_medium_become_samples_without_frames(tmp_path: Path, format: str) -> None:
    (tmp_path / "set.json").write_text(json.dumps(TEXTS))
    said = bring(tmp_path / "set.json", tmp_path / "out", format, "--pack-frames")
    found = samples(tmp_path / "out")
    assert sorted(found) == [f"set-000000{k}" for k in range(3)]
    talked = found["set-0000000"]
    assert [(m.role, m.content) for m in talked.messages] == [
        ("user", "Name a colour."), ("assistant", "Red."), ("user", "Another one?"), ("assistant", "Blue."),
    ]  # fmt: skip
    assert (talked.uri, talked.frame_tick, talked.start_tick, talked.end_tick) == ("", (), 0, 0)
    assert (talked.family, talked.split) == ("given", split_of(talked.video_id))
    assert found["set-0000001"].video_id == talked.video_id != found["set-0000002"].video_id
    assert len({s.group_id for s in found.values()}) == 3
    failures = pl.read_parquet(tmp_path / "out/failures/*.parquet").sort("key")
    assert failures["reason"].to_list() == ["NoVideoKey", "EmptyAnswer"]
    assert "3 samples" in said
    assert "of 7 texts 0 skipped, 2 failed" in said
    assert clips(tmp_path / "out") == {}


def test_texts_and_films_are_imported_together_and_held_out_by_what_they_say(films: Path, tmp_path: Path) -> None:
    texts = [{"conversations": talk(f"What is {k}?", f"A number: {k}.")} for k in range(200)]
    film = {"video": "a.mp4", "conversations": talk("<video>\nWho?", "A circle.")}
    (tmp_path / "set.json").write_text(json.dumps([film, *texts]))
    bring(tmp_path / "set.json", tmp_path / "out", "llava", "--videos", str(films), "--frames", "4")
    found = samples(tmp_path / "out")
    assert len(found) == 201
    assert [s.messages[0].content for s in found.values() if s.uri] == ["<video>\nWho?"]
    held_out = sum(s.split == "validation" for s in found.values())
    assert 0 < held_out < 30


def test_texts_without_a_medium_are_still_nothing_to_score(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text(json.dumps(TEXTS))
    with pytest.raises(SourceError, match="has no 'video'"):
        read_pairs(str(tmp_path / "set.json"))


def test_verify_names_an_imported_set_as_what_it_cannot_prove(llava: Path, tmp_path: Path) -> None:
    bring(llava, tmp_path / "out", "llava", "--pack-frames", "--frames", "4")
    assert problems(tmp_path / "out", read_manifest(tmp_path / "out")) == []
    with pytest.raises(NotADataSet, match="scores: no Parquet files"):
        verify(tmp_path / "out")
