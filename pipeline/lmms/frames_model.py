"""The model "utr" of lmms-eval: prompt, pixels and decoding of this engine, so that eval is as training was.

Runs in lmms-eval's environment; run.py makes `stages` and `schemas` importable there.
"""

import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
from lmms_eval.api.model import lmms  # pyright: ignore[reportMissingImports]
from loguru import logger  # pyright: ignore[reportMissingImports]
from PIL import Image

from stages.models.answer import answer
from stages.models.load import load_scorer
from stages.models.protocols import NotSeparable, TooLong


class Utr(lmms):
    """Any checkpoint that the scorer reads, on frames of the local task."""

    is_simple = True

    def __init__(
        self, pretrained: str, device: str = "cpu", dtype: str = "float32", prompt: str = "frames",
        max_pixels: int | None = None, **_: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self._scorer = load_scorer(pretrained, device=device, dtype=dtype, prompt=prompt, max_pixels=max_pixels)

    def generate_until(self, requests: list[Any]) -> list[str]:
        return [self._said(*request.args) for request in requests]

    def _said(self, _: str, options: dict[str, Any], visual: Any, doc_id: int, task: str, split: str) -> str:
        doc = self.task_dict[task][split][doc_id]
        watched = self._scorer.watch(frames_at(visual(doc)[0]), doc["times"])
        try:
            return answer(watched, doc["question"], max_new_tokens=options["max_new_tokens"])
        except (TooLong, NotSeparable) as error:
            logger.warning(f"{doc['sample_id']} counts as not answered: {error}")
            return ""

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError("likelihoods are utr score's")

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        raise NotImplementedError("the local task asks one question a time")


def frames_at(address: str) -> np.ndarray:
    """uint8 RGB (T, H, W, 3) of "parquet://FILE#ROW"."""
    file = Path(address.removeprefix("parquet://").rpartition("#")[0])
    spec = importlib.util.spec_from_file_location("utr_utils", file.with_name("utils.py"))
    assert spec is not None
    assert spec.loader is not None
    utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)
    return np.stack([np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in utils.frames_of(address)])
