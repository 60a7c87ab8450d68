"""Where the output cannot be written, the command says so, and the same one goes on when it can."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest

from jobs.cli import run_build
from stages.media.world_film import random_film, write_world_film
from tests.jobs.conftest import shards

RECIPE = "decode: {{track_fps: 5, plan_frames: 4}}\nscore_samples: {{max_targets: 1}}\nstore_dir: {store}\n"


@contextmanager
def no_larger_files_than(n_bytes: int) -> Iterator[None]:
    """A limit on the size of files stands for the disk's end: the write fails in its middle, as there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_named_and_the_same_command_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_world_film(tmp_path / "one.mp4", random_film(16, shots=1), fps=Fraction(25))
    recipe = tmp_path / "r.yaml"
    recipe.write_text(RECIPE.format(store=tmp_path / "store"))  # the first build fills it, so that no later one writes

    def build(out: Path) -> int:
        return run_build(str(tmp_path / "one.mp4"), out, str(recipe), resume=False, runner="local")

    assert build(tmp_path / "whole") == 0
    (committed,) = (tmp_path / "whole/_work/videos").iterdir()
    out = tmp_path / "out"
    with no_larger_files_than(committed.stat().st_size - 1):
        assert build(out) == 5
    said = capsys.readouterr().err
    assert f"cannot write {out}/_work/videos/{committed.name}: [Errno 27] File too large. Free space, or" in said
    assert "choose another --out. The same command goes on from here." in said
    assert list((out / "_work/videos").iterdir()) == []  # the room is given back
    assert build(out) == 0
    assert shards(out) == shards(tmp_path / "whole")


def test_an_output_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    assert run_build(str(tmp_path), out, "default", resume=False, runner="local") == 5
    assert f"cannot write {out}/_work: [Errno 20] Not a directory" in capsys.readouterr().err
