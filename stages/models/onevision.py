"""LLaVA-OneVision: frames always enter as a *video*, one frame as a one-frame video (DESIGN section 4).

A unit is a frame. A context carries one newline after its last frame. Positions count tokens.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import (
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    PreTrainedModel,
    SiglipImageProcessorPil,
)

from stages.models.family import Family, Shown, Unit
from stages.models.pixels import AREA, PixelRule


class OneVision(Family):
    """LlavaOnevisionForConditionalGeneration."""

    mark = "<video>"
    image_mark = "<image>"
    wrapped = "<video>\n"
    bare = "\n"  # what is left of the wrapping without the mark: the embedded scorers learned it so
    extra_tokens: ClassVar[int] = 1
    model_class = LlavaOnevisionForConditionalGeneration

    @classmethod
    def pixel_rule(cls, path: str, model: PreTrainedModel, max_pixels: int | None, **hub: Any) -> PixelRule:
        rule = PixelRule.load(path, **hub)
        if max_pixels is not None:
            raise ValueError(f"{path} reads frames of {rule.side_px} x {rule.side_px} px only: leave max_pixels out")
        return rule

    def save(self, folder: Path) -> None:
        """A plain Hugging Face checkpoint: fp16 weights, tokenizer, image processor."""
        deepcopy(self.model).half().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        self.processor().save_pretrained(folder)

    def processor(self) -> Any:
        """The image processor of this pixel rule; a Siglip one marks the filter that no processor has."""
        size = {"height": self.pixel.side_px, "width": self.pixel.side_px}
        rule: dict[str, Any] = {"size": size, "image_mean": list(self.pixel.mean), "image_std": list(self.pixel.std)}
        if self.pixel.resample == AREA:
            return SiglipImageProcessorPil(**rule)
        grid = self.model.config.image_grid_pinpoints
        return LlavaOnevisionImageProcessorPil(**rule, resample=self.pixel.resample, image_grid_pinpoints=grid)

    def units(self, index: Sequence[int]) -> tuple[Unit, ...]:
        return tuple((i,) for i in index)

    def grid(self, pixels_TCHW: torch.Tensor) -> tuple[int, int]:
        vision: Any = self.model.config.vision_config
        side = -(-(vision.image_size // vision.patch_size) // 2)  # pooled by two, rounded up
        return side, side

    def encode_units(self, pixels_UmCHW: torch.Tensor) -> torch.Tensor:
        return self.encode(pixels_UmCHW.flatten(0, 1))

    def encode(self, pixels_TCHW: torch.Tensor) -> torch.Tensor:
        """(T, p, D): p visual tokens a frame."""
        config = self.model.config
        out = self.model.model.get_video_features(
            pixels_TCHW[:, None],
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
        ).pooler_output
        return out[:, :-1]  # the last token is the newline, which a context carries once

    def visual(self, features_UpF: torch.Tensor, shown: Shown | None = None) -> torch.Tensor:
        """The visual tokens of a context and one newline, or nothing; of the frames in `shown`, or of all."""
        if shown is not None:
            features_UpF = features_UpF[list(shown.index)]
        if not len(features_UpF):
            return features_UpF.flatten(0, 1)
        return torch.cat([features_UpF.flatten(0, 1), self.model.model.image_newline[None]])
