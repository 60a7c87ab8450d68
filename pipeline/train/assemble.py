"""The model that a run begins with: a checkpoint, or a language model and a vision tower with a new projector.

Put together as LLaVA-OneVision is: the tower loses its last layer and its head, images and videos get two of the
vocabulary's spare rows, so that no matrix grows. What is new is drawn from a fixed seed, the same on all ranks.
"""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Qwen2ForCausalLM,
    SiglipVisionModel,
)
from transformers.models.llava_onevision.modeling_llava_onevision import LlavaOnevisionMultiModalProjector
from transformers.utils import logging

from pipeline.train.export import projector_names
from stages.models.checkpoint import NoScorer
from stages.models.family import Family, check_whole
from stages.models.load import DTYPES, load_family
from stages.models.onevision import OneVision
from stages.models.pixels import PixelRule

if TYPE_CHECKING:
    from pipeline.train.recipe import Init

SEED = 0  # of the new projector and newline
MARKS = (OneVision.image_mark, OneVision.mark)  # 151646 and 151647 of Qwen2
GRID = 6  # an image is at most so many tiles high or wide
LLAVA = {"0": "linear_1", "2": "linear_2"}  # its names of the projector's layers, and ours
BROKEN = (OSError, ValueError, ImportError, SafetensorError)


def load(init: Init, precision: str, attention: str) -> Family:
    """On the host; raises NoScorer."""
    if init.checkpoint is not None:
        threads = torch.get_num_threads()
        family = load_family(init.checkpoint, dtype=precision, device="cpu", max_pixels=None)
        if torch.cuda.is_available():  # else it is trained as it is scored: on one thread
            torch.set_num_threads(threads)
    else:
        family = new_from_parts(str(init.language), str(init.vision), precision=precision)
    if init.projector is not None:
        _lay(family, Path(init.projector))
    try:
        family.model.set_attn_implementation(attention)
    except (ImportError, ValueError) as error:
        raise NoScorer(f"attention {attention!r}: {error}; sdpa needs nothing") from error
    return family


def new_from_parts(language: str, vision: str, *, precision: str) -> OneVision:
    """A LLaVA-OneVision of a Qwen2 and a SigLIP, by folder or hub id; raises NoScorer."""
    dtype = DTYPES[precision]
    try:
        causal, tokenizer = _language(language, dtype)
    except BROKEN as error:
        raise NoScorer(f"init.language {language!r} cannot be loaded: {error}") from error
    try:
        tower, pixel = _tower(vision, dtype)
    except BROKEN as error:
        raise NoScorer(f"init.vision {vision!r} cannot be loaded: {error}") from error
    sides = [pixel.side_px * k for k in range(1, GRID + 1)]
    config = LlavaOnevisionConfig(
        text_config=causal.config,
        vision_config=tower.config,
        tie_word_embeddings=causal.config.tie_word_embeddings,
        image_token_index=tokenizer.convert_tokens_to_ids(MARKS[0]),
        video_token_index=tokenizer.convert_tokens_to_ids(MARKS[1]),
        image_grid_pinpoints=[[height, width] for height in sides for width in sides],
    )
    with torch.device("meta"):
        model: Any = LlavaOnevisionForConditionalGeneration(config)
    model.model.language_model, model.lm_head, model.model.vision_tower = causal.model, causal.lm_head, tower
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model.model.multi_modal_projector = LlavaOnevisionMultiModalProjector(config).to(dtype)
        newline = torch.randn(causal.config.hidden_size) / sqrt(causal.config.hidden_size)
        model.model.image_newline = nn.Parameter(newline.to(dtype))
    model.generation_config = causal.generation_config
    return OneVision(model, tokenizer, pixel)


def _language(path: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """A Qwen2 and its tokenizer with the two marks."""
    path, hub = _hub(path)
    kind = AutoConfig.from_pretrained(path, **hub).model_type
    if kind != "qwen2":
        raise ValueError(f"it is a {kind}; a language model to begin with is a Qwen2, such as Qwen2-7B-Instruct")
    causal = _whole(Qwen2ForCausalLM, path, dtype=dtype, **hub)
    tokenizer: Any = AutoTokenizer.from_pretrained(path, **hub)
    tokenizer.add_tokens(list(MARKS), special_tokens=True)
    if len(tokenizer) > causal.config.vocab_size:
        raise ValueError(f"{causal.config.vocab_size} rows leave none spare for {' and '.join(MARKS)}")
    return causal, tokenizer


def _tower(path: str, dtype: torch.dtype) -> tuple[Any, PixelRule]:
    """All of a SigLIP tower but its last layer and its head, and how it wants its pictures."""
    path, hub = _hub(path)
    config: Any = AutoConfig.from_pretrained(path, **hub)
    config = getattr(config, "vision_config", config)
    if config.model_type != "siglip_vision_model":
        raise ValueError(f"it is a {config.model_type}; a tower to begin with is a SigLIP")
    config.num_hidden_layers -= 1
    config.vision_use_head = False
    told = logging.get_verbosity()
    logging.set_verbosity_error()  # it would list all that is left out on purpose
    try:
        tower = _whole(SiglipVisionModel, path, config=config, dtype=dtype, **hub)
    finally:
        logging.set_verbosity(told)
    return tower, PixelRule.of_tower(path, **hub)


def _whole(model_class: Any, path: str, **told: Any) -> Any:
    """Raises ValueError where weights are missing."""
    model, info = model_class.from_pretrained(path, output_loading_info=True, **told)
    check_whole(path, info)
    return model


def _hub(path: str) -> tuple[str, dict[str, Any]]:
    """A folder, or "org/name" or "org/name@revision" of the hub."""
    if Path(path).is_dir():
        return path, {"local_files_only": True}
    name, _, revision = path.partition("@")
    return name, {"revision": revision} if revision else {}


def _lay(family: Family, path: Path) -> None:
    """Weights of a projector over the family's, in place: ours by name, LLaVA's mm_projector.bin by number."""
    names = projector_names(family)
    try:
        read = torch.load(path, weights_only=True) if path.suffix == ".bin" else load_file(path)
        weights = {_published(name): weight for name, weight in read.items()}
        if apart := sorted(weights.keys() ^ names.keys()):
            raise ValueError(f"{len(apart)} weights are missing or too many, such as {apart[0]}")
        family.model.load_state_dict({names[name]: weight for name, weight in weights.items()}, strict=False)
    except (*BROKEN, RuntimeError) as error:
        raise NoScorer(f"init.projector {path} is no projector of this model: {error}") from error


def _published(name: str) -> str:
    """ "multi_modal_projector.linear_1.weight" of "model.mm_projector.0.weight"."""
    _, is_llava, number = name.rpartition("mm_projector.")
    layer, _, weight = number.partition(".")
    return f"multi_modal_projector.{LLAVA[layer]}.{weight}" if is_llava and layer in LLAVA else name
