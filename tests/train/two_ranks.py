"""Started as ranks: trains a tiny model by each of the scenarios of a file, one behind the other.

    torchrun --nproc-per-node 2 tests/train/two_ranks.py SCENARIOS.json

The first, third, ... pack of a step has films and images, every other one only text: two ranks never see the same kind.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.train.collate import dummy, pack
from pipeline.train.encode import Encoder
from pipeline.train.engine import World, join
from pipeline.train.example import Pack
from pipeline.train.export import export, gathered
from pipeline.train.groups import freeze, lr_at, param_groups
from pipeline.train.journal import Journal
from pipeline.train.loader import StepPacksOfRank
from pipeline.train.loop import Run, learn
from pipeline.train.model import PackedModel
from pipeline.train.recipe import Text, TrainRecipe
from stages.models.family import Family
from stages.models.load import load_family
from tests.train.model_kit import film, image, said

N_STEPS = 10
SHOWN = (("What happens?", "A red circle moves right, then stops."), ("Sure?", "Yes."))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What a run of the tests does; `run` is its folder."""

    run: str
    checkpoint: str
    zero: int = 0
    loss: str = "token_global"
    precision: str = "float32"
    train: Sequence[str] = ("vision", "projector", "language")
    steps: int = 6
    every: int = 100
    uri: str | None = None
    kill_at: int | None = None  # this process is killed when it asks for this step
    exports: bool = False
    seed: int = 42

    def recipe(self) -> TrainRecipe:
        return TrainRecipe.model_validate({
            "seed": self.seed,
            "init": {"checkpoint": self.checkpoint},
            "train": {part: part in self.train for part in ("vision", "projector", "language")},
            "optim": {"lr": 3e-3, "vision_lr": 1e-3, "projector_lr": 2e-3, "weight_decay": 0.01, "warmup_ratio": 0.2},
            "data": {"mix": {"toys": {"path": "toys"}}, "workers": 0},
            "loss": self.loss,
            "precision": self.precision,
            "deepspeed": {"zero": self.zero},
            "checkpoint": {"every_steps": self.every, "keep": 2, "uri": self.uri},
            "max_steps": self.steps,
        })  # fmt: skip


def packs_of(step: int, family: Family, encoder: Encoder) -> list[Pack]:
    """Four packs, or six of which the last is a dummy; each with other numbers of labels."""
    turns = [(SHOWN[0][0], " ".join([SHOWN[0][1]] * (1 + (step + k) % 3))) for k in range(5)]
    held = [
        [said(film(2 + step % 2, key=step), (turns[0],), name=f"{step}-0a"), said(None, SHOWN, name=f"{step}-0b")],
        [said(None, (turns[1],), name=f"{step}-1a"), said(None, (turns[2],), name=f"{step}-1b")],
        [said(image((70, 60), key=step), (turns[3],), name=f"{step}-2a")],
        [said(None, SHOWN, name=f"{step}-3a")],
    ]
    if step % 2:
        held.append([said(film(3, key=100 + step), SHOWN, name=f"{step}-4a")])
    packs = [pack([encoder.encode(c) for c in conversations], family) for conversations in held]
    return [*packs, dummy(family)] if step % 2 else packs


def steps(family: Family, world: World, kill_at: int | None, start: int) -> Iterator[StepPacksOfRank]:
    encoder = Encoder(family, Text(), 9)
    for step in range(start, N_STEPS):
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        yield StepPacksOfRank(step, tuple(packs_of(step, family, encoder)[world.rank :: world.size]), ())


def run_scenario(scenario: Scenario, world: World) -> None:
    recipe = scenario.recipe()
    family = load_family(scenario.checkpoint, dtype=scenario.precision, device="cpu", max_pixels=None)
    module = PackedModel(family)
    freeze(family.model, recipe.train)
    run = Run(
        recipe=recipe,
        folder=Path(scenario.run),
        lines=(f"seed = {recipe.seed}", f"deepspeed.zero = {recipe.deepspeed.zero}"),
        world=world,
        family=family,
        module=module,
        groups=param_groups(family.model, recipe.optim),
        n_steps=N_STEPS,
        rate=partial(lr_at, total=N_STEPS, optim=recipe.optim),
        steps=partial(steps, family, world, scenario.kill_at),
        journal=lambda start: Journal(Path(scenario.run), rank=world.rank, start_step=start),
        watch=None,
        mfu=lambda step, wall_s: None,
    )
    if world.is_first:
        run.folder.mkdir(parents=True, exist_ok=True)
        torch.save(family.model.state_dict(), run.folder / "before.pt")
    engine = learn(run)
    has_grad = {name: p.grad is not None for name, p in module.named_parameters() if not p.requires_grad}
    assert not any(has_grad.values()), has_grad
    weights = gathered(engine)
    if world.is_first:
        torch.save(weights, run.folder / "weights.pt")
        rates = {g["name"]: g["lr"] for g in engine.basic_optimizer.param_groups}
        (run.folder / "rates.json").write_text(json.dumps(rates))
    if scenario.exports:
        export(engine, family, run.folder / "export", world, init=scenario.checkpoint)


def main(file: str) -> None:
    world = join()
    for told in json.loads(Path(file).read_text()):
        run_scenario(Scenario(**told), world)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
