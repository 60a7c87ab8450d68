"""Starts tests/train/two_ranks.py as ranks of its own, and ends them where they hang."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.train.journal import steps_of

SCRIPT = Path(__file__).with_name("two_ranks.py")
LIMIT_S = 240  # ranks that wait for each other are ended then; a launch takes about 20 s on two free cores


def launch(folder: Path, ranks: int, scenarios: Sequence[Mapping[str, Any]], *, dies: bool = False) -> str:
    """Runs the scenarios one behind the other; what the ranks said. `dies`: they are killed on the way."""
    file = folder / "scenarios.json"
    file.write_text(json.dumps(list(scenarios)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    started = subprocess.Popen(
        [*(command if ranks > 1 else [sys.executable]), str(SCRIPT), str(file)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        said, _ = started.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        os.killpg(started.pid, signal.SIGKILL)
        raise AssertionError(f"ranks hang: {started.communicate()[0][-3000:]}") from error
    assert (started.returncode != 0) == dies, said[-3000:]
    return said


def losses(run: Path) -> list[float]:
    found = steps_of(run)
    assert [facts.step for facts in found] == list(range(len(found)))
    return [facts.loss for facts in found]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "weights.pt", weights_only=True)


def committed(run: Path) -> list[str]:
    return sorted(path.parent.name for path in (run / "checkpoints").glob("*/COMMITTED.json"))
