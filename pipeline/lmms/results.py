"""What lmms-eval left behind: its numbers, and of the local task every answer beside the truth."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.lmms.local_set import DOCS, TASK

RULES = ("closed", "open")  # metrics of the local task


class NoResults(RuntimeError):
    """lmms-eval ended without numbers; the message has its last words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One sample of the local task."""

    sample_id: str
    video_id: str
    family: str
    question: str
    true: str
    said: str
    rule: str
    value: float  # 0..1


@dataclass(frozen=True, slots=True)
class Mean:
    """Of the answers of one family, or of all of one rule."""

    family: str
    rule: str
    value: float
    error: float  # standard error, samples of one video taken together
    samples: int
    videos: int


def numbers(folder: Path, log: Path) -> dict[str, dict[str, Any]]:
    """Task -> metric -> value of the run that wrote to this folder; raises NoResults."""
    found = sorted(folder.rglob("*_results.json"))
    if not found:
        words = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        raise NoResults(
            "lmms-eval ended without results. Its last words:\n" + "\n".join(words[-12:]) + f"\nAll of them: {log}"
        )
    return json.loads(found[-1].read_text(encoding="utf-8"))["results"]


def answers(folder: Path, task: Path) -> list[Answer]:
    """Every sample of the local task, in the order of its file; `task` is the folder that it was written to."""
    docs = pq.read_table(task / DOCS).to_pylist()
    (file,) = folder.rglob(f"*_samples_{TASK}.jsonl")
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        doc = docs[row["doc_id"]]
        (rule,) = [rule for rule in RULES if rule in row]
        facts = (doc["sample_id"], doc["video_id"], doc["family"], doc["question"], doc["answer"])
        found.append(Answer(*facts, row["filtered_resps"], rule, float(row[rule])))
    return found


def means(found: Sequence[Answer]) -> list[Mean]:
    """By family, then over all of a rule."""
    families = sorted({(a.rule, a.family) for a in found})
    by_family = [_mean(f, rule, [a for a in found if (a.rule, a.family) == (rule, f)]) for rule, f in families]
    return [*by_family, *(_mean("all", r, own) for r in RULES if (own := [a for a in found if a.rule == r]))]


def _mean(family: str, rule: str, own: Sequence[Answer]) -> Mean:
    value = sum(a.value for a in own) / len(own)
    off: dict[str, float] = {}
    for a in own:
        off[a.video_id] = off.get(a.video_id, 0.0) + a.value - value
    return Mean(family, rule, value, sqrt(sum(o * o for o in off.values())) / len(own), len(own), len(off))
