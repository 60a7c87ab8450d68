"""What a training run does: one frozen model a section; an unknown key is an error. YAML is read in jobs/.

Defaults are the seed's second stage where it has one (linkangheng/Video-UTR scripts; docs/training.md has each flag).
"""

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SAMPLING = re.compile(r"all|(first|end|random):\d+%?")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Init(Section):
    """A whole checkpoint, or a language model and a vision tower that a new projector joins."""

    checkpoint: str | None = None  # folder, hub id, or "embedded"
    language: str | None = None  # Qwen2 checkpoint; with `vision`
    vision: str | None = None  # SigLIP checkpoint
    projector: str | None = None  # safetensors of ours, or mm_projector.bin of LLaVA; laid over either

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        parts = (self.language is not None, self.vision is not None)
        if (self.checkpoint is not None) == any(parts) or any(parts) != all(parts):
            raise ValueError("init: give checkpoint, or language and vision")
        return self


class Parts(Section):
    """What learns. Language is all that is neither vision tower nor projector: embeddings, head and newline, too."""

    vision: bool = True
    projector: bool = True
    language: bool = True


class Optim(Section):
    """AdamW."""

    lr: float = Field(default=1e-5, gt=0)
    vision_lr: float | None = Field(default=2e-6, gt=0)  # null: lr
    projector_lr: float | None = Field(default=None, gt=0)  # null: lr
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_grad_norm: float = Field(default=1.0, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = Field(default=0.03, ge=0, le=1)


class Batch(Section):
    """The global batch is the contract: the number of micro-steps follows from the number of ranks."""

    samples: int = Field(default=512, gt=0)  # an optimizer step
    micro_tokens: int = Field(default=8192, gt=0)  # of a pack; a single longer sample is a pack of its own
    micro_tiles: int = Field(default=40, gt=0)  # pictures of a pack
    order: Literal["packed", "length", "random"] = "packed"  # random: one sample a pack, in drawn order


class Source(Section):
    """A data set of this engine: what build, select or import wrote."""

    path: str
    sampling: str = "all"  # "all", "first:N", "end:N", "random:N", N a number or a share like 10%
    epochs: int = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not SAMPLING.fullmatch(self.sampling):
            raise ValueError(f"sampling {self.sampling!r}: all, first:N, end:N or random:N; N a number or a share, 10%")
        return self


class Data(Section):
    mix: dict[str, Source] = Field(min_length=1)  # by name
    frames: Literal["packed", "films"] = "packed"  # films: decoded in the loader
    max_frames: int = Field(default=32, gt=0)  # of a sample: evenly chosen of its plan where that has more
    image_tiles: int = Field(default=9, gt=0)  # of an image, at most (anyres_max_9); 1: the whole picture only
    workers: int = Field(default=4, ge=0)
    overlong: Literal["drop", "reduce_frames"] = "reduce_frames"


class Text(Section):
    template: Literal["chat", "plain"] = "chat"  # plain: picture, caption, newline (stage 1)
    labels: Literal["assistant_only", "llava_next"] = "assistant_only"
    prompt: Literal["frames", "paper"] = "frames"  # frames: says which frames are shown, as the scorer does
    max_length: int = Field(default=32768, gt=0)  # of a sample, visual tokens included


class Checkpointing(Section):
    """Activation checkpointing."""

    language: bool = True
    vision: bool = True


class DeepSpeed(Section):
    zero: Literal[0, 1, 2, 3] = 3
    offload: bool = False  # optimizer states to the host

    @model_validator(mode="after")
    def _splits_what_it_offloads(self) -> Self:
        if self.offload and not self.zero:
            raise ValueError(
                "deepspeed.offload with deepspeed.zero 0 keeps the optimizer where it is: take zero 1, 2 or 3"
            )
        return self


class Saving(Section):
    every_steps: int = Field(default=100, gt=0)
    keep: int = Field(default=2, ge=2)  # never one: a killed save would leave none
    uri: str | None = None  # of copies of committed checkpoints, any fsspec URL; null: in the run folder only


class Watching(Section):
    """What is measured on held-out samples while training."""

    every_steps: int = Field(default=100, gt=0)
    path: str  # a data set; its validation split
    samples: int = Field(default=256, gt=0)


class TrainRecipe(Section):
    seed: int = 42
    init: Init
    train: Parts = Parts()
    optim: Optim = Optim()
    batch: Batch = Batch()
    data: Data
    text: Text = Text()
    loss: Literal["token_global", "microbatch_mean"] = "token_global"
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    activation_checkpointing: Checkpointing = Checkpointing()
    deepspeed: DeepSpeed = DeepSpeed()
    checkpoint: Saving = Saving()
    watch: Watching | None = None
    max_steps: int | None = Field(
        default=None, gt=0
    )  # null: the whole plan; the schedule is that of the plan either way

    @model_validator(mode="after")
    def _sums_in_float32(self) -> Self:
        if self.precision == "bfloat16" and not self.deepspeed.zero:
            raise ValueError("precision bfloat16 with deepspeed.zero 0 sums gradients in bfloat16: take zero 1, 2 or 3")
        return self
