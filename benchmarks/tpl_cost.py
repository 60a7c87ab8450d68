"""What scoring a clip costs in FLOPs: what a run computes, and what no way of computing it can save.

A multiply and an add are two FLOPs. Counted are the matrix products: linear layers, attention, convolution, head.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from stages.models.onevision import OneVision

_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_CUDA_ATTENTION = (
    torch.ops.aten._scaled_dot_product_flash_attention,
    torch.ops.aten._scaled_dot_product_cudnn_attention,
)
KEY_BLOCK = 512  # keys that PyTorch's CPU kernel takes at once; it skips blocks behind the diagonal, no single keys


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOPs of a model's parts."""

    frame: float  # one frame through tower, projector and pooling (v in experiments, section 6)
    token: float  # one token through the language model's linear layers (c)
    pair: float  # attention of one token to one other
    logit: float  # the head, at one position

    @classmethod
    def of(cls, family: OneVision) -> "Cost":
        text: Any = family.model.config.text_config
        linear = [m for m in family.model.model.language_model.modules() if isinstance(m, torch.nn.Linear)]
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        side = family.pixel.side_px
        pixels = torch.zeros(1, 3, side, side, device=family.model.device, dtype=family.model.dtype)
        with torch.inference_mode(), counted() as flops:
            family.encode(pixels)
        return cls(
            frame=flops.get_total_flops(),
            token=2 * sum(m.weight.numel() for m in linear),
            pair=4 * width * text.num_attention_heads * text.num_hidden_layers,
            logit=2 * family.model.lm_head.weight.numel(),
        )

    def minimum(
        self, n_frames: int, prefixes: Sequence[int], branches: Sequence[int], n_targets: Sequence[int]
    ) -> float:
        """Each frame encoded once, each prefix read once, each branch behind each prefix; no padding, nothing masked.

        This is T v + 2 T n c + M (T + 2) L c with attention, head, and what the prompt says beside the frames; a
        branch's last token is not read, since it predicts nothing that is asked for.
        """
        total = n_frames * self.frame
        for p in prefixes:
            total += p * self.token + p * (p + 1) / 2 * self.pair
            for length, n in zip(branches, n_targets, strict=True):
                b = length - 1
                total += b * self.token + b * (p + (b + 1) / 2) * self.pair + n * self.logit
        return total

    def formula(self, n_frames: int, tokens_a_frame: int, length: int, targets: int) -> tuple[float, float]:
        """Naive and shared FLOPs by the formula of experiments, section 6: no attention, no head, no prompt."""
        texts = (n_frames + 2) * length * self.token
        frames = n_frames * (self.frame + tokens_a_frame * self.token)
        return targets * (2 * frames + texts), frames + n_frames * tokens_a_frame * self.token + targets * texts


@contextmanager
def counted() -> Iterator[FlopCounterMode]:
    """Counts what is computed: masked and padded attention like any other, causal attention by the blocks it takes."""
    mapping = dict.fromkeys((_CPU_ATTENTION, *_CUDA_ATTENTION), _attention)
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        yield counter


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *args: Any, **kwargs: Any) -> float:
    """Query and key (B, H, S, d). The third and later arguments differ between kernels; causal is the one bool."""
    batch, heads, n_query, width = query
    n_key = key[2]
    causal = any(a is True for a in args[:2]) or kwargs.get("is_causal", False)
    pairs = _causal_pairs(n_query, n_key) if causal else n_query * n_key
    return 2 * batch * heads * pairs * (width + value[3])


def _causal_pairs(n_query: int, n_key: int) -> int:
    """Query-key pairs of the CPU kernel: query blocks of 32, 64 or 256, key blocks up to the diagonal."""
    step = 256 if n_query >= 768 else 64 if n_query >= 192 else 32
    pairs = 0
    for at in range(0, n_query, step):
        rows = min(step, n_query - at)
        pairs += rows * min(n_key, ceil(min(at + step, n_key) / KEY_BLOCK) * KEY_BLOCK)
    return pairs
