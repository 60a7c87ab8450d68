"""Which weights learn, how fast, and with what decay: by where a weight's name begins.

A name that belongs nowhere, and a part that is to learn but has no weight, are errors. Names are those of the family's
own model (`PackedModel.model`).
"""

from __future__ import annotations

from math import ceil, cos, pi
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:  # a model is trained where pydantic is not
    from pipeline.train.recipe import Optim, Parts

# The first that matches holds; "language" is all that is neither tower nor projector.
PREFIXES: dict[str, tuple[tuple[str, str], ...]] = {
    "llava_onevision": (
        ("model.vision_tower.", "vision"),
        ("model.multi_modal_projector.", "projector"),
        ("model.language_model.", "language"),
        ("model.image_newline", "language"),
        ("lm_head.", "language"),
    ),
    "qwen": (
        ("model.visual.merger.", "projector"),
        ("model.visual.deepstack_merger_list.", "projector"),
        ("model.visual.", "vision"),
        ("model.language_model.", "language"),
        ("lm_head.", "language"),
    ),
}
# Features are taken before them, so that they never get a gradient.
BEHIND_FEATURES = ("model.vision_tower.post_layernorm.", "model.vision_tower.head.")


def part_of(model: Any, name: str) -> str:
    """ "vision", "projector" or "language"; raises ValueError."""
    kind = model.config.model_type
    for prefix, part in PREFIXES["qwen" if kind.startswith("qwen") else kind]:
        if name.startswith(prefix):
            return part
    raise ValueError(f"weight {name} of a {kind} belongs to no part: add its prefix to pipeline/train/groups.py")


def freeze(model: Any, train: Parts) -> None:
    """In place; what does not learn needs no gradient from here on."""
    layer = getattr(model.config, "vision_feature_layer", -1)
    if train.vision and layer != -1:
        raise ValueError(
            f"vision_feature_layer is {layer}: the tower's layers behind it would learn nothing; train.vision: false"
        )
    learns: set[str] = set()
    for name, weight in model.named_parameters():
        part = part_of(model, name)
        weight.requires_grad_(getattr(train, part) and not name.startswith(BEHIND_FEATURES))
        if weight.requires_grad:
            learns.add(part)
    lacking = [part for part in ("vision", "projector", "language") if getattr(train, part) and part not in learns]
    if lacking:
        raise ValueError(f"train: {', '.join(lacking)}: this model has no such weights; set them to false")


def param_groups(model: Any, optim: Optim) -> list[dict[str, Any]]:
    """ "vision/decay", "vision/no_decay" and so on of the parts that learn, for AdamW; biases, norms and the newline do
    not decay."""
    rates = {"vision": optim.vision_lr, "projector": optim.projector_lr, "language": None}
    found: dict[str, list[nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            shape = getattr(weight, "ds_shape", weight.shape)  # of the whole, where DeepSpeed keeps a part
            decay = "decay" if len(shape) > 1 else "no_decay"
            found.setdefault(f"{part_of(model, name)}/{decay}", []).append(weight)
    parts = dict.fromkeys(name.split("/")[0] for name in found)
    lacking = [f"{p}/{d}" for p in parts for d in ("decay", "no_decay") if f"{p}/{d}" not in found]
    if lacking or not found:
        raise ValueError(
            f"no weight learns in {', '.join(lacking) or 'any group'}: freeze the parts first, by recipe.train"
        )
    return [
        {
            "name": name,
            "params": found[name],
            "lr": rates[name.split("/")[0]] or optim.lr,
            "weight_decay": optim.weight_decay if name.endswith("/decay") else 0.0,
            "betas": optim.betas,
            "eps": optim.eps,
        }
        for name in sorted(found)
    ]


def lr_at(step: int, total: int, optim: Optim) -> float:
    """What step `step`, from 0, of `total` multiplies each group's rate by.

    A warm-up that reaches 1 with its last step (transformers' own begins with a step of rate 0, which learns nothing),
    then the schedule down to 0 behind the last step.
    """
    warmup = ceil(total * optim.warmup_ratio)
    if step < warmup:
        return (step + 1) / warmup
    if optim.schedule == "constant":
        return 1.0
    share = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.5 * (1 + cos(pi * share)) if optim.schedule == "cosine" else 1 - share
