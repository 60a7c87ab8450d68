"""What benchmarks/train_gpu.py trains on: examples of random words and pictures, in lengths as they might come."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.tpl_models import HALF_B, QUICK, SEVEN_B, SIDE_PX, TOKENS_A_FRAME, Size
from pipeline.train.example import NO_LABEL, Example, Tiles
from pipeline.train.image_tiles import images
from stages.models.onevision import OneVision

WORDS = (100, 8000)  # ids that are no marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Samples as they might come: by kind, frames, picture size and words, each drawn evenly of what is listed."""

    text: float = 0.15  # share of samples
    image: float = 0.50  # the rest is video
    words: tuple[int, ...] = (40, 80, 160, 320)  # question and answer; a third of them are labels
    frames: tuple[int, ...] = (8, 16, 32, 32)
    image_px: tuple[tuple[int, int], ...] = ((384, 384), (427, 640), (480, 640), (768, 1024), (720, 1280))  # H, W


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    size: Size
    learns: tuple[str, ...]
    mix: Mix
    samples: int  # a step
    micro_tokens: int
    micro_tiles: int
    image_tiles: int = 9  # 1: the whole picture only
    runs: int = 3  # that are timed; the fastest counts


WHOLE = ("vision", "projector", "language")
SETUPS = {
    "0.5b": Setup(size=HALF_B, learns=WHOLE, mix=Mix(), samples=64, micro_tokens=8192, micro_tiles=40),
    "7b": Setup(size=SEVEN_B, learns=("projector",), mix=Mix(), samples=64, micro_tokens=8192, micro_tiles=40),
    "tiny": Setup(
        size=QUICK, learns=WHOLE, mix=Mix(text=0.4, image=0.3, words=(20, 60), frames=(1, 2), image_px=((300, 400),)),
        samples=8, micro_tokens=1024, micro_tiles=8, image_tiles=1, runs=1,
    ),
}  # fmt: skip


def drawn(family: OneVision, setup: Setup) -> list[Example]:
    """Random words and pictures of the mix's lengths."""
    rng, mix, rule = np.random.default_rng(0), setup.mix, images(family, setup.image_tiles)
    found = []
    for i in range(setup.samples):
        kind = str(rng.choice(["text", "image", "video"], p=[mix.text, mix.image, 1 - mix.text - mix.image]))
        words = rng.integers(*WORDS, int(rng.choice(mix.words)))
        visual, tiles = np.zeros(0, np.int64), None
        if kind == "image":
            size = mix.image_px[rng.integers(len(mix.image_px))]
            tiles = Tiles("image", rule.tiles(rng.integers(0, 256, (*size, 3), dtype=np.uint8)), size)
            visual = np.full(rule.layout(size).n_tokens, family.image_id)
        elif kind == "video":
            n = int(rng.choice(mix.frames))
            tiles = Tiles("video", rng.integers(0, 256, (n, SIDE_PX, SIDE_PX, 3), dtype=np.uint8), (SIDE_PX, SIDE_PX))
            visual = np.full(n * TOKENS_A_FRAME + 1, family.video_id)
        token_id_S = np.concatenate([visual, words])
        label_S = np.where(np.arange(len(token_id_S)) >= len(token_id_S) - len(words) // 3, token_id_S, NO_LABEL)
        found.append(Example("mix", str(i), kind, token_id_S, label_S, np.arange(len(token_id_S))[None], tiles))
    return found


def packed(examples: Sequence[Example], setup: Setup) -> list[list[Example]]:
    """Longest first, each into the fullest row that has room."""
    rows: list[list[Example]] = []
    left: list[tuple[int, int]] = []  # tokens and pictures that a row has room for
    for example in sorted(examples, key=lambda e: -len(e.token_id_S)):
        n, tiles = len(example.token_id_S), len(example.tiles.tiles_NHWC) if example.tiles else 0
        fits = [k for k, (room, pictures) in enumerate(left) if n <= room and tiles <= pictures]
        k = min(fits, key=lambda k: left[k][0], default=len(rows))
        if k == len(rows):
            rows.append([])
            left.append((setup.micro_tokens, setup.micro_tiles))
        rows[k].append(example)
        left[k] = (left[k][0] - n, left[k][1] - tiles)
    return rows
