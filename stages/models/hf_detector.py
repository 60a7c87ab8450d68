"""Grounding DINO, OWLv2 and RT-DETR through transformers, with PIL image processors: no torchvision.

arXiv 2303.05499 (Grounding DINO), 2306.09683 (OWLv2), 2304.08069 and 2407.17140 (RT-DETR and its second version). The
first two are asked for the words of the recipe, RT-DETR knows those of its config. Boxes are placed in the frame by
transformers' own functions; doubles are suppressed here, as for every detector: OWLv2 leaves them in.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    GroundingDinoForObjectDetection,
    Owlv2ForObjectDetection,
    RTDetrForObjectDetection,
    RTDetrV2ForObjectDetection,
)

from stages.algorithms.prompt_words import PROMPTED
from stages.models.detector import Found, without_doubles
from stages.models.expert_weights import BadExpert, ExpertWeights
from stages.models.family import check_whole
from stages.models.hf_heads import Boxes, GroundedWords, Head, KnownWords, OwlWords, Size

KINDS: dict[str, tuple[Any, type[Head]]] = {
    "grounding-dino": (GroundingDinoForObjectDetection, GroundedWords),
    "owlv2": (Owlv2ForObjectDetection, OwlWords),
    "rt_detr": (RTDetrForObjectDetection, KnownWords),
    "rt_detr_v2": (RTDetrV2ForObjectDetection, KnownWords),
}
BATCH_FRAMES = 4  # bounds the memory, chosen small: Grounding DINO reads a frame at 800 x 1333


class HfDetector:
    """Holds the model, in float32. Frames of a batch are of one size, so none is padded to another."""

    def __init__(self, weights: ExpertWeights, words: Sequence[str], *, device: str, threads: int) -> None:
        kind = str(weights.config.get("model_type"))
        model_class, head = KINDS[kind]
        self._device = ready(device, threads)
        try:
            model, info = model_class.from_pretrained(
                weights.path, dtype=torch.float32, output_loading_info=True, **weights.hub
            )
            check_whole(weights.path, info)
            self._processor: Any = AutoImageProcessor.from_pretrained(weights.path, backend="pil", **weights.hub)
            tokenizer = AutoTokenizer.from_pretrained(weights.path, **weights.hub) if kind in PROMPTED else None
            self._head = head(model.config, self._processor, tokenizer, words)
        except (OSError, ValueError, ImportError, SafetensorError) as error:
            raise BadExpert(f"model {weights.path!r} cannot be used: {error}") from error
        self._model = model.eval().to(self._device)

    def find(
        self, frames_THWC: np.ndarray, *, least_score: float, classes: Sequence[str] = ()
    ) -> list[tuple[Found, ...]]:
        """For each uint8 RGB frame what is there, best first; of these classes only, where some are named."""
        size: Size = (frames_THWC.shape[1], frames_THWC.shape[2])
        found: list[tuple[Found, ...]] = []
        for start in range(0, len(frames_THWC), BATCH_FRAMES):
            frames = list(frames_THWC[start : start + BATCH_FRAMES])
            given = {**self._processor(images=frames, return_tensors="pt"), **self._head.text(len(frames))}
            with torch.inference_mode():
                output = self._model(**{name: values.to(self._device) for name, values in given.items()})
            for boxes in self._head.read(output, [size] * len(frames), least_score):
                found.append(_found(boxes, self._head.words, classes, size))
        return found


def ready(device: str, threads: int) -> torch.device:
    """The device, with sums that keep all bits; raises BadExpert where it is not there."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BadExpert(f"device {device!r}: torch {torch.__version__} sees no CUDA GPU here; leave it at cpu")
    if device == "cpu":
        torch.set_num_threads(threads)
    else:
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(device)


def _found(boxes: Boxes, words: Sequence[str], classes: Sequence[str], size: Size) -> tuple[Found, ...]:
    boxes_N4, word_N, score_N = boxes
    if not (np.isfinite(boxes_N4).all() and np.isfinite(score_N).all()):
        raise FloatingPointError("the detector gives numbers that are not finite")
    called = [words[int(k)] for k in word_N]
    kept = [k for k, word in enumerate(called) if word and (not classes or word in classes)]
    return without_doubles(
        boxes_N4[kept],
        [called[k] for k in kept],
        score_N[kept],
        vocabulary=words,
        frame_size_px=(size[1], size[0]),
    )
