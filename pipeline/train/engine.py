"""DeepSpeed, as one file sees it: who the ranks are, and a model that is split over them.

Losses come in weighted (pipeline/train/loop.py), so the engine never divides by a number of micro-steps, and how many
a step has is said by hand: `gradient_accumulation_steps` is a constant that only says that there may be several.
DeepSpeed is imported where ranks join: that takes four seconds, and reads the environment.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pipeline.train.limits import COLLECTIVE_S
from pipeline.train.recipe import TrainRecipe

SEVERAL = 2  # at 1, an offloaded optimizer takes the norm of the last micro-step for the step's
# Torch 2.13 renames collectives that DeepSpeed 0.19 calls.
RENAMED = r"`torch\.distributed\.\w+` is deprecated"


@dataclass(frozen=True, slots=True)
class World:
    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def join() -> World:
    """The ranks of torchrun or Ray Train, as the environment or torch.distributed tells; without either, one rank.

    DeepSpeed would compile an operator of its own for CPU ranks, for one to two minutes and with a compiler, that only
    inference with split tensors calls. It takes no operator that it believes cannot be built.
    """
    local = int(os.environ.setdefault("LOCAL_RANK", "0"))  # which DeepSpeed reads, as the next
    has_gpu = torch.cuda.is_available()
    if not has_gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed.ops

    device = torch.device("cuda", local) if has_gpu else torch.device("cpu")
    alone: dict[str, Any] = {"store": dist.HashStore(), "rank": 0, "world_size": 1}  # type: ignore[attr-defined]
    told = {} if "WORLD_SIZE" in os.environ else alone
    limit = timedelta(seconds=COLLECTIVE_S)
    if has_gpu:
        torch.cuda.set_device(device)
    else:
        setattr(deepspeed.ops, "__compatible_ops__", {})  # noqa: B010 -- declared nowhere
    if not dist.is_initialized():
        dist.init_process_group(
            "nccl" if has_gpu else "gloo", timeout=limit, device_id=device if has_gpu else None, **told
        )
    deepspeed.init_distributed(verbose=False, timeout=limit)
    warnings.filterwarnings("ignore", RENAMED, FutureWarning)
    return World(dist.get_rank(), dist.get_world_size(), device)


def start(
    module: nn.Module, groups: Sequence[Mapping[str, Any]], recipe: TrainRecipe, *, width: int, universal: bool = False
) -> Any:
    """The engine: called as the module is; `groups` are what AdamW learns, by name.

    `width` of the language model sizes buffers; `universal`: a checkpoint of another number of ranks is to be loaded.
    """
    import deepspeed

    optim = recipe.optim
    optimizer = torch.optim.AdamW([dict(g) for g in groups], lr=optim.lr, betas=optim.betas, eps=optim.eps)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)  # DeepSpeed's use
        warnings.filterwarnings("ignore", RENAMED, FutureWarning)
        engine, *_ = deepspeed.initialize(
            model=module, optimizer=optimizer, config=config(recipe, width, universal=universal)
        )
    return engine


def config(recipe: TrainRecipe, width: int, *, universal: bool) -> dict[str, Any]:
    """What DeepSpeed is told; buckets of ZeRO-3 are those that transformers computes for "auto"."""
    zero: dict[str, Any] = {"stage": recipe.deepspeed.zero, "contiguous_gradients": True}
    if recipe.deepspeed.zero >= 2:
        zero["overlap_comm"] = True
    if recipe.deepspeed.zero == 3:
        zero |= {
            "reduce_bucket_size": width**2,
            "stage3_prefetch_bucket_size": int(0.9 * width**2),
            "stage3_param_persistence_threshold": 10 * width,
            "sub_group_size": 10**9,
            "stage3_max_live_parameters": 10**9,
            "stage3_max_reuse_distance": 10**9,
        }
    if recipe.deepspeed.offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    told: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": SEVERAL,
        "gradient_clipping": recipe.optim.max_grad_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "checkpoint": {"load_universal": universal},
        "steps_per_print": None,
    }
    if recipe.precision == "bfloat16":
        told |= {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}}
    return told


def set_rates(engine: Any, groups: Sequence[Mapping[str, Any]], factor: float) -> None:
    """Each group's own learning rate times the factor."""
    rate = {g["name"]: g["lr"] for g in groups}
    for group in engine.basic_optimizer.param_groups:
        group["lr"] = rate[group["name"]] * factor


def restore_groups(engine: Any, groups: Sequence[Mapping[str, Any]]) -> None:
    """Groups have the hyper-parameters that the recipe gives them, whatever a checkpoint said."""
    of = {g["name"]: {key: value for key, value in g.items() if key != "params"} for g in groups}
    names = [g["name"] for g in groups]
    for group, name in zip(engine.basic_optimizer.param_groups, names, strict=True):
        group.update(of[name])


def update(engine: Any) -> float:
    """Makes the step, of gradients that the last backward has summed over all ranks; their norm before clipping."""
    norm = None
    if not engine.zero_optimization_stage():  # every rank has all gradients, and nobody else tells their norm
        norm = nn.utils.get_total_norm([p.grad for p in engine.module.parameters() if p.grad is not None])
    engine.step()
    return float(engine.get_global_grad_norm() if norm is None else norm)
