"""A still image as a family's vision tower takes it, and how many tokens that is.

LLaVA-OneVision cuts an image into tiles of the tower's size, with the whole image before them, as its processor does.
Of one tile ("the whole picture only") an image is that tile and a newline: the class adds one to every image, where
the original code has none in its first stage. Qwen-VL reads an image in its own shape: one picture, many sizes.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_utils import ChannelDimension

from stages.models.family import Family
from stages.models.onevision import OneVision
from stages.models.pixels import AREA, PixelRule
from stages.models.qwen_vl import TOKENS_A_UNIT, QwenVL

SizeHW = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """What an image of a size becomes."""

    n_tiles: int
    n_tokens: int  # newlines included
    grid_HW: SizeHW  # of its tokens, where a family's positions have two axes of space


class Images(Protocol):
    def layout(self, size_HW: SizeHW) -> Layout: ...

    def tiles(self, image_HWC: np.ndarray) -> np.ndarray:
        """(N, H, W, C), uint8; N is the layout's."""
        ...


def images(family: Family, most: int) -> Images:
    """The rule of a family; `most` bounds the tokens of an image to those of so many tiles."""
    if isinstance(family, OneVision):
        return AnyRes(family, most)
    if isinstance(family, QwenVL):
        return Native(family, most)
    raise ValueError(f"{type(family).__name__}: its images are not known here")


class AnyRes:
    """The whole image, then tiles of it. Beyond the tokens of `most` tiles the model itself scales features down."""

    def __init__(self, family: OneVision, most: int) -> None:
        config = family.model.config
        bound = int(config.vision_aspect_ratio.removeprefix("anyres_max_"))
        if most not in (1, bound):
            raise ValueError(
                f"data.image_tiles: {most}, but this checkpoint's config scales images down to {bound} tiles "
                f"(vision_aspect_ratio), whoever reads it: set it to {bound}, or to 1 for whole pictures only"
            )
        self._pixel: PixelRule = family.pixel
        self._most, self._aspect = most, config.vision_aspect_ratio
        self._pinpoints: list[list[int]] = config.image_grid_pinpoints
        self._patches = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
        self._pack = family.model.model.pack_image_features
        self._known: dict[SizeHW, Layout] = {}

    def layout(self, size_HW: SizeHW) -> Layout:
        if size_HW not in self._known:
            self._known[size_HW] = self._layout(size_HW)
        return self._known[size_HW]

    def _layout(self, size_HW: SizeHW) -> Layout:
        """The class's own code packs features that have a shape only."""
        n_tiles = 1
        if self._most > 1:
            rows, columns = self._grid(size_HW)
            n_tiles += rows * columns
        features = torch.empty(n_tiles, self._patches, 1, device="meta")
        newline = torch.empty(1, device="meta")
        (tokens_ND,), _ = self._pack([features], [size_HW], image_newline=newline, vision_aspect_ratio=self._aspect)
        return Layout(n_tiles, len(tokens_ND), (1, len(tokens_ND)))

    def tiles(self, image_HWC: np.ndarray) -> np.ndarray:
        whole = self._pixel.resize(image_HWC[None])
        if self._most == 1:
            return whole
        if self._pixel.resample == AREA:
            raise ValueError(
                "this checkpoint reads frames that were averaged over areas, which no processor of tiles does: "
                "set data.image_tiles to 1"
            )
        size_HW: SizeHW = (image_HWC.shape[0], image_HWC.shape[1])
        rows, columns = self._grid(size_HW)
        side = self._pixel.side_px
        target = (rows * side, columns * side)
        height, width = get_patch_output_size(image_HWC, target, input_data_format=ChannelDimension.LAST)
        resized = np.asarray(Image.fromarray(image_HWC).resize((width, height), self._pixel.resample))
        padded = np.zeros((*target, 3), dtype=np.uint8)
        top, left = (target[0] - height) // 2, (target[1] - width) // 2
        padded[top : top + height, left : left + width] = resized
        cut = padded.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)
        return np.concatenate([whole, cut])

    def _grid(self, size_HW: SizeHW) -> SizeHW:
        height, width = select_best_resolution(size_HW, self._pinpoints)
        return height // self._pixel.side_px, width // self._pixel.side_px


class Native:
    """One picture; a tile's worth is what a frame may have at most."""

    def __init__(self, family: QwenVL, most: int) -> None:
        self._factor_px: int = family.pixel.factor_px
        self._pixel = family.pixel.for_images(most * TOKENS_A_UNIT * self._factor_px**2)

    def layout(self, size_HW: SizeHW) -> Layout:
        height, width = self._pixel.size(*size_HW)
        grid = (height // self._factor_px, width // self._factor_px)
        return Layout(1, grid[0] * grid[1], grid)

    def tiles(self, image_HWC: np.ndarray) -> np.ndarray:
        return self._pixel.resize(image_HWC[None])
