"""Run in a process of its own, without DeepSpeed: whether a checkpoint is the model that was trained.

python -m pipeline.train.verify_export FOLDER < expected.json
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from pipeline.train.export import digest
from stages.models.load import load_family

# Nats a token, on average. In bfloat16 another device or another shape of the same products rounds otherwise.
NEAR = {"float32": 1e-4, "bfloat16": 0.02}


class NotEqual(RuntimeError):
    """Weights or nats differ."""


def check(folder: str, expected: Mapping[str, Any]) -> None:
    """Raises NotEqual, or what reading a checkpoint raises."""
    family = load_family(folder, dtype=expected["precision"], device="cpu", max_pixels=None)
    read = {name: digest(weight) for name, weight in family.model.state_dict().items()}
    if read != expected["weights"]:
        names = sorted(name for name in read.keys() | expected["weights"].keys())
        differ = [name for name in names if read.get(name) != expected["weights"].get(name)]
        raise NotEqual(f"{len(differ)} of {len(names)} weights differ, such as {differ[0]}")
    token_id_S = torch.tensor(family.ids(expected["text"]))
    with torch.no_grad():
        logits_SV = family.model(input_ids=token_id_S[None], use_cache=False).logits[0].float()
    nll_N = functional.cross_entropy(logits_SV[:-1], token_id_S[1:], reduction="none")
    apart = float((nll_N - torch.tensor(expected["nll"])).abs().mean())
    if not apart <= NEAR[expected["precision"]]:
        raise NotEqual(f"a text costs {apart:.2g} nats a token more or less than by the model that was trained")


if __name__ == "__main__":
    check(sys.argv[1], json.load(sys.stdin))
