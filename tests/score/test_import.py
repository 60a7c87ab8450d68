"""`utr import`: other people's sets in the shard schema; what is not there is named."""

import json
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
from schemas.sample import PublishedSample
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
