"""FLOPs of a step, counted from the model's config, and what share of the devices' peak that is.

A multiply and an add are two FLOPs. Counted are matrix products, forwards and backwards, attention and vision tower
included; a frozen part costs its forward pass, and the way back through it where something before it learns. What
activation checkpointing computes again is not counted: it is no progress. Padding there is none, and dummy packs are
no progress either.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from pipeline.train.recipe import Parts
from schemas.train import PlannedSample

# Dense bfloat16, as the maker states; boards named PCIe or NVL of the first two are slower.
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
SLOWER = ("PCIe", "NVL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What passes through a model."""

    tokens: int  # of the language model, visual ones included
    pairs: float  # of a token and one that it attends to, itself included
    labels: int
    tiles: int

    @classmethod
    def of(cls, samples: Iterable[PlannedSample]) -> Self:
        rows = list(samples)
        return cls(
            tokens=sum(s.n_tokens for s in rows),
            pairs=sum(s.n_tokens * (s.n_tokens + 1) / 2 for s in rows),
            labels=sum(s.n_labels for s in rows),
            tiles=sum(s.n_tiles for s in rows),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """FLOPs of a model's parts, forwards and backwards."""

    token: float  # of the language model's linear layers
    pair: float  # of attention, in all layers
    label: float  # of the head
    tile: float  # one picture through tower and projector

    @classmethod
    def of(cls, config: Any, train: Parts) -> Self | None:
        """Of a LLaVA-OneVision; None of another family, whose towers merge and window patches."""
        if config.model_type != "llava_onevision":
            return None
        back = train.vision or train.projector or train.language  # that a gradient passes the language model
        text, linear, attention = config.text_config, 1 + back + train.language, 1 + 2 * back
        heads, kv_heads = text.num_attention_heads, text.num_key_value_heads
        width = getattr(text, "head_dim", None) or text.hidden_size // heads
        layer = text.hidden_size * (2 * width * (heads + kv_heads) + 3 * text.intermediate_size)
        return cls(
            token=2 * layer * text.num_hidden_layers * linear,
            pair=4 * width * heads * text.num_hidden_layers * attention,
            label=2 * text.hidden_size * text.vocab_size * linear,
            tile=_tower(config.vision_config, train) + _projector(config, train),
        )

    def of_work(self, work: Work) -> float:
        return work.tokens * self.token + work.pairs * self.pair + work.labels * self.label + work.tiles * self.tile


def _patches(vision: Any) -> int:
    return (vision.image_size // vision.patch_size) ** 2


def _tower(vision: Any, train: Parts) -> float:
    """SigLIP, one tile; its first layer needs no gradient of its input."""
    n, width = _patches(vision), vision.hidden_size
    begin = 2 * vision.num_channels * vision.patch_size**2 * width * n * (1 + train.vision)
    linear = 2 * (4 * width**2 + 2 * width * vision.intermediate_size) * n
    attention = 4 * width * n**2
    return begin + (linear + attention) * vision.num_hidden_layers * (1 + 2 * train.vision)


def _projector(config: Any, train: Parts) -> float:
    """Two linear layers, on all patches of a tile: pooling comes after them."""
    n, width, out = _patches(config.vision_config), config.vision_config.hidden_size, config.text_config.hidden_size
    first = 2 * n * width * out * (1 + train.projector + train.vision)
    second = 2 * n * out**2 * (1 + train.projector + (train.projector or train.vision))
    return first + second


def peak_flops(device: str, precision: str) -> float | None:
    """Of a device by its name, a second; None where it is not known: then there is no MFU."""
    if precision != "bfloat16":
        return None
    for name, peak in PEAK_FLOPS.items():
        if name in device and (name == "A100" or not any(word in device for word in SLOWER)):
            return peak
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Turns a step and its time into numbers of steps.jsonl."""

    cost: Cost | None
    peak: float | None  # of all devices together

    def mfu(self, samples: Iterable[PlannedSample], wall_s: float) -> float | None:
        """Share of the peak; None where the peak or the model's cost is not known."""
        if self.cost is None or self.peak is None or wall_s <= 0:
            return None
        return self.cost.of_work(Work.of(samples)) / wall_s / self.peak
