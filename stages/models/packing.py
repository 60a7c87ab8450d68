"""One prefix, many branches, one row: what is trained on a clip stands behind one copy of its frames, exactly.

Branch tokens see the prefix and their own branch only, and positions restart after the prefix; so a packed branch gets
the same numbers as prefix + branch alone (measured: 1e-5 in float32). Masking frames inside one shared video prefix is
*not* the same (4.7 nats off in the pilot): another context needs another row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prompt up to the first question: ids and their positions, one row an axis of the rotary embedding."""

    token_id: tuple[int, ...]
    position_AN: torch.Tensor
    next_position: int  # of the token that follows, on every axis

    def __len__(self) -> int:
        return len(self.token_id)


@dataclass(frozen=True, slots=True)
class Branch:
    """A question and its answer as ids; the last `n_target` ids are predicted."""

    token_id: tuple[int, ...]
    n_target: int


@dataclass(frozen=True, slots=True)
class PackedRows:
    """B rows of S tokens, right-padded. `target_at[i] = (row, position)` predicts `target_id[i]`, branch by branch."""

    token_id_BS: torch.Tensor
    position_ABS: torch.Tensor  # A axes: 1, or 3 (time, row, column) where a family has them
    mask_B1SS: torch.Tensor  # bool: True where the row may look
    target_row: torch.Tensor
    target_position: torch.Tensor
    target_id: torch.Tensor


def plain(token_id: Sequence[int]) -> Prefix:
    """A prefix whose positions count its tokens."""
    return Prefix(tuple(token_id), torch.arange(len(token_id))[None], len(token_id))


def pack(prefixes: Sequence[Prefix], branches: Sequence[Sequence[Branch]], pad_id: int) -> PackedRows:
    """Rows of a forward pass: row i is prefix i and then all of branches i."""
    lengths = [len(p) + sum(len(b.token_id) for b in bs) for p, bs in zip(prefixes, branches, strict=True)]
    size = (len(lengths), max(lengths))
    token_id = torch.full(size, pad_id, dtype=torch.long)
    position = torch.zeros((prefixes[0].position_AN.shape[0], *size), dtype=torch.long)
    segment = torch.full(size, -1, dtype=torch.long)
    rows: list[int] = []
    places: list[int] = []
    ids: list[int] = []
    for i, (prefix, own) in enumerate(zip(prefixes, branches, strict=True)):
        n = len(prefix)
        token_id[i, :n] = torch.tensor(prefix.token_id)
        position[:, i, :n] = prefix.position_AN
        segment[i, :n] = 0
        at = n
        for k, branch in enumerate(own, start=1):
            m = len(branch.token_id)
            token_id[i, at : at + m] = torch.tensor(branch.token_id)
            position[:, i, at : at + m] = torch.arange(prefix.next_position, prefix.next_position + m)
            segment[i, at : at + m] = k
            rows += [i] * branch.n_target
            places += range(at + m - branch.n_target - 1, at + m - 1)
            ids += branch.token_id[m - branch.n_target :]
            at += m
    return PackedRows(
        token_id, position, _mask(segment), torch.tensor(rows), torch.tensor(places), torch.tensor(ids)
    )  # fmt: skip


def _mask(segment_BS: torch.Tensor) -> torch.Tensor:
    """Causal, and only prefix or own branch; padding sees itself, so that no row of the softmax is empty."""
    n = segment_BS.shape[1]
    causal = torch.ones(n, n, dtype=torch.bool).tril()
    query, key = segment_BS[:, :, None], segment_BS[:, None, :]
    allowed = causal & ((key == 0) | (key == query)) & (key >= 0) & (query >= 0)
    return (allowed | torch.eye(n, dtype=torch.bool))[:, None]
