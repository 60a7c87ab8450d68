"""What stages ask of a model that puts pictures and words into one space; and what is told of it without loading it."""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np


class EmbedderUnusable(ValueError):
    """The model cannot be had or used here; the message names the recipe's field and the remedy."""


class Embedder(Protocol):
    """Vectors whose cosine says how well a picture and a text belong together."""

    id: str  # expert_id: model, weights, licence, library
    scale: float  # times the cosine: the logits over which the model's own softmax runs

    def pictures(self, pictures_HWC: Sequence[np.ndarray], /) -> np.ndarray:
        """float32 (N, D), unit length, of uint8 RGB pictures of any size; each as if it were alone."""
        ...

    def texts(self, texts: Sequence[str], /) -> np.ndarray:
        """float32 (N, D), unit length; raises EmbedderUnusable where a text is longer than the model reads."""
        ...


def open_clip_version() -> str:
    """Raises EmbedderUnusable where it is not installed. The library itself is not imported: it takes seconds."""
    if find_spec("open_clip") is None:
        raise EmbedderUnusable(
            "name: open_clip is not installed: `make experts` installs the extra experts (beside a CUDA build of torch "
            "pip install 'utr-engine[experts]' does); or leave the section `name` out of the recipe"
        )
    return version("open_clip_torch")


@cache
def weights_hash(path: str) -> str:
    """Twelve digits of the hash of a file, or of all files of a folder: the same weights elsewhere are the same."""
    digest = hashlib.sha256()
    for file in sorted(Path(path).iterdir()) if Path(path).is_dir() else [Path(path)]:
        if file.is_file():
            with file.open("rb") as stream:
                digest.update(f"{file.name}:{hashlib.file_digest(stream, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()[:12]
