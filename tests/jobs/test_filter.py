"""A build that drops copies and black films: one of each pair stays, by content alone, also when it is done again."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jobs.cli import run_build
from pipeline.verify import verify
from stages.media.film import write_film
from stages.media.world_film import random_film
from tests.jobs.conftest import shards

RECIPE = "filter: {max_black_share: 0.5, drop_near_duplicates: true}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film, its mirror image in another quality, its small copy at another rate, and a black film."""
    folder = tmp_path_factory.mktemp("copies")
    (world,) = random_film(16, shots=1)
    frames = [world.render(k / 30, 256) for k in range(int(world.duration_s * 30))]
    write_film(folder / "film.mp4", frames, fps=Fraction(30))
    mirrored = [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]
    write_film(folder / "again.mp4", mirrored, fps=Fraction(30), crf=32)
    small = [world.render(k / 25, 128) for k in range(int(world.duration_s * 25))]
    write_film(folder / "small.mp4", small, fps=Fraction(25), crf=28)
    write_film(folder / "black.mp4", [np.full((64, 64, 3), 16, np.uint8)] * 60, fps=Fraction(30))
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


@pytest.mark.timeout(240)
def test_copies_and_black_films_end_by_name_and_a_second_seal_is_the_same(folder: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "out", str(folder / "recipe.yaml")
    assert run_build(str(folder), out, recipe, resume=False, runner="local") == 0
    samples, failures = (pl.read_parquet(out / f"{table}/*.parquet") for table in ("data", "failures"))
    (kept,) = samples["clip_id"].unique()
    ended = failures.filter(pl.col("stage").is_in(["FilterClips", "NearDuplicates"]))
    found = {uri: (reason, detail) for uri, reason, detail in ended.select("uri", "reason", "detail").iter_rows()}
    assert found.pop("black.mp4") == ("black", "black_share 1 > 0.5")
    assert len(found) == 2
    assert set(found.values()) == {("near_duplicate", f"shows what {kept} shows")}
    assert "small.mp4" in found  # the larger picture stays
    (measured,) = pl.read_parquet(out / "quality/*.parquet").iter_rows(named=True)  # of what was not dropped, too
    assert measured["clip_id"] == kept
    assert measured["black_share"] == 0
    assert measured["motion"] > 0.01  # shapes cross the frame in seconds
    assert verify(out).problems == ()
    funnel = {line["stage"]: line for line in json.loads((out / "manifest.json").read_text())["funnel"]}
    assert (funnel["NearDuplicates"]["rows_in"], funnel["NearDuplicates"]["rows_out"]) == (3, 1)
    before = shards(out)
    (out / "manifest.json").unlink()
    shutil.rmtree(out / "data")
    assert run_build(str(folder), out, recipe, resume=True, runner="local") == 0
    assert shards(out) == before
