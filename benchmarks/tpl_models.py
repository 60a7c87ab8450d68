"""LLaVA-OneVision of random weights in two sizes: one that a CPU runs, one of 7 billion parameters."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

from stages.models.onevision import OneVision

VOCABULARY = 8192
SIDE_PX = 384  # 27 x 27 patches of 14 px, pooled to 14 x 14 = 196 tokens a frame
TOKENS_A_FRAME = 196
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>", "<|unk|>")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Size:
    """Shapes of the language model (h, layers, heads, key-value heads, MLP) and of the vision tower."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    vision_mlp: int
    vocabulary: int = VOCABULARY
    tied: bool = False  # the head is the embedding


@dataclass(frozen=True, slots=True)
class ReadyPixels:
    """Frames that have the model's size already."""

    side_px: int = SIDE_PX

    def tensor(self, frames_THWC: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(frames_THWC).permute(0, 3, 1, 2).float() / 127.5 - 1


# Small: a frame through the tower costs 50 language tokens, as at 7B, and attention to 3300 tokens 0.17 (7B: 0.10).
SMALL = Size(768, 2, 4, 1, 64, 4096, 112, 2, 2, 448)
QUICK = Size(64, 2, 4, 1, 16, 256, 32, 1, 2, 64)
HALF_B = Size(896, 24, 14, 2, 64, 4864, 1152, 26, 16, 4304, 151936, tied=True)  # Qwen2-0.5B and SigLIP so400m
SEVEN_B = Size(3584, 28, 28, 4, 128, 18944, 1152, 26, 16, 4304, 152064)  # Qwen2-7B and SigLIP so400m


def build(size: Size, *, device: str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0) -> OneVision:
    """The family with this model, in evaluation mode."""
    tokenizer = word_tokenizer()
    vocabulary = tokenizer.get_vocab()
    text = Qwen2Config(
        vocab_size=size.vocabulary, hidden_size=size.hidden, intermediate_size=size.mlp, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=size.kv_heads, max_position_embeddings=32768,
        tie_word_embeddings=size.tied, bos_token_id=None, eos_token_id=vocabulary["<|im_end|>"],
        pad_token_id=vocabulary["<|pad|>"],
    )  # fmt: skip
    setattr(text, "head_dim", size.head_dim)  # noqa: B010 -- read by the layers, declared nowhere
    vision = SiglipVisionConfig(
        hidden_size=size.vision_hidden, intermediate_size=size.vision_mlp, num_hidden_layers=size.vision_layers,
        num_attention_heads=size.vision_heads, image_size=SIDE_PX, patch_size=14,
    )  # fmt: skip
    setattr(vision, "vision_use_head", False)  # noqa: B010 -- read by the tower, declared nowhere
    config = LlavaOnevisionConfig(
        text_config=text, vision_config=vision, vision_feature_layer=-1, vision_feature_select_strategy="full",
        video_token_index=vocabulary["<video>"], image_token_index=vocabulary["<image>"], tie_word_embeddings=size.tied,
    )  # fmt: skip
    torch.manual_seed(seed)
    with torch.device(device):
        held = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        model: Any = LlavaOnevisionForConditionalGeneration(config)
        torch.set_default_dtype(held)
    pixel: Any = ReadyPixels()
    return OneVision(model.to(dtype), tokenizer, pixel)


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each of the words w0, w1, ..., one for each digit and mark of a frame header."""
    known = [*SPECIAL, *"0123456789,;:.", "s", "frame", "frames", "user", "assistant"]
    words = [*known, *(f"w{i}" for i in range(VOCABULARY - len(known)))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"w\d+|frames?|s\b|user|\d|[,;:.]"), "isolated")]
    )
    tokenizer.add_special_tokens([AddedToken(s, special=True) for s in SPECIAL])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|im_end|>", unk_token="<|unk|>"
    )
    fast.chat_template = CHAT
    return fast
