"""`utr train` as people run it: to the end, killed, interrupted, on two ranks of torchrun and of Ray."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.train.assemble import new_from_parts
from pipeline.train.journal import probes_of, steps_of
from pipeline.train.planning import told_others
from tests.jobs.conftest import ROOT, utr
from tests.jobs.ray_nodes import ray_head
from tests.jobs.train_world import BATCH, write_model, write_parts, write_recipe, write_set, write_small

STEPS = 6
RUN_FILES = {
    "recipe.yaml", "plan.parquet", "rejected.parquet", "steps.jsonl", "probes.jsonl", "sample_losses.parquet",
    "unreadable.parquet", "watched_unreadable.parquet", "tensorboard", "watched",
    "checkpoints", "export", "report.html", "curves.png", "lock",
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    data, model = write_set(folder / "films"), write_model(folder / "model")
    watch = {"path": str(data), "every_steps": 3, "samples": 4}
    return write_recipe(folder / "recipe.yaml", data, model, watch=watch)


@pytest.fixture(scope="module")
def run(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An undisturbed run of one rank, and what it printed."""
    out = tmp_path_factory.mktemp("run") / "out"
    text, code = _ended(utr("train", "--recipe", recipe, "--out", out, "--steps", str(STEPS)))
    assert code == 0, text
    return out, text


def test_a_run_leaves_what_the_docs_name(run: tuple[Path, str]) -> None:
    out, text = run
    assert {p.name for p in out.iterdir()} == RUN_FILES
    docs = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert all(f"`{name}" in docs for name in RUN_FILES - {"lock", "watched"}), "docs/training.md lists them"
    assert {p.name for p in (out / "checkpoints").glob("step-*")} == {"step-00000004", "step-00000006"}
    assert "planning" in text
    assert f"training: step {STEPS} of {STEPS}, loss " in text
    assert f"{STEPS * BATCH}" in text
    assert str(out / "export") in text.replace("\n", "")
    assert "held out: tpl" in text


def test_it_learns_and_says_what_it_read(run: tuple[Path, str]) -> None:
    out, _ = run
    steps = steps_of(out)
    assert [s.step for s in steps] == list(range(STEPS))
    assert steps[-1].loss < 0.9 * steps[0].loss
    assert {s.samples for s in steps} == {BATCH}
    assert {s.mfu for s in steps} == {None}, "no peak is known of a CPU"
    planned = pl.read_parquet(out / "plan.parquet").filter(pl.col("step") < STEPS)
    read = pl.read_parquet(out / "sample_losses.parquet")
    assert sorted(read["sample_id"]) == sorted(planned["sample_id"])
    assert sum(s.tokens for s in steps) == planned["n_tokens"].sum()
    assert sum(s.labels for s in steps) == planned["n_labels"].sum()
    assert {p.step for p in probes_of(out)} == {0, 3, 6}


def test_what_is_exported_scores(run: tuple[Path, str], recipe: Path) -> None:
    from stages.models.onevision import OneVision

    family = OneVision.load(str(run[0] / "export"))
    assert family.model.config.model_type == "llava_onevision"


@pytest.mark.timeout(400)
def test_killed_and_run_again_takes_the_same_steps(run: tuple[Path, str], recipe: Path, tmp_path: Path) -> None:
    arguments = ("train", "--recipe", recipe, "--out", tmp_path / "out", "--steps", str(STEPS))
    killed = utr(*arguments)
    _wait_for_step(killed, tmp_path / "out", 2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    text, code = _ended(utr(*arguments, "--resume"))
    assert code == 0, text
    assert _losses(tmp_path / "out") == _losses(run[0])
    assert probes_of(tmp_path / "out") == probes_of(run[0])


@pytest.mark.timeout(400)
def test_ctrl_c_ends_with_130(recipe: Path, tmp_path: Path) -> None:
    stopped = utr("train", "--recipe", recipe, "--out", tmp_path / "out")
    _wait_for_step(stopped, tmp_path / "out", 0)
    os.killpg(stopped.pid, signal.SIGINT)
    text, code = _ended(stopped)
    assert code == 130, text
    assert "the same command goes on from the newest checkpoint" in text


@pytest.mark.timeout(400)
def test_two_ranks_of_torchrun_take_the_steps_of_one(run: tuple[Path, str], recipe: Path, tmp_path: Path) -> None:
    text, code = _ended(_torchrun(2, "--recipe", recipe, "--out", tmp_path / "out", "--steps", str(STEPS)))
    assert code == 0, text
    _same(tmp_path / "out", run[0])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_ranks_of_a_ray_cluster_take_the_steps_of_one(
    run: tuple[Path, str], recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--ray", "--workers", "2", "--steps", str(STEPS))
    with ray_head() as head:
        monkeypatch.setenv("RAY_ADDRESS", head.gcs)
        text, code = _ended(utr("train", "--recipe", recipe, "--out", tmp_path / "out", *arguments))
    assert code == 0, text
    _same(tmp_path / "out", run[0])
    assert not (tmp_path / "out" / "ray").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_rank_of_ray_that_dies_is_started_again(run: tuple[Path, str], recipe: Path, tmp_path: Path) -> None:
    arguments = ("--ray", "--workers", "2", "--steps", str(STEPS))
    going = utr("train", "--recipe", recipe, "--out", tmp_path / "out", *arguments)
    _wait_for_step(going, tmp_path / "out", 2)
    ranks = [p for p in psutil.Process(going.pid).children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())]
    assert len(ranks) == 2
    ranks[1].kill()
    text, code = _ended(going)
    assert code == 0, text
    _same(tmp_path / "out", run[0])


@pytest.mark.timeout(400)
def test_both_stages_of_the_seed_run_as_they_come(run: tuple[Path, str], recipe: Path, tmp_path: Path) -> None:
    """ZeRO-3, bfloat16 and all: only models and steps are small, and every set of the mix is the same one."""
    parts, films = write_parts(tmp_path), recipe.parent / "films"
    first = write_small(tmp_path / "first.yaml", "stage1_align", parts)
    out = tmp_path / "stage1_align"
    text, code = _ended(utr("train", "--recipe", first, "--set", films, "--out", out, "--steps", "2"))
    assert code == 0, text
    projector = _projector(out)
    second = write_small(tmp_path / "second.yaml", "stage2_utr", parts)
    sets = [word for name in ("image", "utr", "videochat2") for word in ("--set", f"{name}={films}")]
    arguments = ("--data", tmp_path, "--out", tmp_path / "stage2", "--steps", "2")
    text, code = _ended(utr("train", "--recipe", second, *sets, *arguments))
    assert code == 0, text
    learned = _projector(tmp_path / "stage2")
    new = new_from_parts(**parts, precision="bfloat16").model.model.multi_modal_projector.state_dict()
    assert _equal(new, projector) < 0.5, "the first stage teaches the projector"
    assert _equal(projector, learned) > 0.5, "the second begins with it, and 1e-5 is mostly under bfloat16's rounding"
    assert {s.lr for s in steps_of(out)} != {s.lr for s in steps_of(tmp_path / "stage2")}


def _projector(out: Path) -> dict[str, torch.Tensor]:
    """By the names of its own module."""
    read = load_file(out / "export" / "projector.safetensors")
    return {name.removeprefix("multi_modal_projector."): weight for name, weight in read.items()}


def _equal(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> float:
    """Share of the numbers that are the same."""
    return float(torch.cat([(some[name] == others[name]).flatten() for name in others]).float().mean())


def test_a_plan_is_made_without_a_step(recipe: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "--recipe", str(recipe), "--out", str(tmp_path / "out"), "--plan-only"])
    assert done.exit_code == 0, done.output
    planned = pl.read_parquet(tmp_path / "out" / "plan.parquet")
    assert planned["step"].drop_nulls().n_unique() == len(planned) // BATCH
    assert f"{len(planned) // BATCH} of {BATCH} samples" in done.output
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"recipe.yaml", "plan.parquet", "rejected.parquet", "lock"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workers", "2"], "--workers 2: with --ray; else torchrun --nproc-per-node 2"),
        (["--set", "other=x"], "--set other=x: the recipe mixes films, no other"),
        (["--set", "nowhere"], "films: no data set at"),
        (["--resume"], "holds no training run; leave the flag out"),
        (["--steps", "0"], "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_run_is_refused(recipe: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    done = CliRunner().invoke(app, ["train", "--recipe", str(recipe), "--out", str(tmp_path / "out"), *arguments])
    assert done.exit_code == 2
    assert says in done.output.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_each_rank_says_what_stops_it(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one plans, and fails: a rank that waits for it ends, and is heard."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    arguments = ["train", "--recipe", str(recipe), "--out", str(tmp_path)]
    refused = CliRunner().invoke(app, [*arguments, "--set", "nowhere"])
    assert refused.exit_code == 2
    assert "rank 1: error: data.mix.films: no data set at" in refused.stderr.replace("\n", " ")
    ended = threading.Event()
    first = threading.Thread(target=_fail_to_plan, args=(tmp_path, ended))
    first.start()
    try:
        broken = CliRunner().invoke(app, arguments)
    finally:
        ended.set()
        first.join()
    assert broken.exit_code == 6
    assert "rank 1: the run broke: NotPlanned: " in broken.stderr
    assert not broken.stdout


def _fail_to_plan(out: Path, ended: threading.Event) -> None:
    """Again and again: whenever the other rank begins to wait, it comes afterwards."""
    while not ended.wait(0.1):
        with told_others(out):
            pass


def test_another_recipe_is_refused_with_the_difference(run: tuple[Path, str], recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(recipe.read_text().replace("lr: 0.003", "lr: 0.001"))
    before = (run[0] / "recipe.yaml").read_bytes()
    done = CliRunner().invoke(app, ["train", "--recipe", str(tmp_path / "r.yaml"), "--out", str(run[0])])
    assert done.exit_code == 2
    assert "optim.lr: 0.003 -> 0.001" in done.output
    assert (run[0] / "recipe.yaml").read_bytes() == before


def test_a_batch_that_the_mix_cannot_fill_is_refused(recipe: Path, tmp_path: Path) -> None:
    text = recipe.read_text().replace(f"samples: {BATCH}\n  micro", "samples: 1000\n  micro")
    text = text.replace(f"  samples: {BATCH}\n", "  samples: 1000\n")
    (tmp_path / "r.yaml").write_text(text)
    done = CliRunner().invoke(app, ["train", "--recipe", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2, done.output
    assert "fill no step of 1000: lower batch.samples" in done.output.replace("\n", " ")


def _torchrun(n: int, *arguments: str | Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(n), "--master-port", _port()]
    return subprocess.Popen(
        [*command, "jobs/train.py", *map(str, arguments)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip


def _port() -> str:
    with socket.socket() as one:
        one.bind(("", 0))
        return str(one.getsockname()[1])


def _ended(process: "subprocess.Popen[str]") -> tuple[str, int]:
    text, _ = process.communicate(timeout=600)
    return text, process.returncode


def _wait_for_step(process: "subprocess.Popen[str]", out: Path, step: int) -> None:
    """Until the journal has the step."""
    until = time.monotonic() + 300
    while not (out / "steps.jsonl").exists() or step not in {s.step for s in steps_of(out)}:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.02)


def _losses(out: Path) -> list[tuple[int, float, float | None, float]]:
    return [(s.step, s.loss, s.grad_norm, s.lr) for s in steps_of(out)]


def _same(out: Path, one: Path) -> None:
    """Other ranks, other sums: the same steps but for rounding."""
    assert [s.loss for s in steps_of(out)] == pytest.approx([s.loss for s in steps_of(one)], rel=1e-5)
    keys = ["step", "source", "sample_id"]
    mine, theirs = (pl.read_parquet(folder / "sample_losses.parquet").sort(keys) for folder in (out, one))
    assert mine.select(*keys, "n_labels").equals(theirs.select(*keys, "n_labels"))
    assert mine["nll"].to_list() == pytest.approx(theirs["nll"].to_list(), rel=1e-4)
    probes, others = probes_of(out), probes_of(one)
    assert [(p.step, p.name, p.family, p.n) for p in probes] == [(p.step, p.name, p.family, p.n) for p in others]
    assert [p.value for p in probes] == pytest.approx([p.value for p in others], rel=1e-3, abs=1e-4)
    assert json.loads((out / "export" / "config.json").read_text())["model_type"] == "llava_onevision"
