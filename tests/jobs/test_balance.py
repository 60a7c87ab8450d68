"""A build that leaves samples out for balance: named rows, proved answers, and the same bytes when sealed again."""

from fractions import Fraction
from functools import partial
from pathlib import Path

import polars as pl
import pytest

import jobs.build_utr_data
from jobs.cli import run_build
from pipeline.balance import find_balance
from pipeline.verify import verify
from stages.media.world_film import random_film, write_world_film
from tests.jobs.conftest import shards

RECIPE = "select: {balance: [place]}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for seed in (16, 21):
        write_world_film(folder / f"{seed}.mp4", random_film(seed, shots=1), fps=Fraction(25))
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


@pytest.mark.timeout(240)
def test_what_is_left_out_is_named_and_a_second_seal_is_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer than seven places cannot be even: of two films all of them go, each with the span that is its pair."""
    out, recipe = tmp_path / "out", str(folder / "recipe.yaml")
    assert run_build(str(folder), out, recipe, resume=False, runner="local") == 0
    every = pl.read_parquet(out / "data/*.parquet")  # few samples are left alone
    monkeypatch.setattr(jobs.build_utr_data, "find_balance", partial(find_balance, min_samples=1))
    (out / "manifest.json").unlink()
    assert run_build(str(folder), out, recipe, resume=True, runner="local") == 0
    failures = pl.read_parquet(out / "failures/*.parquet").filter(pl.col("stage") == "Balance")
    gone = pl.col("group_id").is_in(every.filter(pl.col("family") == "where")["group_id"].implode())
    assert set(every.filter(gone)["family"]) == {"where", "when"}
    assert set(failures["key"]) == set(every.filter(gone)["sample_id"])
    assert set(failures["reason"]) == {"imbalance"}
    assert pl.read_parquet(out / "data/*.parquet").equals(every.filter(~gone))
    assert verify(out).problems == ()
    assert f"{failures.height} of {every.height} samples were left out" in (out / "report.html").read_text()
    before = shards(out)
    (out / "manifest.json").unlink()
    assert run_build(str(folder), out, recipe, resume=True, runner="local") == 0
    assert shards(out) == before
