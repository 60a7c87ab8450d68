"""Submitting: what is sent, what is refused, and a real build as a job of a real cluster."""

import os
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from jobs.cli import app, run_build
from jobs.console import Console
from jobs.submit import DATA, MAX_BYTES, PACKAGES, ROOT, CannotSubmit, _code, prepare, sent, shipped
from pipeline.ray_jobs import Ended, JobServer
from pipeline.verify import verify
from stages.media.world_film import random_film, write_world_film
from tests.jobs.conftest import shards, utr
from tests.jobs.ray_nodes import BIN, Node, free_ports, ray_head

OPTIONS = {"videos": "/films", "out": Path("/out"), "recipe": "default"}


def test_only_code_and_what_it_reads_is_sent(tmp_path: Path) -> None:
    wanted = {
        "jobs/cli.py",
        "stages/media/child.py",
        "jobs/recipes/a.yaml",
        "stages/models/checkpoints/m/x.safetensors",
    }
    stray = {".git/objects/a", ".venv/lib/a.py", "out/data/a.parquet", "films/a.mp4", "jobs/__pycache__/cli.pyc",
             "stages/films/a.mp4", "jobs/recipes/__pycache__/a.pyc", "secrets.py", "pipeline/notes.txt"}  # fmt: skip
    for name in wanted | stray:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert {p.relative_to(tmp_path).as_posix() for p in shipped(tmp_path)} == wanted


def test_what_is_sent_is_what_the_wheel_holds() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert [name.removesuffix("*") for name in setuptools["packages"]["find"]["include"]] == list(PACKAGES)
    folders = {
        f"{package}/{Path(glob).parent}" for package, globs in setuptools["package-data"].items() for glob in globs
    }
    assert folders == set(DATA)


def test_the_working_directory_runs_by_itself_under_its_own_version(tmp_path: Path) -> None:
    prepare(tmp_path, OPTIONS, [])
    code = (
        "import sys; sys.path.insert(0, '.'); from importlib.metadata import distribution, version\n"
        "import jobs.cli, pipeline.report, stages.models.checkpoint as c\n"
        "print(jobs.cli.__file__, version('utr-engine'), distribution('utr-engine').locate_file('.'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    file, _, where = done.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert (tmp_path / where).resolve() == tmp_path.resolve()
    held = {p.name for p in tmp_path.iterdir()} - {"__pycache__"}
    assert held == {*PACKAGES, next(p.name for p in tmp_path.glob("*.dist-info"))}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"videos": "films"}, "--videos films: the job runs in another folder"),
        ({"videos": "./films"}, "the absolute path under which all nodes of the cluster see it, or a URL"),
        ({"out": Path("out")}, "--out out: the job runs in another folder"),
    ],
)
def test_paths_that_the_cluster_cannot_see_are_refused_by_name(tmp_path: Path, changed: dict, says: str) -> None:
    with pytest.raises(CannotSubmit, match=says):
        prepare(tmp_path, {**OPTIONS, **changed}, [])


def test_a_recipe_file_travels_along(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 3\n")
    (tmp_path / "wd").mkdir()
    recipe = str(tmp_path / "mine.yaml")
    arguments = ["--videos", "/a b", "--out", "/out", "--recipe", recipe]
    command = shlex.split(prepare(tmp_path / "wd", {**OPTIONS, "recipe": recipe}, arguments))
    assert command[:4] == ["python", "jobs/build_utr_data.py", "--videos", "/a b"]
    assert command[-2:] == ["--recipe", "recipe.yaml"]
    assert (tmp_path / "wd" / "recipe.yaml").read_text() == "seed: 3\n"


def test_more_than_ray_takes_is_refused_with_the_largest_file(tmp_path: Path) -> None:
    (tmp_path / "small").write_text("x" * 1000)
    assert sent(tmp_path) == "working directory: 1 files, 0.0 MB"
    with (tmp_path / "huge.safetensors").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(CannotSubmit, match=r"Ray takes 104\.9 MB; the largest file is huge\.safetensors with 104\.9"):
        sent(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--videos", "/a", "--outt", "/b"], "No such option: --outt"),
        (["--videos", "/a", "--out", "/b", "--recipe", "nobodys"], "no such recipe"),
        (["--videos", "a", "--out", "/b"], "--videos a: the job runs in another folder"),
    ],
)
def test_a_command_that_cannot_run_is_refused_before_it_is_sent(arguments: list[str], says: str) -> None:
    done = CliRunner().invoke(app, ["submit", "--address", _nobody(), "--", *arguments])
    assert done.exit_code == 2
    assert says in done.output


@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.1:6379", "that of the cluster's dashboard is wanted"), (None, "no Ray job server answers at http://")],
)
def test_an_address_where_no_cluster_is(address: str | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://elsewhere:1")  # must not win over what is given
    address = address or _nobody()
    done = CliRunner().invoke(app, ["submit", "--address", address, "--", "--videos", "/a", "--out", "/b"])
    assert done.exit_code == 2
    assert says in done.output
    assert address in done.output


def test_authentication_is_left_to_the_cluster() -> None:
    """Ray in a process of its own has none; a cluster may have."""
    code = (
        "import os, sys; from typer.testing import CliRunner; from jobs.cli import app\n"
        "print(CliRunner().invoke(app, sys.argv[1:]).output, os.environ.get('RAY_AUTH_MODE'))"
    )
    given = ["submit", "--address", _nobody(), "--", "--videos", "/a", "--out", "/b"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *given], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert "no Ray job server answers" in done.stdout, done.stderr
    assert done.stdout.split()[-1] == "None"


def test_dry_run_says_size_and_command_and_needs_no_cluster() -> None:
    arguments = ["submit", "--dry-run", "--address", _nobody(), "--", "--videos", "/a", "--out", "/b"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "working directory: " in done.output
    assert "python jobs/build_utr_data.py --videos /a --out /b" in done.output


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (Ended(stopped=False, exit_code=0, message=""), 0),
        (Ended(stopped=False, exit_code=4, message=""), 4),
        (Ended(stopped=False, exit_code=1, message="ModuleNotFoundError"), 6),
        (Ended(stopped=False, exit_code=-9, message="killed"), 6),
        (Ended(stopped=False, exit_code=None, message="no runtime environment"), 6),
        (Ended(stopped=True, exit_code=None, message=""), 130),
    ],
)
def test_exit_codes_are_those_of_a_build(ended: Ended, code: int) -> None:
    assert _code(ended, Console(quiet=True)) == code


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one film of one shot."""
    folder = tmp_path_factory.mktemp("films")
    write_world_film(folder / "one.mp4", random_film(16, shots=1), fps=Fraction(25))
    return folder


@pytest.fixture(scope="module")
def expected(film: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The shards of a build in this process."""
    out = tmp_path_factory.mktemp("expected") / "out"
    assert run_build(str(film), out, "default", resume=False, runner="local") == 0
    return shards(out)


@pytest.fixture(scope="module")
def head() -> Iterator[Node]:
    with ray_head() as node:
        yield node


@pytest.fixture(scope="module")
def submitted(film: Path, head: Node, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data set that `utr submit` built, and what it printed."""
    out = tmp_path_factory.mktemp("submitted") / "out"
    run = utr("submit", "--address", head.dashboard, "--", "--videos", film, "--out", out)
    text, _ = run.communicate(timeout=500)
    assert run.returncode == 0, text
    return out, text


@pytest.mark.timeout(600)
def test_a_submitted_build_gives_the_same_bytes(submitted: tuple[Path, str], expected: dict[str, bytes]) -> None:
    out, text = submitted
    assert shards(out) == expected
    verdict = verify(out)
    assert verdict.problems == ()
    assert verdict.proved == len(pl.read_parquet(out / "data/*.parquet")) > 0
    assert "working directory: " in text
    assert "building videos: 1 of 1" in text, "the job's log is followed"


@pytest.mark.timeout(600)
def test_a_job_that_fails_gives_its_exit_code(head: Node, tmp_path: Path) -> None:
    run = utr("submit", "--address", head.dashboard, "--", "--videos", tmp_path / "none", "--out", tmp_path / "out")
    text, _ = run.communicate(timeout=180)
    assert run.returncode == 2, text
    assert "no such file or folder" in text


@pytest.mark.timeout(600)
def test_ctrl_c_leaves_the_job_running(film: Path, head: Node, submitted: tuple[Path, str]) -> None:
    """The set is sealed already, so the job is a short one: probe, and seal again."""
    run = utr("submit", "--address", head.dashboard, "--", "--videos", film, "--out", submitted[0])
    assert run.stdout is not None
    line = next(line for line in run.stdout if line.startswith("job "))
    job_id = line.split()[1]
    os.killpg(run.pid, signal.SIGINT)
    text, _ = run.communicate(timeout=60)
    assert run.returncode == 130, text
    assert f"ray job logs --follow --address {head.dashboard} {job_id}" in text
    server = JobServer(head.dashboard)
    until = time.monotonic() + 200
    while (ended := server.ended(job_id)) is None:
        assert time.monotonic() < until
        time.sleep(0.5)
    assert (ended.stopped, ended.exit_code) == (False, 0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rays_own_submit_does_the_same(film: Path, head: Node, expected: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "wd").mkdir()
    arguments = ["--videos", str(film), "--out", str(tmp_path / "out")]
    command = shlex.split(prepare(tmp_path / "wd", {**OPTIONS, "videos": str(film)}, arguments))
    ray = [str(BIN / "ray"), "job", "submit", "--address", head.dashboard, "--working-dir", str(tmp_path / "wd"), "--"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run([*ray, *command], env=environment, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert shards(tmp_path / "out") == expected


def _nobody() -> str:
    """An address where nothing listens."""
    return f"http://127.0.0.1:{free_ports(1)[0]}"
