"""Training runs that several tests look at: three launches, about a minute on two free cores."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from random import randrange
from typing import Any

import pytest

from tests.train.launch import launch
from tests.train.model_kit import folder


@dataclass(frozen=True)
class Runs:
    root: Path
    checkpoint: Path  # that all began with
    kill_at: int  # step at which `killed` was

    def __truediv__(self, name: str) -> Path:
        return self.root / name


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """By name: z2 and z3 on two ranks, `one` on one; killed, and gone on with; begun on two ranks and ended on one."""
    made = Runs(tmp_path_factory.mktemp("runs"), folder("llava_onevision"), randrange(2, 6))

    def of(**named: dict[str, Any]) -> list[dict[str, Any]]:
        common = {"checkpoint": str(made.checkpoint)}
        return [{"run": str(made / name), **common, **told} for name, told in named.items()]

    killed: dict[str, Any] = {"zero": 3, "every": 2, "steps": 6}
    bf16: dict[str, Any] = {"zero": 3, "every": 2, "steps": 4, "precision": "bfloat16"}
    first = of(
        z2={"zero": 2, "every": 3},
        z3={"zero": 3, "every": 3, "exports": True},
        means={"zero": 2, "steps": 3, "loss": "microbatch_mean"},
        stage1={"zero": 3, "steps": 3, "train": ["projector"]},
        bf16=bf16,
        killed={**killed, "kill_at": made.kill_at},
    )
    launch(made.root, 2, first, dies=True)
    for name, ended, resumed in (("z2", 6, "z2_on_one"), ("z3", 6, "z3_on_one"), ("bf16", 4, "bf16_resumed")):
        shutil.copytree(made / name, made / resumed)
        shutil.rmtree(made / resumed / "checkpoints" / f"step-{ended:08d}")
    alone = of(
        one={"steps": 10},
        one_means={"steps": 3, "loss": "microbatch_mean"},
        z3_on_two={"zero": 3, "steps": 3},
        z2_on_one={"zero": 2},
        z3_on_one={"zero": 3},
    )
    launch(made.root, 1, alone)
    launch(made.root, 2, of(killed=killed, z3_on_two={"zero": 3}, bf16_resumed=bf16))
    return made
