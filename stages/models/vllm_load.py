"""Opens a checkpoint in vLLM: in a folder of its own where vLLM wants other weight names or more processor files."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, LlavaOnevisionImageProcessorPil

from stages.models.checkpoint import Checkpoint, NoScorer, find, revision
from stages.models.family import Family
from stages.models.load import DTYPES, FAMILIES
from stages.models.onevision import OneVision
from stages.models.transformers_scorer import PROMPTS
from stages.models.vllm_engine import Engine, EngineOptions
from stages.models.vllm_scorer import VllmScorer
from stages.models.vllm_served import refuse_unserved


def load_vllm_scorer(
    scorer: str,
    *,
    options: EngineOptions | None = None,
    device: str = "cpu",
    prompt: str = "frames",
    max_pixels: int | None = None,
) -> VllmScorer:
    """A scorer by folder, hub id or "embedded", through vLLM; raises NoScorer, and EngineUnusable where its values
    depend on the order of requests. Close it: the engine is processes of its own."""
    options = options or EngineOptions()
    if options.dtype not in DTYPES:
        raise NoScorer(f"dtype {options.dtype!r}: {', '.join(DTYPES)}")
    if prompt not in PROMPTS:
        raise NoScorer(f"prompt {prompt!r}: {', '.join(PROMPTS)}")
    refuse_unserved(scorer)
    version = _version(device)
    found = find(scorer)
    family = blueprint(found, dtype=options.dtype, max_pixels=max_pixels)
    folder = prepared(found, family)
    max_tokens = min(family.limit, options.max_tokens or family.limit)
    vocabulary = int(family.model.config.text_config.vocab_size)
    return VllmScorer(
        family,
        found.card,
        f"{found.name}@{revision(scorer)}",
        prompt=prompt,
        start=lambda: Engine(folder, max_tokens, vocabulary, options),
        max_tokens=max_tokens,
        version=version,
    )


def _version(device: str) -> str:
    """Of the installed vLLM; raises NoScorer where that was built for another device."""
    import vllm  # pyright: ignore[reportMissingImports]
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    if device.partition(":")[0] != current_platform.device_type:
        raise NoScorer(f"device {device!r}: vLLM {vllm.__version__} runs on {current_platform.device_type} here")
    return vllm.__version__


def blueprint(found: Checkpoint, *, dtype: str, max_pixels: int | None) -> Family:
    """The family with tokenizer, pixel rule and config, and a model without weights."""
    kind = FAMILIES[found.config["model_type"]]
    hub: dict[str, Any] = {"revision": found.commit} if found.commit else {"local_files_only": True}
    with torch.device("meta"):
        model = kind.model_class(AutoConfig.from_pretrained(found.path, **hub)).to(DTYPES[dtype])
    return kind(
        model, AutoTokenizer.from_pretrained(found.path, **hub), kind.pixel_rule(found.path, model, max_pixels, **hub)
    )


def prepared(found: Checkpoint, family: Family) -> str:
    """The path that vLLM opens: the checkpoint's own, or a copy in a temporary folder."""
    folder = Path(found.path)
    if found.commit or not isinstance(family, OneVision) or (folder / "processor_config.json").is_file():
        return found.path
    return str(_for_vllm(folder, family))


def _for_vllm(folder: Path, family: OneVision) -> Path:
    """A copy of a OneVision that transformers 5 wrote: vLLM 0.32 looks for the tower's weights one name deeper, and
    wants the processor of videos that our checkpoints leave out."""
    from safetensors.torch import load_file, save_file

    made = Path(tempfile.mkdtemp(prefix="utr-vllm-"))
    for path in folder.iterdir():
        if path.suffix != ".safetensors" and path.name != "model.safetensors.index.json":
            shutil.copy(path, made)
    names: dict[str, str] = {}
    for part in sorted(folder.glob("*.safetensors")):
        weights = {_deeper(name): value for name, value in load_file(part).items()}
        save_file(weights, made / part.name, metadata={"format": "pt"})
        names |= dict.fromkeys(weights, part.name)
    (made / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    _write_processors(made, family)
    return made


def _deeper(name: str) -> str:
    head, tower, rest = name.partition("vision_tower.")
    return f"{head}{tower}vision_model.{rest}" if tower and not rest.startswith("vision_model.") else name


def _write_processors(made: Path, family: OneVision) -> None:
    from transformers import LlavaOnevisionProcessor, LlavaOnevisionVideoProcessor

    pixel, config = family.pixel, family.model.config
    size = {"height": pixel.side_px, "width": pixel.side_px}
    same: dict[str, Any] = {"size": size, "image_mean": list(pixel.mean), "image_std": list(pixel.std)}
    LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessorPil(**same),
        family.tokenizer,
        LlavaOnevisionVideoProcessor(**same, do_sample_frames=False),
        num_image_tokens=(config.vision_config.image_size // config.vision_config.patch_size) ** 2,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        vision_aspect_ratio=config.vision_aspect_ratio,
        chat_template=family.tokenizer.chat_template,
    ).save_pretrained(made)
