"""The step loop: packs in, one update a step, the same on any number of ranks.

A step's position is its number: which samples it reads, its learning rates and its random numbers follow from that,
so a checkpoint holds weights and the optimizer's moments, and nothing else has to be found again.

A label weighs 1 / N, N being the labels of the whole step on all ranks (`token_global`): DeepSpeed averages over ranks,
so a rank's sum is multiplied by their number and divided by N. `microbatch_mean` gives each pack the same weight
instead, as trainers did that took means of means.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pipeline.train import engine as deep
from pipeline.train.checkpoint import Checkpoints
from pipeline.train.elastic import load
from pipeline.train.engine import World
from pipeline.train.example import NO_LABEL, Pack
from pipeline.train.export import export
from pipeline.train.journal import UNREADABLE, Journal
from pipeline.train.loader import StepPacksOfRank
from pipeline.train.plan_file import PLAN
from pipeline.train.recipe import TrainRecipe
from pipeline.train.watch import Watch
from schemas.train import SampleLoss, StepFacts
from stages.algorithms.draws import stable_hash
from stages.models.family import Family

EXPORT = "export"


class NothingToLearn(RuntimeError):
    """The samples of a step have no label."""


class MostlyUnreadable(RuntimeError):
    """Of a step more samples could not be read than could: reserves are for single losses, not for a dead store."""


class Diverged(RuntimeError):
    """Loss or gradients are no numbers any more."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that a rank trains with."""

    recipe: TrainRecipe
    folder: Path  # all ranks see it: checkpoints/ and export/ come to lie there
    lines: tuple[str, ...]  # "name = value" of all that the run follows from: a checkpoint of another is refused
    world: World
    family: Family
    module: nn.Module  # of the family: a pack in, the nats of its labelled tokens out
    groups: Sequence[Mapping[str, Any]]  # what AdamW learns: name, params, lr, weight_decay
    n_steps: int  # of the plan
    rate: Callable[[int], float]  # factor of every group's learning rate at a step
    steps: Callable[[int], Iterator[StepPacksOfRank]]  # from a step on
    journal: Callable[[int], Journal]  # opened at a step
    watch: Watch | None
    mfu: Callable[[int, float], float | None]  # of a step that took so many seconds


def train(run: Run) -> None:
    """Trains to the end of the plan, or to `max_steps`, and exports."""
    engine = learn(run)
    export(engine, run.family, run.folder / EXPORT, run.world, init=run.recipe.init.checkpoint)


def learn(run: Run) -> Any:
    """The engine after the last step, from the newest committed checkpoint on."""
    recipe, world = run.recipe, run.world
    saved = Checkpoints(run.folder, recipe.checkpoint, run.lines, world)
    engine, start = load(saved, run.module, run.groups, recipe, width=run.family.width)
    journal = _opened(run, start)
    end = min(run.n_steps, recipe.max_steps or run.n_steps)
    if start == 0:
        _look(run, engine, journal, 0)
    with closing(run.steps(start)) as steps:  # type: ignore[type-var] -- a generator
        for step in range(start, end):
            journal.step(_step(run, engine, journal, step, steps))
            done = step + 1
            if done == end or (recipe.watch and done % recipe.watch.every_steps == 0):
                _look(run, engine, journal, done)
            if done == end or done % recipe.checkpoint.every_steps == 0:
                journal.flush()
                saved.save(engine, done)
    journal.close()
    dist.barrier()
    if world.is_first:
        journal.finish()
    return engine


def _step(run: Run, engine: Any, journal: Journal, step: int, steps: Iterator[StepPacksOfRank]) -> StepFacts:
    begun_s = time.perf_counter()
    own = next(steps)
    wait_s = time.perf_counter() - begun_s
    if own.step != step:
        raise RuntimeError(f"the loader gave step {own.step} where step {step} was due")
    torch.manual_seed(stable_hash(f"{run.recipe.seed}/{step}/{run.world.rank}") % 2**63)
    _need_most(run, journal, own)
    real = [pack for pack in own.packs if pack.n_labels]
    facts = [
        sum(pack.n_labels for pack in real), sum(len(p.token_id_S) for p in own.packs if p.examples),
        sum(len(pack.examples) for pack in own.packs), len(real),
    ]  # fmt: skip
    labels, tokens, samples, packs = (int(n) for n in _summed(run.world, facts))
    if not labels:
        raise NothingToLearn(f"step {step}: none of its samples has a label; look at its rows in {run.folder / PLAN}")
    factor = run.rate(step)
    deep.set_rates(engine, run.groups, factor)
    losses, norm = _learn(run, engine, step, own.packs, labels, packs)
    (nll,) = _summed(run.world, [sum(row.nll for row in losses)])
    if not math.isfinite(nll) or not math.isfinite(norm):
        raise Diverged(
            f"step {step}: loss {nll / labels}, norm of gradients {norm}; lower optim.lr, or look at its data"
        )
    journal.losses(losses)
    journal.rejected(own.rejected)
    wall_s = time.perf_counter() - begun_s
    return StepFacts(
        step=step, loss=nll / labels, lr=_shown_rate(run.groups) * factor, grad_norm=norm, samples=samples,
        tokens=tokens, labels=labels, packs=packs, wall_s=wall_s, data_wait_s=wait_s, tokens_per_s=tokens / wall_s,
        mfu=run.mfu(step, wall_s),
    )  # fmt: skip


def _need_most(run: Run, journal: Journal, own: StepPacksOfRank) -> None:
    """Raises MostlyUnreadable, on all ranks, where more than half of a step's samples were lost over all ranks."""
    read = sum(len(pack.examples) for pack in own.packs)
    empty = sum(row.reserve is None for row in own.rejected)
    lost, places = (int(n) for n in _summed(run.world, [len(own.rejected), read + empty]))
    if 2 * lost <= places:
        return
    journal.rejected(own.rejected)
    journal.flush()
    details: list[str | None] = [None] * run.world.size
    dist.all_gather_object(details, own.rejected[0].detail if own.rejected else None)
    raise MostlyUnreadable(
        f"step {own.step}: {lost} of its {places} samples could not be read, among them {next(filter(None, details))}; "
        f"all are in {run.folder / UNREADABLE}. Where a store was out of reach, the same command goes on from the "
        "newest checkpoint; what is damaged for good leaves the mix, and the run begins in another --out"
    )


def _learn(
    run: Run, engine: Any, step: int, own: Sequence[Pack], labels: int, packs: int
) -> tuple[list[SampleLoss], float]:
    """One update; what each sample of this rank cost before it, and the norm of the gradients."""
    nlls: list[torch.Tensor] = []
    for k, pack in enumerate(own):
        engine.set_gradient_accumulation_boundary(k == len(own) - 1)
        nll_N = engine(pack)
        mean_of_means = run.recipe.loss == "microbatch_mean"
        weight = run.world.size / (packs * max(1, pack.n_labels) if mean_of_means else labels)
        engine.backward(nll_N.sum() * weight, scale_wrt_gas=False)
        nlls.append(nll_N.detach())
    norm = deep.update(engine)
    return [row for pack, nll_N in zip(own, nlls, strict=True) for row in sample_losses(step, pack, nll_N)], norm


def sample_losses(step: int, pack: Pack, nll_N: torch.Tensor) -> list[SampleLoss]:
    """A row for each example of the pack."""
    segment_N = pack.segment_S[pack.label_S != NO_LABEL].cpu()
    n = len(pack.examples)
    sums = torch.zeros(n, dtype=torch.float64).index_add_(0, segment_N, nll_N.double().cpu()).tolist()
    counts = torch.bincount(segment_N, minlength=n).tolist()
    return [
        SampleLoss(
            step=step, source=e.source, sample_id=e.sample_id, family=e.family, n_labels=counts[k], nll=sums[k]
        )
        for k, e in enumerate(pack.examples)
    ]  # fmt: skip


def _look(run: Run, engine: Any, journal: Journal, step: int) -> None:
    """What the model of so many updates makes of held-out samples."""
    if run.watch is not None:
        seen = run.watch(step, engine, engine.module)
        journal.watched(seen.probes, seen.samples)
        journal.rejected(seen.rejected)


def _opened(run: Run, start: int) -> Journal:
    """The first rank repairs what a killed run left, before others write."""
    journal = run.journal(start) if run.world.is_first else None
    dist.barrier()
    return journal or run.journal(start)


def _shown_rate(groups: Sequence[Mapping[str, Any]]) -> float:
    """Of the language model where it learns, else of the first group."""
    rates = [g["lr"] for g in groups if g["name"].startswith("language")] or [groups[0]["lr"]]
    return float(rates[0])


def _summed(world: World, values: Sequence[float]) -> list[float]:
    """Over all ranks; integers stay exact below 2^53."""
    total = torch.tensor(values, dtype=torch.float64, device=world.device)
    dist.all_reduce(total)
    return total.tolist()
