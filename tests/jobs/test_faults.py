"""The whole build on 300 films that a bad disk left: it ends, and each file is in the data or in failures/ by name."""

from pathlib import Path

import polars as pl
import pytest

from jobs.cli import run_build
from tests.media.mutants import write_mutants

RECIPE = """
split: {{detector: content, threshold: 255.0, min_clip_s: 0.3, min_shot_s: 0.1, timeout_s: 60}}
probe: {{timeout_s: 60}}
decode: {{track_fps: 25, timeout_s: 60}}
max_failed_share: 1
store_dir: {store}
"""


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("runner", ["local", "ray"])
def test_every_file_of_300_is_accounted_for(runner: str, tmp_path: Path) -> None:
    films, recipe, out = tmp_path / "films", tmp_path / "r.yaml", tmp_path / "out"
    names = {film.name for film in write_mutants(films, 300, seed=3)}
    recipe.write_text(RECIPE.format(store=tmp_path / "store"))
    assert run_build(str(films), out, str(recipe), resume=False, runner=runner) in (0, 4)
    ended = pl.read_parquet(out / "failures/*.parquet")
    used = {uri for path in (out / "data").glob("*.parquet") for uri in pl.read_parquet(path)["uri"]}
    assert set(ended["uri"]) | used == names
    failed = ended.filter(pl.col("kind") == "failure")
    assert set(failed["reason"]) == {"ReadError"}, "a decoder hung or crashed"
    assert all(uri in detail for uri, detail in failed.select("uri", "detail").iter_rows())
