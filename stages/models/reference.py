"""Brute force: one plain forward for each context and target, batch of one, full logits, nothing shared.

It shows what the engine must equal, so it has no code in common with it but the tokenizer and its template:
pixels come from transformers' image processors, prompts are tokenised whole, with every visual token written out, and
positions and features are the model's own affair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import Qwen2VLImageProcessorPil, SiglipImageProcessorPil

from stages.algorithms.prompt import header
from stages.algorithms.tpl import Context
from stages.models.family import Family
from stages.models.pixels import AREA
from stages.models.protocols import Target


@dataclass(frozen=True, slots=True)
class Video:
    """What the prompt writes in place of the video's mark, and the public inputs of the forward."""

    text: str
    inputs: dict[str, Any]


NO_VIDEO = Video("", {})


class Reference:
    """The public forward of a family's model on planned frames."""

    def __init__(self, family: Family, frames_THWC: np.ndarray, times: Sequence[str], *, headed: bool = True) -> None:
        self._model, self._chat, self._rule = family.model, family.chat, family.pixel
        self._frames, self._times, self._headed = frames_THWC, times, headed

    @torch.inference_mode()
    def logprob(self, context: Context, target: Target) -> np.ndarray:
        """Log-probabilities of the answer's tokens, nats, in that context."""
        head = header(context.names, self._times) + "\n" if self._headed else ""
        video = self._video(context) if context.index else NO_VIDEO
        mark, shown = self._chat.mark, bool(context.index)
        prompt = self._chat.asked(head, target.history, target.question, video=shown).replace(mark, video.text)
        asked, whole = self._chat.ids(prompt), self._chat.ids(prompt + target.answer)
        ids = torch.tensor([whole], device=self._model.device)
        if "video_grid_thw" in video.inputs:
            video.inputs["mm_token_type_ids"] = (ids == self._model.config.video_token_id).int() * 2
        logits = self._model(input_ids=ids, **video.inputs).logits[0].float()
        logprob = logits[len(asked) - 1 : -1].log_softmax(-1)
        return logprob.gather(1, ids[0, len(asked) :, None])[:, 0].cpu().numpy()

    def _video(self, context: Context) -> Video:
        kind = self._model.config.model_type
        if kind == "llava_onevision":
            return self._onevision(list(context.index))
        return self._qwen(context, writes_times=kind == "qwen3_vl")

    def _onevision(self, index: list[int]) -> Video:
        rule, vision = self._rule, self._model.config.vision_config
        side = rule.side_px
        if rule.resample == AREA and self._frames.shape[1:3] != (side, side):
            raise ValueError(f"the reference has no area filter: give it frames of {side} x {side} px")
        processor = SiglipImageProcessorPil(
            size={"height": side, "width": side},
            image_mean=rule.mean,
            image_std=rule.std,
            resample=max(rule.resample, 0),
        )
        pixels = processor(images=list(self._frames[index]), return_tensors="pt")["pixel_values"]
        tokens = -(-(vision.image_size // vision.patch_size) // 2)
        text = self._chat.mark * (len(index) * tokens**2 + 1)
        return Video(text, {"pixel_values_videos": pixels[None].to(self._model.device, self._model.dtype)})

    def _qwen(self, context: Context, *, writes_times: bool) -> Video:
        rule, vision = self._rule, self._model.config.vision_config
        processor = Qwen2VLImageProcessorPil(
            size={"shortest_edge": rule.min_pixels, "longest_edge": rule.max_pixels},
            image_mean=rule.mean, image_std=rule.std, resample=rule.resample, patch_size=vision.patch_size,
            merge_size=vision.spatial_merge_size,
        )  # fmt: skip
        index = list(context.index)
        times_s, spacing_s = self._times_s(context)
        if len(index) % 2:
            index, times_s = [*index, index[-1]], [*times_s, times_s[-1]]
        one = processor(images=list(self._frames[index]), return_tensors="pt")
        _, rows, columns = one["image_grid_thw"][0].tolist()
        # The image processor gives every frame twice: of each pair the first half is taken, then the second.
        twice = one["pixel_values"].unflatten(0, (len(index), -1)).unflatten(2, (3, 2, -1))
        pairs = torch.stack([twice[0::2, :, :, 0], twice[1::2, :, :, 0]], dim=3)
        tokens = rows * columns // vision.spatial_merge_size**2
        inputs = {
            "pixel_values_videos": pairs.flatten(2).flatten(0, 1).to(self._model.device, self._model.dtype),
            "video_grid_thw": torch.tensor([[len(index) // 2, rows, columns]], device=self._model.device),
        }
        if not writes_times:
            inputs["second_per_grid_ts"] = torch.tensor([2 * spacing_s])
            return Video(self._chat.mark * (tokens * len(index) // 2), inputs)
        frame = f"<|vision_start|>{self._chat.mark * tokens}<|vision_end|>"
        middle = [(a + b) / 2 for a, b in zip(times_s[0::2], times_s[1::2], strict=True)]
        return Video("".join(f"<{t:.1f} seconds>{frame}" for t in middle), inputs)

    def _times_s(self, context: Context) -> tuple[list[float], float]:
        """Seconds of the frames shown and between those of the plan; unheaded, they count on from the first."""
        plan = [float(t.removesuffix(" s")) for t in self._times]
        spacing = (plan[-1] - plan[0]) / max(1, len(plan) - 1) or 1.0
        return [plan[n - 1] if self._headed else plan[0] + k * spacing for k, n in enumerate(context.names)], spacing
