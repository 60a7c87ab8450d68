"""How the detectors of transformers are asked, and how their answers are read: a head for each way of asking."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from stages.algorithms.prompt_words import grounding_prompt, known_words, phrase_scores, token_columns

OWL_PROMPT = "a photo of a {}"  # as OWLv2's own examples ask
Size = tuple[int, int]  # height and width in pixels
Boxes = tuple[np.ndarray, np.ndarray, np.ndarray]  # of a frame: (N, 4) x1, y1, x2, y2 in its pixels; word; score


class Head(Protocol):
    """Of one model and the words it looks for."""

    words: tuple[str, ...]

    def __init__(self, config: Any, processor: Any, tokenizer: Any, words: Sequence[str]) -> None: ...

    def text(self, n_frames: int) -> dict[str, torch.Tensor]:
        """What the model is given beside the pixels."""
        ...

    def read(self, output: Any, sizes: Sequence[Size], least_score: float) -> list[Boxes]:
        """For each frame of a batch the boxes above the least score."""
        ...


class KnownWords:
    """RT-DETR: the words are its config's, whatever is asked for."""

    def __init__(self, config: Any, processor: Any, tokenizer: Any, words: Sequence[str]) -> None:
        self.words = known_words(config.to_dict())
        self._processor = processor
        self._is_focal = bool(config.use_focal_loss)

    def text(self, n_frames: int) -> dict[str, torch.Tensor]:
        return {}

    def read(self, output: Any, sizes: Sequence[Size], least_score: float) -> list[Boxes]:
        found = self._processor.post_process_object_detection(
            output, threshold=least_score, target_sizes=list(sizes), use_focal_loss=self._is_focal
        )
        return [_numbers(one) for one in found]


class OwlWords:
    """OWLv2: a sentence a word."""

    def __init__(self, config: Any, processor: Any, tokenizer: Any, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._processor = processor
        most = int(config.text_config.max_position_embeddings)
        asked = tokenizer([OWL_PROMPT.format(word) for word in words], padding="max_length", max_length=most)
        for word, token_id in zip(words, asked["input_ids"], strict=True):
            if len(token_id) > most:
                raise ValueError(f"classes: {word!r} is {len(token_id)} tokens, and the detector reads {most}")
        self._text = {name: torch.tensor(asked[name]) for name in ("input_ids", "attention_mask")}

    def text(self, n_frames: int) -> dict[str, torch.Tensor]:
        return {name: values.repeat(n_frames, 1) for name, values in self._text.items()}

    def read(self, output: Any, sizes: Sequence[Size], least_score: float) -> list[Boxes]:
        # Frames are padded to squares below and on the right; this function knows.
        found = self._processor.post_process_object_detection(output, threshold=least_score, target_sizes=list(sizes))
        return [_numbers(one) for one in found]


class GroundedWords:
    """Grounding DINO: all words in one text; a box has a score for each of its tokens."""

    def __init__(self, config: Any, processor: Any, tokenizer: Any, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._processor = processor
        prompt, spans = grounding_prompt(words)
        asked = tokenizer(prompt, return_offsets_mapping=True, return_token_type_ids=True)
        self._columns = token_columns(spans, asked["offset_mapping"])
        n_tokens, most = len(asked["input_ids"]), int(config.max_text_len)
        if n_tokens > most:
            raise ValueError(f"classes: {len(words)} words are {n_tokens} tokens, and the detector reads {most}")
        for word, columns in zip(words, self._columns, strict=True):
            if not columns:
                raise ValueError(f"classes: the detector's tokenizer finds nothing in {word!r}")
        self._text = {n: torch.tensor([asked[n]]) for n in ("input_ids", "attention_mask", "token_type_ids")}

    def text(self, n_frames: int) -> dict[str, torch.Tensor]:
        return {name: values.repeat(n_frames, 1) for name, values in self._text.items()}

    def read(self, output: Any, sizes: Sequence[Size], least_score: float) -> list[Boxes]:
        everything = self._processor.post_process_object_detection(output, threshold=-1.0, target_sizes=list(sizes))
        found = []
        for one, logits_NT in zip(everything, output.logits, strict=True):
            word_N, score_N = phrase_scores(logits_NT.sigmoid().float().cpu().numpy(), self._columns)
            kept = score_N > least_score
            found.append((one["boxes"].float().cpu().numpy()[kept], word_N[kept], score_N[kept]))
        return found


def _numbers(found: dict[str, torch.Tensor]) -> Boxes:
    boxes, words, scores = (found[name].cpu().numpy() for name in ("boxes", "labels", "scores"))
    return boxes, words, scores
