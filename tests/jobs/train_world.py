"""A packed set of the generated world, with a validation split, and a recipe that takes seconds on it."""

from itertools import count, islice
from pathlib import Path

import torch
import yaml
from transformers import Qwen2Config, Qwen2ForCausalLM, SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

from jobs.train_recipe import TRAIN_RECIPES
from pipeline.publish import publish, split_of
from tests.models.tiny import PARTS, SPECIAL, SYSTEM, checkpoint, tokenizer
from tests.publish.builders import facts, load_frames, make_video, video_id_of

TRAIN_VIDEOS, HELD_OUT_VIDEOS = 6, 1
BATCH = 4


def write_set(folder: Path) -> Path:
    """Seven videos of one clip each; one is held out."""
    videos = [make_video(name) for name in (*_names("train", TRAIN_VIDEOS), *_names("validation", HELD_OUT_VIDEOS))]
    publish(folder, sorted(videos, key=lambda v: v.video_id), facts(), load_frames=load_frames)
    return folder


def _names(split: str, n: int) -> list[str]:
    """The first names whose videos belong to the split."""
    names = (f"film{k}" for k in count())
    return list(islice((name for name in names if split_of(video_id_of(name)) == split), n))


def write_recipe(path: Path, data: Path, model: Path, **changed: object) -> Path:
    """A recipe file; `changed` replaces whole sections."""
    recipe = {
        "init": {"checkpoint": str(model)},
        "optim": {"lr": 3e-3, "vision_lr": None, "warmup_ratio": 0.1},
        "batch": {"samples": BATCH, "micro_tokens": 1024, "micro_tiles": 32},
        "data": {"mix": {"films": {"path": str(data)}}, "workers": 0, "max_frames": 4},
        "text": {"max_length": 1024},
        "precision": "float32",
        "activation_checkpointing": {"language": False, "vision": False},
        "deepspeed": {"zero": 2},
        "checkpoint": {"every_steps": 2, "keep": 2},
        **changed,
    }
    path.write_text(yaml.safe_dump(recipe))
    return path


def write_model(folder: Path) -> Path:
    """0.2 M random parameters."""
    return checkpoint("llava_onevision", folder)


def write_parts(folder: Path) -> dict[str, str]:
    """A language model and a vision tower, as `init` of a recipe names them."""
    torch.manual_seed(1)
    said = SYSTEM + PARTS.replace("<|vision_start|><|video_pad|><|vision_end|>", "").replace(
        "<|vision_start|><|image_pad|><|vision_end|>", ""
    )
    tok = tokenizer(said, SPECIAL[:3])
    text = Qwen2Config(
        vocab_size=len(tok) + 8, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, eos_token_id=2, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    Qwen2ForCausalLM(text).save_pretrained(folder / "language")
    tok.save_pretrained(folder / "language")
    vision = SiglipVisionConfig(
        hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=3, image_size=56, patch_size=14
    )
    SiglipVisionModel(vision).save_pretrained(folder / "vision")
    SiglipImageProcessorPil(size={"height": 56, "width": 56}).save_pretrained(folder / "vision")
    return {"language": str(folder / "language"), "vision": str(folder / "vision")}


def write_small(path: Path, name: str, parts: dict[str, str]) -> Path:
    """A recipe of the project with other models, smaller steps and no reader processes: all else is as it comes."""
    recipe = yaml.safe_load((TRAIN_RECIPES / f"{name}.yaml").read_text())
    recipe["init"] |= parts
    recipe["batch"] |= {"samples": BATCH, "micro_tokens": 1024, "micro_tiles": 32}
    recipe["data"]["workers"] = 0
    if "watch" in recipe:
        recipe["watch"]["samples"] = 2
    path.write_text(yaml.safe_dump(recipe))
    return path
