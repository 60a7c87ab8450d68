"""Pictures and words in one space through open_clip: the only home of that library. Needs the extra `experts`."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from stages.algorithms.expert_id import expert_id
from stages.models.embedder import EmbedderUnusable

BATCH = 64  # pictures at a time; bounds memory, changes no vector by more than rounding


def load_embedder(model: str, pretrained: str, *, licence: str, device: str = "cpu") -> "OpenClipEmbedder":
    """A model by open_clip's names: "ViT-B-32" with a tag or a file, "hf-hub:org/name", "local-dir:/path".

    Raises EmbedderUnusable where it cannot be had, has no weights, or runs other activations than it was trained with.
    """
    import open_clip  # pyright: ignore[reportMissingImports]

    try:
        with warnings.catch_warnings():
            # Weights that were trained with QuickGELU give other vectors without it, and the library only warns.
            warnings.filterwarnings("error", message="QuickGELU mismatch", category=UserWarning)
            net, preprocess = open_clip.create_model_from_pretrained(
                model,
                pretrained or None,
                device=device,
                image_resize_mode="longest",  # the whole crop with bars: "shortest" would cut off heads and feet
            )
        tokenizer = open_clip.get_tokenizer(model)
    except (RuntimeError, ValueError, OSError, UserWarning) as error:
        raise EmbedderUnusable(f"name.model={model!r}, pretrained={pretrained!r}: {error}") from error
    name = model.removeprefix("local-dir:").rstrip("/")
    short = Path(name).name if model.startswith("local-dir:") else name.removeprefix("hf-hub:")
    weights = f"{short}/{Path(pretrained).name}" if pretrained else short
    library = f"open_clip_torch {version('open_clip_torch')}"
    return OpenClipEmbedder(
        expert_id("open_clip", weights, _hash(net), licence=licence, library=library), net, preprocess, tokenizer
    )


class OpenClipEmbedder:
    """An Embedder over a loaded model, in evaluation mode, float32."""

    def __init__(self, name: str, net: Any, preprocess: Callable[[Image.Image], torch.Tensor], tokenizer: Any) -> None:
        self.id = name
        self._net, self._preprocess, self._tokenizer = net.eval(), preprocess, tokenizer
        self.scale = float(net.logit_scale.detach().exp())

    def pictures(self, pictures_HWC: Sequence[np.ndarray], /) -> np.ndarray:
        """float32 (N, D), unit length."""
        ready = [self._preprocess(Image.fromarray(picture)) for picture in pictures_HWC]
        batches = [torch.stack(ready[k : k + BATCH]) for k in range(0, len(ready), BATCH)]
        with torch.inference_mode():
            found = [self._net.encode_image(batch.to(self._device), normalize=True) for batch in batches]
        return _finite(torch.cat(found))

    def texts(self, texts: Sequence[str], /) -> np.ndarray:
        """float32 (N, D), unit length; raises EmbedderUnusable where a text is longer than the model reads."""
        tokens = self._tokenizer(list(texts))
        self._refuse_cut(texts, tokens)
        with torch.inference_mode():
            return _finite(self._net.encode_text(tokens.to(self._device), normalize=True))

    @property
    def _device(self) -> torch.device:
        return next(self._net.parameters()).device

    def _refuse_cut(self, texts: Sequence[str], tokens: torch.Tensor) -> None:
        """A tokenizer cuts what is too long without a word: read with twice the room, such a text has more tokens."""
        length = tokens.shape[1]
        roomy = self._tokenizer(list(texts), context_length=2 * length)
        for text, short, long in zip(texts, tokens, roomy, strict=True):
            if not (torch.equal(short, long[:length]) and bool((long[length:] == long[-1]).all())):
                raise EmbedderUnusable(f"name: {text!r} is longer than the {length} tokens that the model reads")


def _finite(vectors: torch.Tensor) -> np.ndarray:
    values = vectors.float().cpu().numpy()
    if not np.isfinite(values).all():
        raise FloatingPointError("open_clip gave a vector that is not finite")
    return values


def _hash(net: torch.nn.Module) -> str:
    """Twelve digits of the weights as loaded: a tag may point to other ones tomorrow."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(f"{name}:{tuple(value.shape)}:{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
