"""A pack in, the nats of each of its labelled tokens out.

Examples of a pack see nothing of each other because positions begin again at each, no mask is given and no cache is
made: transformers looks for packs only then. Breaking one of the three leaks, silently; tests/train/test_model.py has
one test for each.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from pipeline.train.example import NO_LABEL, Pack
from pipeline.train.trunks import reads_packs
from stages.models.family import LOGITS, Family


class PackedModel(nn.Module):
    """The family's own model, of which it takes hold: `model` is what is trained and saved."""

    def __init__(self, family: Family) -> None:
        super().__init__()
        reads_packs(family)
        self.model: Any = family.model
        self.model.lm_head.__class__ = NllHead
        self.train()

    def checkpoint_activations(self, *, language: bool, vision: bool) -> None:
        """Layers of the two compute their activations again on the way back, instead of keeping them."""
        body = self.model.model
        tower = body.vision_tower if hasattr(body, "vision_tower") else body.visual
        for part, wanted in ((body.language_model, language), (tower, vision)):
            for layer in part.modules():
                if isinstance(layer, GradientCheckpointingLayer):
                    layer.gradient_checkpointing = wanted
                    vars(layer)["_gradient_checkpointing_func"] = partial(checkpoint, use_reentrant=False)

    def forward(self, pack: Pack) -> torch.Tensor:
        """(N,) nats, float32, in order of the pack: of segment `pack.segment_S[pack.label_S != NO_LABEL]`."""
        pack = _on(pack, self.model.lm_head.weight.device)
        hidden_SD = self.model.model(pack=pack)
        at_N = torch.nonzero(pack.label_S != NO_LABEL)[:, 0]
        if len(at_N):
            return self.model.lm_head(hidden_SD[at_N - 1], pack.label_S[at_N])
        # The head is called on every rank, and its weight gets a gradient of 0 here.
        return self.model.lm_head(hidden_SD[:1], pack.token_id_S[:1])[:0]


class NllHead(nn.Linear):
    """A head that is asked for targets gives their nats; many of them in parts, whose logits are made again backwards.

    Once called however many parts there are: ranks have unequal numbers of labels, and ZeRO-3 gathers at each call.
    """

    def forward(self, input: torch.Tensor, target_N: torch.Tensor | None = None) -> torch.Tensor:
        if target_N is None:
            return super().forward(input)
        rows = max(1, LOGITS // self.out_features)
        if len(input) <= rows:
            return self._nll(input, target_N)
        parts = zip(input.split(rows), target_N.split(rows), strict=True)
        return torch.cat([checkpoint(self._nll, *part, use_reentrant=False) for part in parts])

    def _nll(self, hidden_ND: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
        logits = functional.linear(hidden_ND, self.weight, self.bias).float()
        return functional.cross_entropy(logits, target_N, reduction="none")


def _on(pack: Pack, device: torch.device) -> Pack:
    """Pictures stay where they are: they cross as bytes, when their turn comes."""
    names = ("token_id_S", "label_S", "position_AS", "segment_S")
    return replace(pack, **{name: getattr(pack, name).to(device, non_blocking=True) for name in names})
