"""Checkpoints of the real classes with random weights that vLLM's CPU attention takes: heads of 32 numbers."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLImageProcessorPil,
    SiglipVisionConfig,
)

from tests.models.tiny import ONEVISION, PARTS, PINPOINTS, SPECIAL, SYSTEM, tokenizer

TEXT: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 2048, "eos_token_id": 2, "bos_token_id": None,
}  # fmt: skip


def checkpoint(kind: str, folder: Path) -> Path:
    """Writes a checkpoint folder of a kind; about 0.2 M parameters."""
    torch.manual_seed(0)
    tok = tokenizer(ONEVISION if kind == "llava_onevision" else SYSTEM + PARTS)
    processor: Any = LlavaOnevisionImageProcessorPil(size={"height": 56, "width": 56})
    model: Any = _onevision(len(tok)) if kind == "llava_onevision" else _qwen2_5(len(tok))
    if kind == "qwen2_5_vl":
        processor = Qwen2VLImageProcessorPil()
    with torch.no_grad():  # large enough that contexts differ by far more than rounding
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.5 / weight.shape[-1] ** 0.5 if "lm_head" not in name else 0.3)
    for part in (model, tok, processor):
        part.save_pretrained(folder)
    return folder


def _onevision(vocabulary: int) -> LlavaOnevisionForConditionalGeneration:
    vision = SiglipVisionConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    setattr(vision, "vision_use_head", False)  # noqa: B010 -- read by the tower, declared nowhere
    config = LlavaOnevisionConfig(
        text_config=Qwen2Config(vocab_size=vocabulary, **TEXT), vision_config=vision, vision_feature_layer=-1,
        vision_feature_select_strategy="full", video_token_index=SPECIAL.index("<video>"),
        image_token_index=SPECIAL.index("<image>"), image_grid_pinpoints=PINPOINTS,
    )  # fmt: skip
    return LlavaOnevisionForConditionalGeneration(config)


def _qwen2_5(vocabulary: int) -> Qwen2_5_VLForConditionalGeneration:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]}
    vision: dict[str, Any] = {
        "depth": 2, "hidden_size": 64, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
        "fullatt_block_indexes": [1], "window_size": 56, "tokens_per_second": 2,
    }  # fmt: skip
    marks: dict[str, Any] = {
        "vision_start_token_id": SPECIAL.index("<|vision_start|>"),
        "vision_end_token_id": SPECIAL.index("<|vision_end|>"),
        "image_token_id": SPECIAL.index("<|image_pad|>"),
        "video_token_id": SPECIAL.index("<|video_pad|>"),
    }
    text = {"vocab_size": vocabulary, "rope_parameters": rope, **TEXT}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **marks))
