"""The same folder again, after something changed in between: nothing old may pass for new."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest

from jobs.cli import run_build
from pipeline.verify import verify
from stages.media.world_film import random_film, write_world_film


def _write(folder: Path, name: str, answer: str) -> str:
    line = {"uri": name, "caption": f"{answer}.", "qa": [{"question": "Which?", "answer": answer}]}
    (folder / "m.jsonl").write_text(json.dumps(line) + "\n")
    return str(folder / "m.jsonl")


def _build(manifest: str, out: Path, folder: Path, **keys: object) -> int:
    recipe = folder / "r.yaml"
    recipe.write_text(json.dumps({"store_dir": str(folder / "store"), **keys}))
    return run_build(manifest, out, str(recipe), resume=False, runner="local")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film, built once into out/."""
    folder = tmp_path_factory.mktemp("again")
    write_world_film(folder / "one.mp4", random_film(16, shots=1), fps=Fraction(25))
    assert _build(_write(folder, "one.mp4", "First"), folder / "out", folder) == 0
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    shutil.copytree(begun, tmp_path / "again")
    manifest = _write(tmp_path / "again", "one.mp4", "First")
    assert _build(manifest, tmp_path / "again" / "out", tmp_path / "again") == 0  # it lies elsewhere: built again
    return tmp_path / "again"


def test_changed_texts_are_what_is_published(folder: Path) -> None:
    assert _build(_write(folder, "one.mp4", "Second"), folder / "out", folder) == 0
    given = pl.read_parquet(folder / "out/data/*.parquet").filter(pl.col("family") == "given")
    assert given["messages"].to_list()[0][1]["content"] == "Second"


def test_a_renamed_film_is_published_under_its_new_name_with_a_report(folder: Path) -> None:
    (folder / "one.mp4").rename(folder / "two.mp4")
    shutil.rmtree(folder / "store")
    assert _build(_write(folder, "two.mp4", "First"), folder / "out", folder) == 0
    assert set(pl.read_parquet(folder / "out/data/*.parquet")["uri"]) == {"two.mp4"}
    assert (folder / "out" / "report.html").exists()


def test_a_sealed_set_is_not_replaced_by_another_recipe(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder / "out" / "_work")
    before = (folder / "out" / "manifest.json").read_bytes()
    manifest = _write(folder, "one.mp4", "First")
    assert _build(manifest, folder / "out", folder, compose={"max_risk": 0.5}) == 2
    assert "ComposeSamples.max_risk: 0.75 -> 0.5" in capsys.readouterr().err
    assert (folder / "out" / "manifest.json").read_bytes() == before
    assert _build(manifest, folder / "out", folder) == 0  # the same recipe begins anew
    assert verify(folder / "out").problems == ()


def test_fewer_frames_than_the_scorer_was_calibrated_for_are_out_of_its_domain(folder: Path) -> None:
    manifest = _write(folder, "one.mp4", "First")
    assert _build(manifest, folder / "six", folder, decode={"plan_frames": 6}) == 0
    samples = pl.read_parquet(folder / "six/data/*.parquet")
    assert set(samples["scorer_domain"]) == {"out"}
    assert set(samples["frame_tick"].list.len()) == {6}
