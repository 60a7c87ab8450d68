"""What is sealed is what came in: every sample once, every other row with its reason."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipeline.publish import TABLES, FinishedVideo, publish, read_manifest, split_of
from pipeline.shards import Limits, PublishError, problems
from schemas.manifest import Manifest
from schemas.sample import PublishedSample
from tests.publish.builders import corpus, facts

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def videos() -> list[FinishedVideo]:
    return corpus()


@pytest.fixture(scope="module")
def sealed(videos: list[FinishedVideo], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sealed")
    publish(out, videos, facts())
    return out


def contents(out: Path) -> dict[str, bytes]:
    """The bytes of all shards, and of the manifest but for its run."""
    files = {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.parquet"))}
    return {**files, "manifest": read_manifest(out).without_run().to_json().encode()}


def test_columns_are_exactly_those_of_the_schemas(sealed: Path):
    for table, row in TABLES.items():
        for path in (sealed / table).glob("*.parquet"):
            schema = pq.read_schema(path)
            assert schema.equals(row.schema()), path
            assert schema.metadata == row.schema().metadata
    assert pl.read_parquet(sealed / "data/*.parquet").columns == PublishedSample.schema().names


def test_polars_and_pyarrow_see_every_selected_sample_once(videos: list[FinishedVideo], sealed: Path):
    chosen = sorted(s for v in videos for c in v.clips for s in c.selected)
    assert len(chosen) > 30
    assert pl.read_parquet(sealed / "data/*.parquet")["sample_id"].to_list() == chosen
    assert sorted(ds.dataset(sealed / "data").to_table()["sample_id"].to_pylist()) == chosen


def test_every_sample_is_published_or_in_failures(videos: list[FinishedVideo], sealed: Path):
    composed = {s.sample_id for v in videos for c in v.clips for s in c.samples}
    published = set(pl.read_parquet(sealed / "data/*.parquet")["sample_id"])
    failures = pl.read_parquet(sealed / "failures/*.parquet")
    dropped = set(failures.filter(pl.col("stage") == "SelectSamples")["key"])
    assert published | dropped == composed
    assert dropped
    assert not published & dropped
    assert failures.filter(pl.col("kind") == "failure")["reason"].to_list() == ["ReadError"]
    assert failures.height == sum(len(v.outcomes) + sum(len(c.drops) for c in v.clips) for v in videos)


def test_scores_join_by_id_and_unscored_samples_have_nulls(videos: list[FinishedVideo], sealed: Path):
    data = {s.sample_id: s for s in PublishedSample.from_arrow(ds.dataset(sealed / "data").to_table())}
    measured = {s.target_id: s for v in videos for c in v.clips for s in c.sample_scores}
    assert {k for k, s in data.items() if s.tpl is None} == data.keys() - measured.keys() != set()
    for key in data.keys() & measured.keys():
        seen = (data[key].tpl, data[key].tpl_key, data[key].hackability, data[key].verdict)
        assert seen == (measured[key].tpl, measured[key].tpl_key, measured[key].hackability, measured[key].verdict)
    targets = {*measured, *(s.target_id for v in videos for c in v.clips for s in c.caption_scores)}
    scores = pl.read_parquet(sealed / "scores/*.parquet")
    assert set(scores["sample_id"]) == targets
    assert scores.height == len(targets) * (8 + 2)  # frames, the film, the text


def test_given_questions_name_the_manifest_as_their_author(sealed: Path):
    data = pl.read_parquet(sealed / "data/*.parquet")
    by_family = {(f, d) for f, d in data.select("family", "describer").iter_rows()}
    assert ("given", "manifest") in by_family
    assert {d for f, d in by_family if f != "given"} == {"templates/1"}


def test_a_stable_share_of_the_videos_is_held_out():
    splits = [split_of(f"{k:064x}") for k in range(4000)]
    assert 0.04 < splits.count("validation") / len(splits) < 0.06
    assert splits == [split_of(f"{k:064x}") for k in range(4000)]


def test_equal_rows_give_equal_bytes(videos: list[FinishedVideo], sealed: Path, tmp_path: Path):
    publish(tmp_path, [FinishedVideo(v.video_id, v.clips[::-1], v.outcomes[::-1]) for v in videos], facts(wall_s=99))
    assert contents(tmp_path) == contents(sealed)
    assert read_manifest(tmp_path) != read_manifest(sealed)  # the run differs, and only the run


def test_scorers_with_and_without_calibration_are_counted_apart(videos: list[FinishedVideo], tmp_path: Path):
    bare = [replace(c, scorer=replace(c.scorer, n_frames=None)) for c in videos[-1].clips]
    manifest = publish(tmp_path, [*videos[:-1], FinishedVideo(videos[-1].video_id, bare, [])], facts())
    of_all = sum(len(v.clips) for v in videos)
    counts = {s.n_frames: s.clips_in + s.clips_out for s in manifest.scorers}
    assert bare
    assert counts == {8: of_all - len(bare), None: len(bare)}


def test_shards_are_cut_between_videos_and_row_groups_by_bytes(videos: list[FinishedVideo], tmp_path: Path):
    manifest = publish(tmp_path, videos, facts(), limits=Limits(shard_bytes=150_000, row_group_bytes=20_000))
    shards = [s for s in manifest.shards if s.table == "scores"]
    assert len(shards) > 1
    spans = [(s.first_video_id, s.last_video_id) for s in shards]
    assert all(a[1] < b[0] for a, b in pairwise(spans) if a[1] and b[0])
    assert sum(pq.read_metadata(tmp_path / s.path).num_row_groups for s in shards) > len(shards)
    for shard in shards:
        file = pq.ParquetFile(tmp_path / shard.path)
        for k in range(file.num_row_groups):
            group = file.read_row_group(k)
            assert group.nbytes <= 20_000 or group.num_rows == 1
    whole = tmp_path / "whole"
    publish(whole, videos, facts())
    for table in TABLES:
        assert ds.dataset(tmp_path / table).to_table().equals(ds.dataset(whole / table).to_table())


def test_no_videos_give_empty_tables_that_can_be_read(tmp_path: Path):
    manifest = publish(tmp_path, [], facts())
    assert [s.rows for s in manifest.shards] == [0] * 5
    assert pl.read_parquet(tmp_path / "data/*.parquet").height == 0
    assert manifest.shards[0].first_video_id is None
    assert problems(tmp_path, manifest) == []


def test_fewer_shards_replace_more(videos: list[FinishedVideo], sealed: Path, tmp_path: Path):
    publish(tmp_path, videos, facts(), limits=Limits(shard_bytes=1, row_group_bytes=1))
    assert len(list((tmp_path / "data").glob("*.parquet"))) > 1
    publish(tmp_path, videos, facts())
    assert contents(tmp_path) == contents(sealed)
    assert not (tmp_path / "_work/seal").exists()


@pytest.mark.parametrize("where", ["video 3", "rename 2", "rename 4"])
def test_killed_and_sealed_again_is_the_same(where: str, sealed: Path, tmp_path: Path):
    """Over an older seal with other contents, so that a mixture would show."""
    publish(tmp_path, corpus(2), facts(), limits=Limits(shard_bytes=1))
    kind, after = where.split()
    code = f"""
import os, signal
from pathlib import Path
from pipeline.publish import publish
from tests.publish.builders import corpus, facts
left = {after}
def step():
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
def videos():
    for video in corpus():
        if {kind == "video"}:
            step()
        yield video
rename = Path.rename
def killing(self, target):
    step()
    return rename(self, target)
if {kind == "rename"}:
    Path.rename = killing
publish(Path({str(tmp_path)!r}), videos(), facts())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    # Either the old data set is still whole, or nothing claims to be one.
    assert not (tmp_path / "manifest.json").exists() or problems(tmp_path, read_manifest(tmp_path)) == []
    assert (tmp_path / "manifest.json").exists() == (kind == "video")
    publish(tmp_path, corpus(), facts())
    assert contents(tmp_path) == contents(sealed)


def test_a_flipped_byte_a_lost_and_a_foreign_shard_are_found(videos: list[FinishedVideo], tmp_path: Path):
    manifest = publish(tmp_path, videos, facts())
    assert problems(tmp_path, manifest) == []
    path = tmp_path / "data/part-00000.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (tmp_path / "scores/part-00000.parquet").unlink()
    (tmp_path / "clips/more.parquet").write_bytes(b"")
    assert problems(tmp_path, manifest) == [
        "data/part-00000.parquet: bytes changed since it was sealed (sha256 differs)",
        "scores/part-00000.parquet: missing",
        "clips/more.parquet: not in the manifest",
    ]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(PublishError, match=r"cannot write .*/out/_work/seal.*choose another --out"):
        publish(tmp_path / "out", [], facts())


def test_a_full_disk_is_named(tmp_path: Path):
    """A limit on the size of files stands for the disk's end."""
    code = f"""
import resource
from pathlib import Path
from pipeline.publish import publish
from tests.publish.builders import corpus, facts
videos = corpus()
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
publish(Path({str(tmp_path)!r}), videos, facts())
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "PublishError: cannot write" in done.stderr
    assert "Free space" in done.stderr
    assert not (tmp_path / "manifest.json").exists()


def test_somebody_elses_parquet_is_refused(tmp_path: Path):
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "data/mine.parquet")
    with pytest.raises(PublishError, match=r"mine\.parquet is no shard of ours"):
        publish(tmp_path, [], facts())


def test_contradictions_are_errors(videos: list[FinishedVideo], tmp_path: Path):
    video = next(v for v in videos if v.clips)
    with pytest.raises(ValueError, match="must come sorted"):
        publish(tmp_path, [video, video], facts())
    with pytest.raises(ValueError, match="more than once"):
        publish(tmp_path, [FinishedVideo(video.video_id, [*video.clips, *video.clips], [])], facts())
    with pytest.raises(ValueError, match="clips of another video"):
        publish(tmp_path, [FinishedVideo("f" * 64, video.clips, [])], facts())
    lost = replace(video.clips[0], selected=video.clips[0].selected[1:])
    with pytest.raises(ValueError, match="neither selected nor dropped"):
        publish(tmp_path, [FinishedVideo(video.video_id, [lost], [])], facts())
    assert not (tmp_path / "manifest.json").exists()


def test_manifest_round_trip_and_refusals(sealed: Path, tmp_path: Path):
    manifest = read_manifest(sealed)
    assert Manifest.from_json(manifest.to_json()) == manifest
    old = json.loads(manifest.to_json())
    assert old["run"].pop("counted") == [{"stage": "SplitShots", "what": "prompt_tokens", "n": 1200}]
    assert manifest.run
    assert Manifest.from_json(json.dumps(old)).run == replace(manifest.run, counted=())
    assert manifest.rows("data") == pl.read_parquet(sealed / "data/*.parquet").height
    assert (manifest.scorers[0].clips_in, manifest.scorers[0].clips_out) == (6, 1)
    text = manifest.to_json()
    with pytest.raises(ValueError, match="format 9"):
        Manifest.from_json(text.replace('"format": 1', '"format": 9'))
    with pytest.raises(ValueError, match="does not know"):
        Manifest.from_json(text.replace('"format": 1', '"format": 1, "more": 2'))
    with pytest.raises(ValueError, match="null in engine"):
        Manifest.from_json(text.replace('"engine"', '"engin"'))
    with pytest.raises(ValueError, match="is not JSON"):
        Manifest.from_json(text[:100])
    with pytest.raises(FileNotFoundError, match="is no data set"):
        read_manifest(tmp_path)
