"""Checkpoints of the real classes with random weights: real configs, chat templates in the style of the real ones."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SiglipVisionConfig,
)

SIDE_PX = 56  # of LLaVA-OneVision's frames and tiles
PINPOINTS = [[SIDE_PX * rows, SIDE_PX * columns] for rows in range(1, 7) for columns in range(1, 7)]
KINDS = ("llava_onevision", "qwen2_5_vl", "qwen3_vl")
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>", "<image>", "<video>",
)  # fmt: skip
TEXTS = (
    "2 frames: frame1, 0.10 s; frame7, 2.31 s\nWhat happens in this video?",
    "A red circle moves right, then stops; a green square waits at the top left.",
    "user\nassistant\nsystem\nYou are a helpful assistant.\n<0.5 seconds>",
)
PARTS = """{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}
{%- if part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>
{%- elif part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
SYSTEM = "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
ONEVISION = """{% for message in messages %}{{ '<|im_start|>' + message.role + ' ' }}
{%- for part in message.content | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}
{%- for part in message.content | selectattr('type', 'equalto', 'video') %}{{ '<video>\\n' }}{% endfor %}
{%- for part in message.content | selectattr('type', 'equalto', 'text') %}{{ '\\n' + part.text }}{% endfor %}
{{- '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


def tokenizer(template: str, special: tuple[str, ...] = SPECIAL) -> PreTrainedTokenizerFast:
    """A small byte-level BPE with the marks of all families."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(TEXTS * 20, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<|endoftext|>", eos_token="<|im_end|>", clean_up_tokenization_spaces=False
    )
    fast.chat_template = template
    return fast


def checkpoint(kind: str, folder: Path) -> Path:
    """Writes a checkpoint folder of a kind; about 0.2 M parameters."""
    torch.manual_seed(0)
    if kind == "llava_onevision":
        tok = tokenizer(ONEVISION)
        size = {"height": SIDE_PX, "width": SIDE_PX}
        model, processor = _onevision(tok), LlavaOnevisionImageProcessorPil(size=size, image_grid_pinpoints=PINPOINTS)
    elif kind == "qwen2_5_vl":
        tok = tokenizer(SYSTEM + PARTS)
        model, processor = _qwen2_5(tok), Qwen2VLImageProcessorPil()
    else:
        tok = tokenizer(PARTS)
        size = {"shortest_edge": 32 * 32, "longest_edge": 4096 * 32 * 32}
        model = _qwen3(tok)
        processor = Qwen2VLImageProcessorPil(patch_size=16, size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    with torch.no_grad():  # large enough that contexts differ by far more than rounding
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.5 / weight.shape[-1] ** 0.5 if "lm_head" not in name else 0.3)
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _onevision(tok: PreTrainedTokenizerFast) -> LlavaOnevisionForConditionalGeneration:
    text = Qwen2Config(
        vocab_size=len(tok), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, eos_token_id=2, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    vision = SiglipVisionConfig(
        hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=3, image_size=SIDE_PX,
        patch_size=14,
    )  # fmt: skip
    setattr(vision, "vision_use_head", False)  # noqa: B010 -- read by the tower, declared nowhere
    ids = dict(zip(SPECIAL, range(len(SPECIAL)), strict=True))
    config = LlavaOnevisionConfig(
        text_config=text, vision_config=vision, vision_feature_layer=-1, vision_feature_select_strategy="full",
        video_token_index=ids["<video>"], image_token_index=ids["<image>"],
        image_grid_pinpoints=PINPOINTS,
    )  # fmt: skip
    return LlavaOnevisionForConditionalGeneration(config)


def _marks() -> dict[str, Any]:
    return {
        "vision_start_token_id": SPECIAL.index("<|vision_start|>"),
        "vision_end_token_id": SPECIAL.index("<|vision_end|>"),
        "image_token_id": SPECIAL.index("<|image_pad|>"),
        "video_token_id": SPECIAL.index("<|video_pad|>"),
    }


def _qwen2_5(tok: PreTrainedTokenizerFast) -> Qwen2_5_VLForConditionalGeneration:
    text = {
        "vocab_size": len(tok), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096, "eos_token_id": 2,
        "bos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 48, "intermediate_size": 64, "num_heads": 3, "out_hidden_size": 64,
        "fullatt_block_indexes": [1], "window_size": 56, "tokens_per_second": 2,
    }  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_marks()))


def _qwen3(tok: PreTrainedTokenizerFast) -> Qwen3VLForConditionalGeneration:
    text = {
        "vocab_size": len(tok), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "head_dim": 16,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2], "mrope_interleaved": True,
        },
    }  # fmt: skip
    vision = {
        "depth": 3, "hidden_size": 48, "intermediate_size": 64, "num_heads": 3, "out_hidden_size": 64,
        "num_position_embeddings": 36, "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **_marks()))
