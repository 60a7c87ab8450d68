"""A scorer by name: its family from the checkpoint's config, its thresholds from the card beside it."""

import torch
from safetensors import SafetensorError

from stages.models.checkpoint import NoScorer, find, revision
from stages.models.family import Family
from stages.models.onevision import OneVision
from stages.models.qwen2_5_vl import Qwen25VL
from stages.models.qwen3_vl import Qwen3VL
from stages.models.transformers_scorer import PROMPTS, TransformersScorer

FAMILIES: dict[str, type[Family]] = {"llava_onevision": OneVision, "qwen2_5_vl": Qwen25VL, "qwen3_vl": Qwen3VL}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_scorer(
    scorer: str,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    prompt: str = "frames",
    max_pixels: int | None = None,
) -> TransformersScorer:
    """A scorer by folder, hub id, or the embedded one by the name "embedded"; raises NoScorer.

    On a CPU it takes one thread, so that sums have one order. `prompt`: "frames" says which frames are shown, "paper"
    does not. `max_pixels`: of a frame, where a family reads many sizes.
    """
    if dtype not in DTYPES:
        raise NoScorer(f"dtype {dtype!r}: {', '.join(DTYPES)}")
    if prompt not in PROMPTS:
        raise NoScorer(f"prompt {prompt!r}: {', '.join(PROMPTS)}")
    family = load_family(scorer, dtype=dtype, device=device, max_pixels=max_pixels)
    found = find(scorer)
    return TransformersScorer(family, found.card, f"{found.name}@{revision(scorer)}", prompt=prompt)


def load_family(scorer: str, *, dtype: str, device: str, max_pixels: int | None) -> Family:
    """The model itself, on its device."""
    found = find(scorer)
    kind = str(found.config.get("model_type"))
    if kind not in FAMILIES:
        raise NoScorer(f"scorer {scorer!r} is a {kind} model; supported are {', '.join(FAMILIES)}{_why_not(kind)}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise NoScorer(f"device {device!r}: torch {torch.__version__} sees no CUDA GPU here; leave it at cpu")
    if device == "cpu":
        torch.set_num_threads(1)
    else:  # a float32 that silently has ten bits would not be compared with another machine's
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    hub = {"revision": found.commit} if found.commit else {"local_files_only": True}
    try:
        family = FAMILIES[kind].load(found.path, dtype=DTYPES[dtype], max_pixels=max_pixels, **hub)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise NoScorer(f"scorer {scorer!r} cannot be loaded: {error}") from error
    family.model.to(device)
    return family


def _why_not(kind: str) -> str:
    if kind.startswith(("qwen3_5", "qwen4")):
        return " (its linear-attention layers keep no prefix that targets could continue)"
    return ""
