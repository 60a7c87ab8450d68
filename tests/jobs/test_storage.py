"""From and to an S3 server: what is built there is what is built here, also killed and gone on with."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from upath import UPath

from jobs.cli import app, run_build
from pipeline.ledger import PlanChanged, TakenOver
from pipeline.publish import publish, read_manifest
from pipeline.run_ray import local_ray
from pipeline.shards import Limits, problems
from pipeline.sources import SourceError, read_sources, videos_root
from pipeline.storage import PublishError, place
from pipeline.verify import NotADataSet, verify
from schemas.video import Source
from stages.media.world_film import random_film, write_world_film
from tests.jobs.conftest import ROOT, shards, utr
from tests.pipeline.test_ledger import VIDEOS, ledger, same
from tests.publish.builders import corpus as made_corpus
from tests.publish.builders import facts
from tests.s3 import BUCKET, fresh_stores, keys, objects, s3_server

URL = f"s3://{BUCKET}"
FILMS = {"one.mp4": random_film(16, shots=1), "sub/two.mp4": random_film(5, shots=1)}
RECIPE = "decode: {track_fps: 5, plan_frames: 4}\nscore_samples: {max_targets: 1}\n"


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(scope="module")
def films(server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films in a folder here, and under s3://utr/films."""
    folder = tmp_path_factory.mktemp("films")
    for name, film in FILMS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_world_film(folder / name, film, fps=Fraction(25))
        UPath(f"{URL}/films/{name}").write_bytes((folder / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture(scope="module")
def built(films: Path, recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The films of the store, built undisturbed into a folder here."""
    out = tmp_path_factory.mktemp("built") / "out"
    assert run_build(f"{URL}/films", out, recipe, resume=False, runner="local") == 0
    return out


def tables(out: str) -> dict[str, bytes]:
    return {key: data for key, data in objects(out).items() if key.endswith(".parquet")}


def test_folders_files_and_manifests_of_a_store_are_sources(server: str) -> None:
    for key in ("b.MP4", "a.mkv", "sub/c..mp4", "notes.txt", ".hidden/d.mp4", "sub//e.mp4"):
        UPath(URL).fs.pipe_file(f"{BUCKET}/listed/{key}", b"film")
    lines = ["a.mkv", "../listed/b.MP4", f"{URL}/listed/x.mp4", "/here/y.mp4", "s3://other/z.mp4"]
    (UPath(URL) / "listed" / "m.jsonl").write_text("".join(f'{{"uri": "{uri}"}}\n' for uri in lines))
    found = read_sources(f"{URL}/listed")
    assert [s.uri for s in found] == ["a.mkv", "b.MP4", "sub//e.mp4", "sub/c..mp4"]
    assert found[0] == Source(uri="a.mkv", location=f"{URL}/listed/a.mkv", caption=None, qa=())
    assert found[2].location == f"{URL}/listed/sub//e.mp4"
    assert read_sources(f"{URL}/listed/a.mkv") == found[:1]
    assert [(s.uri, s.location) for s in read_sources(f"{URL}/listed/m.jsonl")] == [
        ("a.mkv", f"{URL}/listed/a.mkv"),
        ("b.MP4", f"{URL}/listed/b.MP4"),
        ("x.mp4", f"{URL}/listed/x.mp4"),
        ("/here/y.mp4", "/here/y.mp4"),
        ("s3://other/z.mp4", "s3://other/z.mp4"),
    ]
    (UPath(URL) / "m.jsonl").write_text(f'{{"uri": "listed/a.mkv"}}\n{{"uri": "{URL}/b.mp4"}}\n')
    assert [(s.uri, s.location) for s in read_sources(f"{URL}/m.jsonl")] == [
        ("listed/a.mkv", f"{URL}/listed/a.mkv"),
        ("b.mp4", f"{URL}/b.mp4"),
    ]
    assert {s.uri: s.location for s in read_sources(URL)}["listed/a.mkv"] == f"{URL}/listed/a.mkv"
    assert str(videos_root(f"{URL}/listed/m.jsonl")) == str(videos_root(f"{URL}/listed/")) == f"{URL}/listed"


@pytest.mark.parametrize(
    ("videos", "says"),
    [
        (f"{URL}/nothing", "s3://utr/nothing: no such file or folder"),
        ("s3://no-such-bucket/films", "s3://no-such-bucket/films: no such file or folder"),
        (f"{URL}/films-without/readme.txt", "neither a folder, a video nor a manifest"),
        ("gs://bucket/films", "gs://bucket/films: .*install gcsfs"),
        ("nosuch://bucket/films", "nosuch://bucket/films: .*nosuch"),
    ],
)
def test_what_cannot_be_read_is_named(videos: str, says: str) -> None:
    (UPath(URL) / "films-without" / "readme.txt").write_text("none")
    with pytest.raises(SourceError, match=says):
        read_sources(videos)


def test_a_package_that_a_manifests_url_needs_is_named_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"uri\n{URL}/a.mp4\ngs://bucket/b.mp4\n")
    with pytest.raises(SourceError, match=r"gs://bucket/b\.mp4: .*install gcsfs"):
        read_sources(str(tmp_path / "m.csv"))


def test_a_store_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    (tmp_path / "a.mp4").touch()
    with fresh_stores():
        assert run_build(f"{URL}/films", tmp_path / "out", "default", resume=False, runner="local") == 2
        assert "s3://utr/films: cannot be read: Could not connect" in capsys.readouterr().err
        assert run_build(str(tmp_path), f"{URL}/out", "default", resume=False, runner="local") == 5
        assert "cannot write s3://utr/out: Could not connect" in capsys.readouterr().err
        with pytest.raises(NotADataSet, match="s3://utr/out: cannot be read: Could not connect"):
            verify(place(f"{URL}/out"))
    assert not (tmp_path / "out").exists()


def test_what_is_sealed_in_a_store_is_what_is_sealed_here(tmp_path: Path) -> None:
    out = place(f"{URL}/sealed")
    publish(out, made_corpus(3), facts(), limits=Limits(shard_bytes=1, row_group_bytes=1))
    assert len(tables(f"{URL}/sealed")) > 4
    publish(out, made_corpus(3), facts())
    publish(tmp_path, made_corpus(3), facts())
    assert tables(f"{URL}/sealed") == shards(tmp_path)
    assert read_manifest(out) == read_manifest(tmp_path)
    assert set(objects(f"{URL}/sealed")) == {*shards(tmp_path), "manifest.json"}


@pytest.mark.parametrize("puts", [2, 4])
def test_a_seal_that_is_killed_between_its_puts_is_repaired_by_the_next(puts: int, tmp_path: Path) -> None:
    """Over an older seal with other contents, so that a mixture would show. The manifest is PUT number 4."""
    url = f"{URL}/killed-{puts}"
    publish(place(url), made_corpus(2), facts(), limits=Limits(shard_bytes=1))
    code = f"""
import os, signal
from s3fs import S3FileSystem
from pipeline.publish import publish
from pipeline.storage import place
from tests.publish.builders import corpus, facts
left, put = {puts}, S3FileSystem._put_file
async def killing(self, *args, **options):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    await put(self, *args, **options)
S3FileSystem._put_file = killing
publish(place({url!r}), corpus(3), facts())
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert "manifest.json" not in objects(url)
    with pytest.raises(NotADataSet, match=r"no manifest\.json"):
        verify(place(url))
    publish(place(url), made_corpus(3), facts())
    publish(tmp_path, made_corpus(3), facts())
    assert tables(url) == shards(tmp_path)


def test_objects_that_no_manifest_names_are_named(tmp_path: Path) -> None:
    out = place(f"{URL}/strange")
    manifest = publish(out, made_corpus(2), facts())
    data = (out / "data/part-00000.parquet").read_bytes()
    (out / "data/part-00001.parquet").write_bytes(data)
    (out / "scores/part-00000.parquet").unlink()
    (out / "clips/part-00000.parquet").write_bytes(b"PAR1")
    assert problems(place(str(out)), manifest) == [
        f"clips/part-00000.parquet: 4 bytes, manifest says {manifest.shards[1].bytes}",
        "scores/part-00000.parquet: missing",
        "data/part-00001.parquet: not in the manifest",
    ]
    (out / "data/mine.parquet").write_bytes(data)
    with pytest.raises(PublishError, match=r"s3://utr/strange/data/mine\.parquet is no shard of ours"):
        publish(out, made_corpus(2), facts())


def test_a_ledger_in_a_store_is_read_back_and_has_one_owner() -> None:
    work = place(f"{URL}/work")
    uri, video = next(iter(VIDEOS.items()))
    with ledger(work).open() as book:
        book.commit(uri, video, asked="x")
        assert book.done() == {uri: "x"}
    (work / "videos/torn.arrow").write_bytes(b"ARROW1")
    with ledger(work).open() as old:
        assert old.done() == {uri: "x"}
        assert same(old.read(uri), video)
        assert not (work / "videos/torn.arrow").exists()
        with pytest.raises(PlanChanged, match=r"RateBeats.scale: 0.5 -> 0.25"), ledger(work, scale=0.25).open():
            pass
        old.commit("kept", video, asked="")  # who was refused took nothing
        with ledger(work).open() as new:
            with pytest.raises(TakenOver, match=rf"s3://utr/work was taken over by process {os.getpid()} on "):
                old.commit("late", video, asked="")
            assert set(new.done()) == {uri, "kept"}
    assert "videos/late.arrow" not in objects(f"{URL}/work")


@pytest.mark.timeout(600)
def test_killed_there_and_run_again_there_gives_the_same_bytes(
    films: Path, built: Path, recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"{URL}/out"
    run = utr("build", "--videos", f"{URL}/films", "--out", out, "--recipe", recipe, "--runner", "local")
    _wait_for_commit(run, out)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert "manifest.json" not in objects(out)
    before = objects(out)
    other = tmp_path / "other.yaml"
    other.write_text("decode: {plan_frames: 6}\n")
    assert run_build(f"{URL}/films", out, str(other), resume=False, runner="local") == 2
    assert "DecodeClip.plan_frames: 4 -> 6" in capsys.readouterr().err
    assert objects(out) == before
    assert run_build(f"{URL}/films", out, recipe, resume=True, runner="local") == 0
    assert tables(out) == shards(built)
    assert read_manifest(place(out)).without_run() == read_manifest(built).without_run()
    assert {"README.md", "report.html", "plots/tpl_by_family.png"} <= objects(out).keys()
    said = CliRunner().invoke(app, ["verify", out])
    assert said.exit_code == 0, said.output
    assert ", 0 problems" in " ".join(said.output.split())  # it is wrapped


@pytest.mark.timeout(600)
def test_films_of_a_store_look_like_the_same_films_here(films: Path, built: Path, recipe: str) -> None:
    """Ids differ (a store's are of size and etag), so what was drawn by id may; what was seen may not."""
    out = f"{URL}/of-local"
    assert run_build(str(films), out, recipe, resume=False, runner="local") == 0
    assert verify(place(out)).problems == ()
    seen = []
    for folder in (place(out), built):
        with (folder / "clips/part-00000.parquet").open("rb") as file:
            clips = pq.read_table(file, columns=["tracks", "events", "captions"]).to_pylist()
        seen.append(sorted(map(str, clips)))
    assert seen[0] == seen[1]
    assert len(seen[0]) == 2
    assert read_manifest(built).videos_root == f"{URL}/films"


@pytest.mark.timeout(300)
def test_workers_of_ray_read_from_the_store(films: Path, built: Path, recipe: str) -> None:
    with local_ray(num_cpus=2):
        assert run_build(f"{URL}/films", f"{URL}/ray", recipe, resume=False, runner="ray") == 0
    assert tables(f"{URL}/ray") == shards(built)


def _wait_for_commit(run: "subprocess.Popen[str]", out: str) -> None:
    """Until a video is committed; fails where the run ends before."""
    end = time.monotonic() + 400
    while not any(key.endswith(".arrow") for key in keys(out)):
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < end, "no commit in 400 s"
        time.sleep(0.1)
