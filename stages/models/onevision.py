"""LLaVA-OneVision as a scorer: log-probabilities of answers, given all frames, one frame, or none.

Frames always enter as a *video*, one frame as a one-frame video (DESIGN section 4). Each frame goes through the vision
tower once a clip; all targets of a clip share one copy of each context (stages/models/packing.py); logits exist at
target positions only. Needs no torchvision: the image processor is the PIL one, applied frame by frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from transformers import AutoTokenizer, LlavaOnevisionForConditionalGeneration

from stages.models.packing import Branch, PackedRows, pack

MARK = "<video>"


@dataclass(frozen=True, slots=True)
class Shown:
    """The frames of one context: indices into the clip's planned frames and what the prompt says of them."""

    index: tuple[int, ...]
    header: str


class OneVision:
    """Model, tokenizer and pixel rule of one checkpoint, in evaluation mode."""

    def __init__(self, model: LlavaOnevisionForConditionalGeneration, tokenizer: Any, pixel: "PixelRule") -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.pixel = pixel
        self.video_id: int = model.config.video_token_id
        left, right = self._template()
        self._left_ids, self._right = self.ids(left), right

    @classmethod
    def load(cls, path: str, *, dtype: torch.dtype = torch.float32) -> "OneVision":
        """A checkpoint by local path or hub id."""
        model = LlavaOnevisionForConditionalGeneration.from_pretrained(path, dtype=dtype)
        return cls(model, AutoTokenizer.from_pretrained(path), PixelRule.load(path))

    def save(self, folder: Path) -> None:
        """A plain Hugging Face checkpoint: fp16 weights, tokenizer, image processor."""
        from copy import deepcopy

        from transformers import SiglipImageProcessorPil

        deepcopy(self.model).half().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        size = {"height": self.pixel.side_px, "width": self.pixel.side_px}
        processor = SiglipImageProcessorPil(size=size, image_mean=list(self.pixel.mean), image_std=list(self.pixel.std))
        processor.save_pretrained(folder)

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def features(self, frames_THWC: np.ndarray) -> torch.Tensor:
        """(T, p, D): p visual tokens a frame, each frame encoded once."""
        return self.encode(self.pixel.tensor(frames_THWC).to(self.model.dtype))

    def encode(self, pixels_TCHW: torch.Tensor) -> torch.Tensor:
        config = self.model.config
        inner: Any = self.model.model  # its annotations name tensor types that no tensor has
        out = inner.get_video_features(
            pixels_TCHW[:, None],
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
        ).pooler_output
        return out[:, :-1]  # the last token is the newline, which a context carries once

    def prefix(self, shown: Shown, tokens_a_frame: int) -> list[int]:
        """Ids up to the question: template, visual tokens, header. No visual token is ever cut."""
        visual = [self.video_id] * (len(shown.index) * tokens_a_frame + 1) if shown.index else []
        return [*self._left_ids, *visual, *self.ids(f"\n{shown.header}\n")]

    def branch(self, question: str, answer: str, *, end: bool = False) -> Branch:
        """Question, the template's turn to the assistant, and the answer as target (with its end mark in training)."""
        target = self.ids(answer) + ([self.tokenizer.eos_token_id] if end else [])
        if not target:
            raise ValueError("an empty answer has no likelihood")
        return Branch((*self.ids(question + self._right), *target), len(target))

    def embed(self, packed: PackedRows, visual: Sequence[torch.Tensor]) -> torch.Tensor:
        """Input embeddings (B, S, D); `visual[i]` (n_i, D) fills the video positions of row i, in order."""
        embeds = self.model.get_input_embeddings()(packed.token_id_BS)
        at = packed.token_id_BS == self.video_id
        flat = (
            torch.cat([v for v in visual if len(v)])
            if any(len(v) for v in visual)
            else embeds.new_zeros(0, embeds.shape[-1])
        )
        if int(at.sum()) != len(flat):
            raise ValueError(f"{int(at.sum())} video positions, {len(flat)} visual tokens")
        return embeds.masked_scatter(at[..., None], flat.to(embeds.dtype))

    def visual(self, features_TpD: torch.Tensor, shown: Shown) -> torch.Tensor:
        """The visual tokens of a context: its frames and one newline, or nothing."""
        if not shown.index:
            return features_TpD.new_zeros(0, features_TpD.shape[-1])
        return torch.cat([features_TpD[list(shown.index)].flatten(0, 1), self.model.model.image_newline[None]])

    def target_logits(self, packed: PackedRows, embeds_BSD: torch.Tensor) -> torch.Tensor:
        """Logits (n_targets, vocabulary), float32, of the positions that predict target tokens."""
        hidden = self.model.model.language_model(
            inputs_embeds=embeds_BSD, attention_mask=packed.mask_B1SS, position_ids=packed.position_BS, use_cache=False
        ).last_hidden_state
        return self.model.lm_head(hidden[packed.target_row, packed.target_position]).float()

    def logprobs(
        self, features_TpD: torch.Tensor, contexts: Sequence[Shown], branches: Sequence[Branch]
    ) -> list[list[np.ndarray]]:
        """`[context][target]` -> log-probabilities of the target's tokens, nats."""
        prefixes = [self.prefix(c, features_TpD.shape[1]) for c in contexts]
        packed = pack(prefixes, [branches] * len(contexts), self.tokenizer.pad_token_id)
        embeds = self.embed(packed, [self.visual(features_TpD, c) for c in contexts])
        logits = self.target_logits(packed, embeds)
        values = logits.log_softmax(-1).gather(1, packed.target_id[:, None])[:, 0].cpu().numpy()
        sizes = [b.n_target for _ in contexts for b in branches]
        parts = np.split(values, np.cumsum(sizes)[:-1])
        return [parts[i * len(branches) : (i + 1) * len(branches)] for i in range(len(contexts))]

    def _template(self) -> tuple[str, str]:
        """What the chat template puts before the video and after the question."""
        chat = [{"role": "user", "content": f"{MARK}\x00"}]
        text = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        left, _, right = text.partition(f"{MARK}\x00")
        return left, right


@dataclass(frozen=True, slots=True)
class PixelRule:
    """Frames to pixels: area resize to a square, then (x / 255 - mean) / std, as the checkpoint's processor says."""

    side_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def load(cls, path: str) -> "PixelRule":
        from transformers import SiglipImageProcessorPil

        processor = SiglipImageProcessorPil.from_pretrained(path)
        size: Any = processor.size
        return cls(size["height"], tuple(processor.image_mean), tuple(processor.image_std))

    def resize(self, frames_THWC: np.ndarray) -> np.ndarray:
        side = (self.side_px, self.side_px)
        return np.stack([cv2.resize(f, side, interpolation=cv2.INTER_AREA) for f in frames_THWC])

    def tensor(self, frames_THWC: np.ndarray) -> torch.Tensor:
        return self.normalise(self.resize(frames_THWC))

    def normalise(self, small_THWC: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(small_THWC).permute(0, 3, 1, 2).float() / 255.0
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return (pixels - mean) / std
