"""What a run ends in: a plain Hugging Face checkpoint, which a fresh process has read and found equal.

Names are those of the published checkpoints, written out here: what transformers' own saving writes depends on how the
model was loaded, and other engines read the published ones. Weights have the precision that the model ran in.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

from pipeline.storage import fsync
from pipeline.train.collate import pack
from pipeline.train.engine import World
from pipeline.train.example import NO_LABEL, Example
from pipeline.train.groups import part_of
from stages.models.checkpoint import beside, find
from stages.models.family import Family, Shown
from stages.models.onevision import OneVision

NAMES = {  # beginnings of names, in memory and in files; the first that fits
    "llava_onevision": (
        ("model.language_model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
        ("model.vision_tower.", "vision_tower.vision_model."),
        ("model.", ""),
    ),
    "qwen2_5_vl": (("model.language_model.", "model."), ("model.visual.", "visual.")),
    "qwen3_vl": (),
}
PROCESSOR = (
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
)
SHARD = "5GB"
CHECKED = "A red circle moves from left to right, then it stops.\n" * 4  # what both models read
TOLD = 2000  # characters of what the fresh process said


class BadExport(RuntimeError):
    """A fresh process reads something else than was trained; the message says what."""


def export(engine: Any, family: Family, folder: Path, world: World, *, init: str | None) -> None:
    """Writes and verifies the checkpoint; a collective. `init`: the one the run began from, whose processor is kept."""
    weights = gathered(engine)
    nll = _read_by(engine, family)
    if world.is_first:
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_checkpoint(partial, family, weights, init=init)
        precision = str(next(iter(weights.values())).dtype).removeprefix("torch.")
        verify(partial, weights, nll, precision)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        fsync(folder.parent)
    dist.barrier()


def gathered(engine: Any) -> dict[str, torch.Tensor]:
    """All weights on the first rank's host, by their names in the family's model; empty on others. A collective."""
    if engine.zero_optimization_stage() == 3:
        weights = engine._zero3_consolidated_16bit_state_dict() or {}
    else:
        weights = engine.module.state_dict() if dist.get_rank() == 0 else {}
    return {name.removeprefix("model."): _whole(weight.detach().cpu()) for name, weight in weights.items()}


def _whole(weight: torch.Tensor) -> torch.Tensor:
    """Not a view into something larger, which safetensors refuses to write."""
    return weight if weight.untyped_storage().nbytes() == weight.nbytes else weight.clone()


def write_checkpoint(folder: Path, family: Family, weights: Mapping[str, torch.Tensor], *, init: str | None) -> None:
    """Weights, config, tokenizer with its template, processor; projector.safetensors has the projector alone.

    Under the same names: vLLM reads every *.safetensors of a folder that has one shard, and no stranger among them.
    """
    config = deepcopy(family.model.config)
    config.architectures = [type(family.model).__name__]
    config.dtype = next(iter(weights.values())).dtype
    config.save_pretrained(folder)
    family.model.generation_config.save_pretrained(folder)
    family.tokenizer.save_pretrained(folder)
    _write_processor(folder, family, init)
    kind = config.model_type
    save_torch_state_dict(
        {published(name, kind): weight.contiguous() for name, weight in weights.items()}, folder, max_shard_size=SHARD
    )
    part = {theirs: weights[ours].clone() for theirs, ours in projector_names(family).items()}
    save_file(part, folder / "projector.safetensors", {"format": "pt"})
    for file in folder.iterdir():
        fsync(file)


def published(name: str, kind: str) -> str:
    """A weight's name in a published checkpoint of this kind."""
    for ours, theirs in NAMES[kind]:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def projector_names(family: Family) -> dict[str, str]:
    """The model's names of its projector's weights, by published name."""
    model = family.model
    ours = [name for name in model.state_dict() if part_of(model, name) == "projector"]
    return {published(name, model.config.model_type): name for name in ours}


def verify(folder: Path, weights: Mapping[str, torch.Tensor], nll: list[float], precision: str) -> None:
    """A fresh process reads the folder as any checkpoint: equal weights, equal nats of a text. Raises BadExport."""
    told = {"weights": {n: digest(w) for n, w in weights.items()}, "text": CHECKED, "nll": nll, "precision": precision}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.train.verify_export", str(folder)],
        input=json.dumps(told), env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BadExport(f"{folder} is not what was trained: {done.stderr[-TOLD:]}")


def digest(weight: torch.Tensor) -> str:
    """Of shape, type and bytes."""
    data = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    return f"{list(weight.shape)} {weight.dtype} {hashlib.sha256(data).hexdigest()}"


def _read_by(engine: Any, family: Family) -> list[float]:
    """Nats of each token of the text but the first, by the trained model; every rank reads it."""
    ids = family.ids(CHECKED)
    token_id_S = torch.tensor(ids).numpy()
    label_S = token_id_S.copy()
    label_S[0] = NO_LABEL
    position_AS = family.positions(ids, Shown((), ""), (1, 1))[0].numpy()
    was_training = engine.module.training
    engine.eval()
    with torch.no_grad():
        nll_N = engine(pack([Example("export", "text", "text", token_id_S, label_S, position_AS, None)], family))
    engine.train(was_training)
    return nll_N.float().cpu().tolist()


def _write_processor(folder: Path, family: Family, init: str | None) -> None:
    """The one of the checkpoint that the run began from; a model that was put together from parts has a new one."""
    if init is not None:
        found = find(init)
        for file in (beside(found.path, name, found.commit) for name in PROCESSOR):
            if file is not None:
                shutil.copyfile(file, folder / file.name)
        return
    assert isinstance(family, OneVision), "only these are put together"
    family.processor().save_pretrained(folder)
