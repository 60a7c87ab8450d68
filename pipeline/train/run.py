"""A training run, put together: recipe -> plan -> packs -> model -> steps -> export and report. A process is a rank."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from pipeline.publish import read_manifest
from pipeline.sources import SourceError
from pipeline.storage import place, store_errors
from pipeline.train import collate, encode, loader
from pipeline.train.assemble import load
from pipeline.train.curves import write_curves
from pipeline.train.encode import Encoder
from pipeline.train.engine import World, join
from pipeline.train.frames import frame_source
from pipeline.train.groups import freeze, lr_at, param_groups
from pipeline.train.journal import Journal
from pipeline.train.loop import Run, train
from pipeline.train.mix import DataSet
from pipeline.train.model import PackedModel
from pipeline.train.plan_file import Plan
from pipeline.train.planning import prepare, prepared, told_others, wait_for_plan
from pipeline.train.recipe import TrainRecipe
from pipeline.train.same_run import kept_lines
from pipeline.train.throughput import Cost, Meter, peak_flops
from pipeline.train.watch import Watch
from pipeline.train.watch_reads import SOURCE, Collate, Reads, held_out
from stages.models.family import Family

OF_THE_PLAN = ("seed", "data.", "batch.", "text.")  # sections of which a plan has its own lines


class CannotTrain(ValueError):
    """Recipe and model do not go together; the message says where, and the remedy."""


def plan_run(recipe: TrainRecipe, out: Path) -> Plan:
    """The plan of a run, made where it is not there; one process does it, before any rank begins."""
    with told_others(out):
        family = _family(recipe)
        return prepare(out, recipe, _encoder(family, recipe), encoder_lines(family))


def train_with(settings: Mapping[str, Any]) -> None:
    """`train_rank` for launchers that hand over plain values."""
    train_rank(TrainRecipe.model_validate(settings["recipe"]), Path(settings["out"]))


def train_rank(recipe: TrainRecipe, out: Path) -> None:
    """What each rank does once the run is planned; torchrun or Ray Train said which one it is, else it is the only one.

    A collective: all ranks call it. The first one writes curves.png and report.html at the end.
    """
    wait_for_plan(out)
    world = join()
    family = _family(recipe)
    plan = prepared(out, recipe, encoder_lines(family))
    module, groups = _learner(family, recipe)
    meter = _meter(family, recipe, world)
    train(
        Run(
            recipe=recipe,
            folder=out,
            lines=(*_of_the_recipe(recipe), *plan.lines),
            world=world,
            family=family,
            module=module,
            groups=groups,
            n_steps=plan.n_steps,
            rate=partial(lr_at, total=plan.n_steps, optim=recipe.optim),
            steps=partial(_steps, plan, recipe, _encoder(family, recipe), family, world),
            journal=lambda start: Journal(out, rank=world.rank, start_step=start),
            watch=_watch(family, recipe, world) if recipe.watch else None,
            mfu=lambda step, wall_s: meter.mfu(plan.step(step), wall_s),
        )
    )
    if world.is_first:
        write_curves(out)


def encoder_lines(family: Family) -> tuple[str, ...]:
    """All of a family that lengths of samples follow from, as "name = value"."""
    tokenizer, config = family.tokenizer, family.model.config
    told = {
        "encoder.version": encode.VERSION,
        "encoder.family": type(family).__name__,
        "encoder.limit": family.limit,
        "encoder.pixels": family.pixel,
        "encoder.image_pixels": getattr(family.pixel, "image_pixels", None),  # which a rule's name leaves out
        "encoder.pinpoints": _digest(str(getattr(config, "image_grid_pinpoints", None))),
        "encoder.tokenizer": _digest(f"{tokenizer.backend_tokenizer.to_str()}{tokenizer.chat_template}"),
    }
    return tuple(f"{name} = {value}" for name, value in told.items())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of_the_recipe(recipe: TrainRecipe) -> tuple[str, ...]:
    return tuple(line for line in kept_lines(recipe.model_dump(mode="json")) if not line.startswith(OF_THE_PLAN))


def _family(recipe: TrainRecipe) -> Family:
    logging.disable_progress_bar()
    return load(recipe.init, recipe.precision, recipe.attention)


def _learner(family: Family, recipe: TrainRecipe) -> tuple[PackedModel, list[dict[str, Any]]]:
    """The model as it learns, and what of it does."""
    try:
        module = PackedModel(family)
        module.checkpoint_activations(**recipe.activation_checkpointing.model_dump())
        freeze(family.model, recipe.train)
        return module, param_groups(family.model, recipe.optim)
    except ValueError as error:
        raise CannotTrain(str(error)) from error


def _encoder(family: Family, recipe: TrainRecipe, **text: Any) -> Encoder:
    try:
        return Encoder(family, recipe.text.model_copy(update=text), recipe.data.image_tiles)
    except ValueError as error:
        raise CannotTrain(str(error)) from error


def _steps(
    plan: Plan, recipe: TrainRecipe, encoder: Encoder, family: Family, world: World, start: int
) -> Iterator[loader.StepPacksOfRank]:
    make = loader.Make(
        example=encoder.encode,
        pack=partial(collate.pack, family=family),
        dummy=partial(collate.dummy, family),
    )
    return loader.steps(
        plan, recipe.data, make, rank=world.rank, world=world.size, start_step=start, workers=recipe.data.workers
    )


def _watch(family: Family, recipe: TrainRecipe, world: World) -> Watch:
    """Probes on the validation split of the watched set, whatever is labelled in training."""
    assert recipe.watch is not None
    folder = place(recipe.watch.path)
    try:
        data_set = DataSet(SOURCE, folder, read_manifest(folder))
    except (ValueError, *store_errors()) as error:
        raise SourceError(f"watch: {error}") from error
    reads = Reads(
        frames=frame_source(data_set, recipe.data.frames),
        encoder=_encoder(family, recipe, labels="assistant_only"),
        collate=Collate(
            pack=partial(collate.pack, family=family),
            dummy=partial(collate.dummy, family),
            micro_tokens=recipe.batch.micro_tokens,
            micro_tiles=recipe.batch.micro_tiles,
            end_id=family.tokenizer.eos_token_id,
        ),
        max_frames=recipe.data.max_frames,
    )
    return Watch(held_out(data_set, recipe.watch.samples), reads, rank=world.rank, world=world.size)


def _meter(family: Family, recipe: TrainRecipe, world: World) -> Meter:
    name = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else world.device.type
    peak = peak_flops(name, recipe.precision)
    return Meter(cost=Cost.of(family.model.config, recipe.train), peak=peak and peak * world.size)
