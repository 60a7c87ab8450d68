"""The build job as people run it: on good and bad files, killed, resumed, with another recipe."""

import json
import os
import shutil
import signal
import time
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.cli import run_build
from pipeline.run_ray import local_ray
from pipeline.verify import verify
from schemas.outcome import Outcome
from schemas.sample import PublishedClip, PublishedSample, PublishedScore
from tests.jobs.conftest import QUESTION, shards, utr

RECIPE = "seed: 0\ndecode: {plan_frames: 6}\n"


def test_every_file_ends_as_samples_or_as_a_named_row(built: Path) -> None:
    failures = pl.read_parquet(built / "failures/*.parquet")
    ended = {(u, k, r) for u, k, r in failures.select("uri", "kind", "reason").iter_rows() if not u.startswith("!")}
    whole_files = {
        ("zero.mp4", "failure", "ReadError"), ("text.mp4", "failure", "ReadError"), ("cut.mp4", "failure", "ReadError"),
        ("missing.mp4", "failure", "ReadError"), ("sound.mp4", "skip", "no_video_stream"),
        ("single.mp4", "skip", "too_few_frames"), ("two-again.mp4", "skip", "duplicate_file"),
        ("still.mp4", "skip", "no_subject"),
    }  # fmt: skip
    assert whole_files <= ended
    assert failures.filter(pl.col("uri") == "zero.mp4")["detail"].item() != ""
    used = set(pl.read_parquet(built / "data/*.parquet")["uri"])
    assert used == {"one.mp4", "two.mp4", "more.mp4"}


def test_files_and_columns_are_those_of_the_design(built: Path) -> None:
    tables = {"data": PublishedSample, "clips": PublishedClip, "scores": PublishedScore, "failures": Outcome}
    for table, row in tables.items():
        for path in (built / table).glob("*.parquet"):
            assert pq.read_schema(path).equals(row.schema(), check_metadata=False), table
    samples = pl.read_parquet(built / "data/*.parquet")
    assert samples["sample_id"].n_unique() == len(samples) > 20
    assert {"manifest.json", "README.md", "report.html"} <= {p.name for p in built.iterdir()}
    assert set(samples["describer"]) <= {"templates/1", "manifest"}


def test_given_texts_are_scored_with_their_video(built: Path) -> None:
    samples = pl.read_parquet(built / "data/*.parquet")
    given = samples.filter(pl.col("family") == "given")
    assert given["uri"].to_list() == ["one.mp4"]
    assert given["messages"].to_list()[0][1]["content"] == QUESTION["answer"]
    scores = pl.read_parquet(built / "scores/*.parquet")
    assert scores.filter(pl.col("sample_id").str.ends_with("/caption/given")).height == 10  # 8 frames, all, none


def test_given_texts_of_a_video_with_cuts_are_dropped_by_name(built: Path) -> None:
    failures = pl.read_parquet(built / "failures/*.parquet")
    dropped = failures.filter(pl.col("reason") == "text_spans_shots")
    assert dropped["uri"].to_list() == ["two.mp4"]
    assert "2 given texts" in dropped["detail"].item()


def test_all_answers_are_proved(built: Path) -> None:
    verdict = verify(built)
    assert verdict.problems == ()
    assert verdict.proved == verdict.samples - verdict.given > 20


@pytest.mark.timeout(420)
def test_killed_on_ray_and_run_again_gives_the_same_bytes(corpus: Path, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = utr("build", "--videos", corpus, "--out", out)
    _wait_for_commits(run, out, 2)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert not (out / "manifest.json").exists()
    again = utr("build", "--videos", corpus, "--out", out, "--resume")
    text, _ = again.communicate(timeout=360)
    assert again.returncode == 0, text
    assert shards(out) == shards(built)


@pytest.mark.timeout(240)
def test_ctrl_c_keeps_what_is_finished(corpus: Path, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = utr("build", "--videos", corpus, "--out", out, "--runner", "local")
    _wait_for_commits(run, out, 1)
    os.killpg(run.pid, signal.SIGINT)
    text, _ = run.communicate(timeout=60)
    assert run.returncode == 130, text
    assert "same command goes on" in text
    assert run_build(str(corpus), out, "default", resume=False, runner="local") == 0
    assert shards(out) == shards(built)


def test_another_recipe_is_refused_with_the_difference(
    corpus: Path, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(RECIPE)
    before = shards(built)
    assert run_build(str(corpus), built, str(other), resume=False, runner="local") == 2
    assert "DecodeClip.plan_frames: 8 -> 6" in capsys.readouterr().err
    assert shards(built) == before


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("decode: {track_fsp: 10}\n", "decode: unknown key track_fsp; known: track_fps"),
        ("decoder: {}\n", "decoder: Extra inputs are not permitted"),
        ("decode: {track_fps: fast}\n", "decode.track_fps: Input should be a valid number"),
        ("detect: {expert: nobody}\n", "there are: 'motion', 'onnx'"),
    ],
)
def test_a_wrong_recipe_is_refused_by_key(
    corpus: Path, tmp_path: Path, recipe: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(recipe)
    assert run_build(str(corpus), tmp_path / "out", str(path), resume=False, runner="local") == 2
    assert says in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_nobody_elses_folder_is_overwritten(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "holiday.jpg").write_text("mine")
    assert run_build(str(corpus), tmp_path, "default", resume=False, runner="local") == 2
    assert "holiday.jpg" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]


def test_resume_insists_on_something_to_go_on_with(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_build(str(corpus), tmp_path / "out", "default", resume=True, runner="local") == 2
    assert "no unfinished build" in capsys.readouterr().err


def test_manifest_names_what_made_it(built: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["scorers"][0]["scorer"].startswith("utr-shapes@")
    assert manifest["scorers"][0]["n_frames"] == 8
    assert "SplitShots.detector = 'adaptive'" in manifest["plan"]
    assert {p["name"] for p in manifest["packages"]} >= {"torch", "ray", "av"}


def _wait_for_commits(run, out: Path, count: int) -> None:
    """Until so many videos are committed; fails where the run ends before."""
    end = time.monotonic() + 200
    while len(list((out / "_work" / "videos").glob("*.arrow"))) < count:
        assert run.poll() is None, run.stdout.read()
        assert time.monotonic() < end, "no commit in 200 s"
        time.sleep(0.02)


@pytest.mark.timeout(300)
def test_the_whole_plan_fits_on_two_cpus_of_ray(corpus: Path, built: Path, tmp_path: Path) -> None:
    """Twelve stages, seven of them actor pools: with a CPU each they would wait for each other for ever."""
    out = tmp_path / "out"
    with local_ray(num_cpus=2):
        assert run_build(str(corpus), out, "default", resume=False, runner="ray") == 0
    assert shards(out) == shards(built)


def test_packed_frames_are_the_planned_ones_in_small_row_groups(corpus: Path, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(built, out)
    assert run_build(str(corpus), out, "default", resume=True, runner="local", pack_frames=True) == 0
    (path,) = (out / "clips").glob("*.parquet")
    footer = pq.read_metadata(path)
    assert max(footer.row_group(i).num_rows for i in range(footer.num_row_groups)) <= 4
    clips = pl.read_parquet(path)
    assert clips["frames_jpeg"].list.len().to_list() == [8] * len(clips)
    first = Image.open(BytesIO(clips["frames_jpeg"][0][0]))
    assert first.size == (256, 256)
    assert verify(out).problems == ()
    same = {name: data for name, data in shards(out).items() if not name.startswith("clips")}
    assert same == {name: data for name, data in shards(built).items() if not name.startswith("clips")}
