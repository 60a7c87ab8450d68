"""Each context is read once; all targets then continue from its keys and values, exactly.

What no strategy can save: every context's prefix once, and every target behind every context. Rows that pack all
targets behind one copy of a context compute attention that their mask throws away, quadratic in what they pack; here
prefixes run causally without a mask, and a target's row looks at [its prefix | itself] only.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicLayer

from stages.models.family import LOGITS, Family, PromptRow
from stages.models.prefix import Branch, Prefix

LEAST_FILLED = 7 / 8  # of a batch's longest row: a shorter row would be padding, and gets a batch of its own


class PrefixLayer(DynamicLayer):
    """Keeps what the prefill wrote. Once `rows` is set, row i sees prefix `rows[i]` and itself, and is not kept."""

    rows: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.rows is None or self.keys is None or self.values is None:
            return super().update(key_states, value_states, *args, **kwargs)
        keys, values = (kept.index_select(0, self.rows) for kept in (self.keys, self.values))
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)


class PrefixCache(Cache):
    """Keys and values of a batch of prefixes, kept once, however many rows continue them."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=PrefixLayer)

    def serve(self, rows: Sequence[int]) -> None:
        """The next forward pass has one row for each of these, continuing prefix `rows[i]`."""
        for layer in self.layers:
            if not isinstance(layer, PrefixLayer) or layer.keys is None:
                raise TypeError(f"{type(layer).__name__}: this model's cache is not one of plain attention")
            layer.rows = torch.tensor(rows, device=layer.keys.device)


def read(
    family: Family,
    prefixes: Sequence[Prefix],
    visual: Callable[[int], torch.Tensor],
    branches: Sequence[Branch],
    *,
    batch_tokens: int,
) -> list[list[np.ndarray]]:
    """`[prefix][branch]` -> log-probabilities of the branch's target tokens, nats; `visual(i)` are prefix i's features.

    Holds the keys and values of at most `batch_tokens` prefix tokens at a time, and rows of targets that see at most as
    many; a prefix, or a target behind it, that is longer than that is alone.
    """
    _check_questions(branches)
    found: list[list[np.ndarray]] = [[np.empty(0)] * len(branches) for _ in prefixes]
    for own in batches([len(p) for p in prefixes], batch_tokens):
        cache = prefill(family, [PromptRow(prefixes[i], visual(i)) for i in own])
        n_keys = max(len(prefixes[i]) for i in own)
        pairs = [(at, k) for k in range(len(branches)) for at in range(len(own))]
        for batch in batches([len(branches[k].token_id) - 1 for _, k in pairs], batch_tokens, seen=n_keys):
            rows = [pairs[j] for j in batch]
            cache.serve([at for at, _ in rows])
            hidden = _continue(family, [(prefixes[own[at]], branches[k]) for at, k in rows], cache, n_keys)
            values = _logprobs(family, torch.cat(hidden), _target_id(family, [branches[k] for _, k in rows]))
            ends = np.cumsum([len(h) for h in hidden])
            for (at, k), value in zip(rows, np.split(values, ends[:-1]), strict=True):
                found[own[at]][k] = value
    return found


def target_logits(
    family: Family, contexts: Sequence[PromptRow], branches: Sequence[Sequence[Branch]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is trained on: logits (N, vocabulary), float32, that predict the targets of `branches[i]` behind context i,
    and the ids (N,) of those targets."""
    rows = [(at, branch) for at, own in enumerate(branches) for branch in own]
    _check_questions([branch for _, branch in rows])
    cache = prefill(family, contexts)
    n_keys = max(len(c.prefix) for c in contexts)
    hidden: dict[int, torch.Tensor] = {}
    for batch in batches([len(branch.token_id) - 1 for _, branch in rows], sys.maxsize):
        cache.serve([rows[j][0] for j in batch])
        read = _continue(family, [(contexts[rows[j][0]].prefix, rows[j][1]) for j in batch], cache, n_keys)
        hidden.update(zip(batch, read, strict=True))
    logits = family.model.lm_head(torch.cat([hidden[j] for j in range(len(rows))])).float()
    return logits, _target_id(family, [branch for _, branch in rows])


def batches(lengths: Sequence[int], budget: int, *, seen: int = 0) -> Iterator[list[int]]:
    """Indices, longest first, in batches of little padding and at most `budget` tokens, counting with each row `seen`
    others; a longer row is alone."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batch[0]] if batch else lengths[i]
        if batch and ((len(batch) + 1) * (seen + longest) > budget or lengths[i] < LEAST_FILLED * longest):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def prefill(family: Family, contexts: Sequence[PromptRow]) -> PrefixCache:
    """Keys and values of these contexts, one a row. Rows are padded on the right, where no token of theirs looks."""
    size = (len(contexts), max(len(c.prefix) for c in contexts))
    axes = len(contexts[0].prefix.position_AN)
    token_id = torch.full(size, family.pad_id, dtype=torch.long)
    position = torch.zeros((axes, *size), dtype=torch.long)
    for row, context in enumerate(contexts):
        token_id[row, : len(context.prefix)] = torch.tensor(context.prefix.token_id)
        position[:, row, : len(context.prefix)] = context.prefix.position_AN
    token_id = token_id.to(family.model.device)
    visual = [c.visual for c in contexts]
    cache = PrefixCache()
    family.model.model.language_model(
        inputs_embeds=family.embed(token_id, visual),
        position_ids=_axes(position.to(token_id.device)),
        past_key_values=cache,
        use_cache=True,
        **family.deep(token_id, torch.cat(visual)),
    )
    return cache


def _continue(
    family: Family, rows: Sequence[tuple[Prefix, Branch]], cache: PrefixCache, n_keys: int
) -> list[torch.Tensor]:
    """Each row's hidden states (n_target, D) that predict its target; the last token of a branch predicts nothing."""
    device = family.model.device
    ends = [len(b.token_id) - 1 for _, b in rows]
    token_id = torch.full((len(rows), max(ends)), family.pad_id, dtype=torch.long)
    for row, ((_, branch), end) in enumerate(zip(rows, ends, strict=True)):
        token_id[row, :end] = torch.tensor(branch.token_id[:end])
    position = torch.tensor([p.next_position for p, _ in rows])[:, None] + torch.arange(max(ends))
    embeds = family.model.get_input_embeddings()(token_id.to(device))
    reduced = torch.is_autocast_enabled(device.type)
    dtype = torch.get_autocast_dtype(device.type) if reduced else embeds.dtype
    hidden = family.model.model.language_model(
        inputs_embeds=embeds,
        attention_mask=_mask([len(p) for p, _ in rows], n_keys, max(ends), device, dtype),
        position_ids=_axes(position.expand(len(rows[0][0].position_AN), -1, -1).to(device)),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return [hidden[row, end - b.n_target : end] for row, ((_, b), end) in enumerate(zip(rows, ends, strict=True))]


def _check_questions(branches: Sequence[Branch]) -> None:
    short = [b for b in branches if len(b.token_id) <= b.n_target]
    if short:
        raise ValueError(f"{len(short)} branches begin with their target: nothing in them predicts its first token")


def _target_id(family: Family, branches: Sequence[Branch]) -> torch.Tensor:
    return torch.tensor([t for b in branches for t in b.token_id[-b.n_target :]], device=family.model.device)


def _logprobs(family: Family, hidden_ND: torch.Tensor, target_id: torch.Tensor) -> np.ndarray:
    head = family.model.lm_head
    rows = max(1, LOGITS // int(head.weight.shape[0]))
    found = []
    for part, ids in zip(hidden_ND.split(rows), target_id.split(rows), strict=True):
        logits = head(part).float()
        found.append(logits.gather(1, ids[:, None])[:, 0] - logits.logsumexp(-1))
    return torch.cat(found).cpu().numpy()


def _mask(
    prefix_lengths: Sequence[int], n_keys: int, size: int, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """(B, 1, size, n_keys + size): a token sees its prefix, without padding, and its own row up to itself.

    Numbers that are added to the attention's logits: of booleans transformers' eager attention hides nothing, and
    says nothing.
    """
    seen = torch.arange(n_keys, device=device) < torch.tensor(prefix_lengths, device=device)[:, None]
    own = torch.ones(size, size, dtype=torch.bool, device=device).tril()
    sees = torch.cat([seen[:, None, None].expand(-1, -1, size, -1), own.expand(len(seen), 1, -1, -1)], dim=-1)
    return torch.zeros(sees.shape, dtype=dtype, device=device).masked_fill_(~sees, torch.finfo(dtype).min)


def _axes(position_ABS: torch.Tensor) -> torch.Tensor:
    """Positions as the language model takes them: one axis has no dimension."""
    return position_ABS if len(position_ABS) > 1 else position_ABS[0]
