"""Qwen2.5-VL: positions on the time axis advance with the plan's seconds, the same in every context of a clip."""

from typing import Any

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from stages.models.family import Shown
from stages.models.qwen_vl import QwenVL


class Qwen25VL(QwenVL):
    """Qwen2_5_VLForConditionalGeneration."""

    model_class = Qwen2_5_VLForConditionalGeneration

    def clock(self, shown: Shown) -> dict[str, Any]:
        return {"second_per_grid_ts": torch.tensor([2 * shown.spacing_s])}
