"""The engine as a checkpoint left it, on as many ranks as there are now.

ZeRO's shards are cut for the number of ranks that wrote them. For another number DeepSpeed makes a universal checkpoint
of them, a file a tensor, and reads that with two faults (0.19.8): every group gets the hyper-parameters of the first,
and all sub-groups share one `step`, which AdamW counts once a group. Both are mended here. Measured on the tests' tiny
model, two ranks that became one after three steps, loss of the sixth: uninterrupted .7224778, mended .7224778, with the
first group's hyper-parameters .7225145, with a shared `step` .7441401. In bfloat16 losses agree to .1 %. Frozen weights
are those that the run began with.

The first rank converts while the others wait for it at a barrier: a conversion that takes longer than `COLLECTIVE_S`
(limits.py, 30 minutes) ends the run. The checkpoint stays, and on as many ranks as wrote it nothing is converted.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pipeline.train import engine as deep
from pipeline.train.checkpoint import Checkpoints, Committed
from pipeline.train.engine import World
from pipeline.train.recipe import TrainRecipe

UNIVERSAL = ".universal"
TOLD = 2000  # characters of what a converter said when it failed


class NotLoaded(RuntimeError):
    """A whole checkpoint could not be read by DeepSpeed; the message has its words."""


def load(
    saved: Checkpoints, module: nn.Module, groups: Sequence[Mapping[str, Any]], recipe: TrainRecipe, *, width: int
) -> tuple[Any, int]:
    """The engine with the newest checkpoint in it, and the step that comes next; 0 where there is none."""
    found = saved.newest()
    other = found is not None and found.world != saved.world.size and recipe.deepspeed.zero > 0
    engine = deep.start(module, groups, recipe, width=width, universal=other)
    if found is None:
        return engine, 0
    if other:
        with universal(found, saved.world) as folder:
            _read(engine, folder)
        own_steps(engine)
    else:
        _read(engine, found.folder)
    deep.restore_groups(engine, groups)
    return engine, found.step


@contextmanager
def universal(found: Committed, world: World) -> Iterator[Path]:
    """A universal checkpoint, as long as it is read. Made by one rank: the others wait."""
    to = found.folder.with_name(found.folder.name + UNIVERSAL)
    if world.is_first:
        shutil.rmtree(to, ignore_errors=True)
        convert(found.folder, to)
    dist.barrier()
    try:
        yield to
        dist.barrier()
    finally:
        if world.is_first:
            shutil.rmtree(to, ignore_errors=True)
            (to.parent / "latest_universal").unlink(missing_ok=True)


def convert(folder: Path, to: Path) -> None:
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    command += ["--input_folder", str(folder), "--output_folder", str(to)]
    alone = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    if done.returncode:
        raise NotLoaded(f"{folder} cannot be made universal: {(done.stdout + done.stderr)[-TOLD:]}")


def own_steps(engine: Any) -> None:
    """Each sub-group counts for itself."""
    for state in engine.basic_optimizer.state.values():
        if torch.is_tensor(state.get("step")):
            state["step"] = state["step"].clone()


def _read(engine: Any, folder: Path) -> None:
    path, _ = engine.load_checkpoint(str(folder.parent), folder.name, load_lr_scheduler_states=False)
    if path is None:
        raise NotLoaded(f"{folder}: DeepSpeed finds no checkpoint of its own there")
