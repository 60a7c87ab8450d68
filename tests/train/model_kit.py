"""Tiny real models and conversations about random pictures."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch

from pipeline.train.collate import pack
from pipeline.train.encode import Encoder
from pipeline.train.example import NO_LABEL, Conversation, Example, Media
from pipeline.train.model import PackedModel
from pipeline.train.recipe import Text
from stages.models.load import load_family
from tests.models.tiny import checkpoint

TURNS = (("What happens?", "A red circle moves right."),)
TALK = (("Who is there?", "A green square."), ("Sure?", "Yes."), ("And where?", "at the top left"))


@cache
def folder(kind: str) -> Path:
    keep = TemporaryDirectory(prefix=kind)
    KEPT.append(keep)
    return checkpoint(kind, Path(keep.name))


KEPT: list[TemporaryDirectory] = []  # until the process ends


def family(kind: str) -> Any:
    """A new one at each call: tests change models."""
    return load_family(str(folder(kind)), dtype="float32", device="cpu", max_pixels=None)


def encoder(of: Any, *, image_tiles: int = 9, **text: Any) -> Encoder:
    return Encoder(of, Text(**text), image_tiles)


def film(n_frames: int, *, key: int = 0, size_HW: tuple[int, int] = (60, 90), index: tuple[int, ...] = ()) -> Media:
    """Of a plan of `n_frames`; `index` are those that are shown, all by default."""
    index = index or tuple(range(n_frames))
    frames = np.random.default_rng([1, key]).integers(0, 256, (n_frames, *size_HW, 3), dtype=np.uint8)
    times = tuple(f"{0.7 * k:.2f} s" for k in range(n_frames))
    return Media("video", frames[list(index)], index, times)


def image(size_HW: tuple[int, int], *, key: int = 0) -> Media:
    pixels = np.random.default_rng([2, key]).integers(0, 256, (1, *size_HW, 3), dtype=np.uint8)
    return Media("image", pixels, (0,), ())


def said(media: Media | None, turns: tuple[tuple[str, str], ...] = TURNS, *, name: str = "a") -> Conversation:
    return Conversation("toys", name, "record", turns, media)


def mixed(kind: Literal["talk", "short"] = "talk") -> list[Conversation]:
    """Films of unlike lengths, images of unlike shapes, and a text."""
    media = [film(3, key=1), image((100, 70)), None, film(2, key=2, size_HW=(40, 64)), image((30, 90), key=3)]
    turns = [TALK, TURNS, TURNS, (("Where?", "left"),), (("Colours?", "red; green"),)]
    return [
        said(m, t if kind == "talk" else TURNS, name=str(i)) for i, (m, t) in enumerate(zip(media, turns, strict=True))
    ]


def marked(of: Any, token_id_S: Any, label_S: Any) -> str:
    """What an example says, labels in «»; n visual tokens in a row as one with n behind it."""
    out, learned, run = "", False, 0
    ids, labels = [int(i) for i in token_id_S], [int(i) for i in label_S]
    for k, (i, label) in enumerate(zip(ids, labels, strict=True)):
        assert label in (i, NO_LABEL)
        if (label >= 0) != learned:
            out, learned = out + ("»" if learned else "«"), label >= 0
        if i in (of.video_id, of.image_id):
            run += 1
            if k + 1 < len(ids) and ids[k + 1] == i:
                continue
            out, run = out + f"{of.tokenizer.decode([i])}{run}", 0
        else:
            out += of.tokenizer.decode([i])
    return out + ("»" if learned else "")


def grads(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


class Subject:
    """A new model of a kind and its mixed examples."""

    def __init__(self, kind: str) -> None:
        self.family = family(kind)
        self.model = PackedModel(self.family)
        self.examples = [encoder(self.family).encode(c) for c in mixed()]

    def nll(self, examples: Sequence[Example]) -> torch.Tensor:
        return self.model(pack(examples, self.family))

    def by_example(self, examples: Sequence[Example]) -> list[torch.Tensor]:
        counts = [int((e.label_S != NO_LABEL).sum()) for e in examples]
        return list(self.nll(examples).split(counts))
