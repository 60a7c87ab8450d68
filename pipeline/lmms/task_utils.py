"""The local task's own functions. They run in lmms-eval's environment, with rewards.py and frames.parquet beside them.

closed  by the verifier that RL exports carry: 1 or 0 for choices and exact answers, IoU for boxes and spans of frames
open    captions, timelines and texts that came with the videos: F1 of words, apart from case and order
"""

import importlib.util
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FRAMES = "frames.parquet"
OPEN = ("caption", "timeline", "given")  # families


def doc_to_visual(doc: Mapping[str, Any]) -> list[str]:
    """The address of the frames; whoever loads a "video" reads it with `frames_of`."""
    return [f"parquet://{HERE / FRAMES}#{doc['frames_row']}"]


def doc_to_text(doc: Mapping[str, Any], lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> str:
    """What the prompt says of the frames that are shown, and the question."""
    return f"{doc['header']}\n{doc['question']}" if doc["header"] else str(doc["question"])


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    (said,) = results
    if doc["family"] in OPEN:
        return {"open": word_f1(said, doc["answer"])}
    return {"closed": _rewards().reward(said, doc["reward"])}


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def word_f1(said: str, true: str) -> float:
    """Harmonic mean of the shares of words that both have."""
    one, other = (Counter(re.findall(r"\w+", text.casefold())) for text in (said, true))
    both = (one & other).total()
    return 2 * both / (one.total() + other.total()) if both else 0.0


def frames_of(address: str) -> list[bytes]:
    """The JPEGs at "parquet://FILE#ROW": a row group of that file is a clip."""
    import pyarrow.parquet as pq

    file, _, row = address.removeprefix("parquet://").rpartition("#")
    with pq.ParquetFile(file) as frames:
        return frames.read_row_group(int(row), columns=["frames_jpeg"])["frames_jpeg"][0].as_py()


def _rewards() -> Any:
    spec = importlib.util.spec_from_file_location("utr_rewards", HERE / "rewards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
