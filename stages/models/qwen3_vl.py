"""Qwen3-VL: the prompt writes a time before each pair of frames, and deeper layers of the tower are added on the way.

A pair's time is the mean of its frames' times, written as the checkpoint's processor writes it; the template's own
vision marks stay around all of it, as transformers leaves them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import Qwen3VLForConditionalGeneration

from stages.models.family import Shown
from stages.models.qwen_vl import QwenVL


class Qwen3VL(QwenVL):
    """Qwen3VLForConditionalGeneration."""

    model_class = Qwen3VLForConditionalGeneration

    def video_text(self, shown: Shown) -> tuple[str, list[int]]:
        pairs = [(t, shown.times_s[i + 1 : i + 2] or (t,)) for i, t in enumerate(shown.times_s) if i % 2 == 0]
        text = "".join(f"<{(a + b) / 2:.1f} seconds>{self.wrapped}" for a, (b,) in pairs)
        return text, [1] * len(pairs)

    @property
    def width(self) -> int:
        return super().width * (1 + len(self.model.config.vision_config.deepstack_visual_indexes))

    def deep(self, token_id_BS: torch.Tensor, visual_NF: torch.Tensor) -> Mapping[str, Any]:
        at = token_id_BS == self.video_id
        if not len(visual_NF):
            return {}
        return {"visual_pos_masks": at, "deepstack_visual_embeds": list(visual_NF.split(super().width, dim=-1))[1:]}
