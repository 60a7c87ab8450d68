"""Ranks that come to a step of which samples are lost: what each of them says is left beside the store."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from pipeline.train.engine import World
from pipeline.train.example import NO_LABEL, Example
from pipeline.train.journal import Journal
from pipeline.train.loader import StepPacksOfRank
from pipeline.train.loop import MostlyUnreadable, NothingToLearn, _step
from schemas.train import RejectedSample
from tests.train.sets import pack

Lost = tuple[int, int, int]  # of a rank: samples that are read, that have a reserve in their place, that leave it empty


def own(step: int, rank: int, lost: Lost) -> StepPacksOfRank:
    """Nothing has a label, so that a step whose losses are borne ends in NothingToLearn, and needs no model."""
    read, replaced, empty = lost
    none = np.array([1, 1])
    label_S = np.full(2, NO_LABEL)
    examples = [
        Example("a", f"{rank}-{k}", "given", none, label_S, np.arange(2)[None], None) for k in range(read + replaced)
    ]
    rejected = [
        RejectedSample(
            source="a", sample_id=f"{rank}-lost{k}", step=step, reason="unreadable", detail=f"a/{rank}-lost{k}: gone",
            reserve="a/r" if k < replaced else None,
        )
        for k in range(replaced + empty)
    ]  # fmt: skip
    return StepPacksOfRank(step, (pack(examples),), tuple(rejected))


def rank(number: int, world: int, store: Path, told: Sequence[Sequence[Lost]]) -> None:
    """Step k loses told[k][rank]."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=world)
    folder = store.with_name("run")
    of = World(number, world, torch.device("cpu"))
    run: Any = SimpleNamespace(world=of, folder=folder, recipe=SimpleNamespace(seed=0))
    journal = Journal(folder, rank=number)
    said = []
    for step, lost in enumerate(told):
        try:
            _step(run, None, journal, step, iter([own(step, number, lost[number])]))
        except (MostlyUnreadable, NothingToLearn) as error:
            said.append([type(error).__name__, str(error)])
    store.with_name(f"rank{number}.json").write_text(json.dumps(said))
    dist.destroy_process_group()
