"""SAM2 for videos as a small checkpoint of the real class with random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Sam2HieraDetConfig,
    Sam2VideoConfig,
    Sam2VideoMaskDecoderConfig,
    Sam2VideoModel,
    Sam2VisionConfig,
)

SIDE_PX = 128
MEMORY = 64  # width of memories in every checkpoint of this class: its attention has the number written in
WIDTH = 128  # must be more
CARD = "---\nlicense: apache-2.0\n---\n# A tiny one\n"


def write(folder: Path, card: str = CARD) -> Path:
    """The folder of the checkpoint."""
    torch.manual_seed(0)
    hiera_class: Any = Sam2HieraDetConfig
    hiera = hiera_class(
        hidden_size=12, num_attention_heads=1, embed_dim_per_stage=[12, 24, 48, 96],
        num_attention_heads_per_stage=[1, 2, 4, 8], blocks_per_stage=[1, 2, 1, 1],
        global_attention_blocks=[2], image_size=[SIDE_PX, SIDE_PX],
        window_positional_embedding_background_size=[7, 7],
    )  # fmt: skip
    vision_class: Any = Sam2VisionConfig
    vision = vision_class(
        backbone_config=hiera, backbone_channel_list=[96, 48, 24, 12], fpn_hidden_size=WIDTH,
        backbone_feature_sizes=[[SIDE_PX // 4] * 2, [SIDE_PX // 8] * 2, [SIDE_PX // 16] * 2],
    )  # fmt: skip
    prompts = {"hidden_size": WIDTH, "image_size": SIDE_PX}
    decoder_class: Any = Sam2VideoMaskDecoderConfig
    decoder = decoder_class(hidden_size=WIDTH, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=32)
    config_class: Any = Sam2VideoConfig
    config = config_class(
        vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder, image_size=SIDE_PX,
        memory_attention_hidden_size=WIDTH, memory_attention_num_layers=1, memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[SIDE_PX // 16] * 2, memory_encoder_hidden_size=WIDTH,
        memory_encoder_output_channels=MEMORY,
        mask_downsampler_embed_dim=WIDTH, memory_fuser_embed_dim=WIDTH, memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1, num_maskmem=3, max_object_pointers_in_encoder=4,
    )  # fmt: skip
    Sam2VideoModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "Sam2ImageProcessorFast",
                "size": {"height": SIDE_PX, "width": SIDE_PX},
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
                "resample": 2,
            }
        )
    )
    if card:
        (folder / "README.md").write_text(card)
    return folder
