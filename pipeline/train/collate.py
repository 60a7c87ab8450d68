"""Examples one behind the other; what keeps a rank in step that has none."""

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.train.example import NO_LABEL, Example, Pack
from stages.models.family import Family, Shown


def pack(examples: Sequence[Example], family: Family) -> Pack:
    """Of no examples: a dummy, two tokens without a label (a row of one is read as a step of generation)."""
    if not examples:
        axes = len(family.positions((0, 0), Shown((), ""), (1, 1))[0])
        pad = torch.full((2,), family.pad_id)
        position_AS = torch.arange(2).expand(axes, -1).clone()
        return Pack((), pad, torch.full((2,), NO_LABEL), position_AS, torch.zeros(2, dtype=torch.long))
    labels = [np.concatenate([[NO_LABEL], e.label_S[1:]]) for e in examples]
    lengths = torch.tensor([len(e.token_id_S) for e in examples])
    return Pack(
        tuple(examples),
        torch.from_numpy(np.concatenate([e.token_id_S for e in examples])),
        torch.from_numpy(np.concatenate(labels)),
        torch.from_numpy(np.concatenate([e.position_AS for e in examples], axis=1)),
        torch.repeat_interleave(torch.arange(len(examples)), lengths),
    )


def dummy(family: Family) -> Pack:
    return pack((), family)
