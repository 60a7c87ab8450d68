"""The engine at 7B size on a GPU machine: clips and tokens a second, use of the chip, memory, ratio to naive calls."""

from typing import Any

import torch

from benchmarks.tpl_clip import Clip, draw_targets, timed
from benchmarks.tpl_cost import Cost
from benchmarks.tpl_models import QUICK, SEVEN_B, SMALL, build

SIZES = {"7b": SEVEN_B, "small": SMALL, "quick": QUICK}
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0}  # dense bf16, as the makers state
GRID = ((60, 8), (200, 8), (650, 4))  # tokens a text, texts a clip
RUNS = 3


def measure(size: str, device: str, dtype: str, n_frames: int) -> dict[str, Any]:
    """One entry a cell; `mfu` counts the FLOPs that cannot be saved, and is null where the chip's peak is not known."""
    family = build(SIZES[size], device=device, dtype=DTYPES[dtype])
    clip, cost = Clip.draw(family, n_frames, seed=1), Cost.of(family)
    chip = torch.cuda.get_device_name() if device == "cuda" else device
    peak = next((v for k, v in PEAK_TFLOPS.items() if k in chip and dtype == "bf16"), None)
    cells = [_cell(clip, cost, length, m, peak) for length, m in GRID]
    return {"chip": chip, "torch": torch.__version__, "size": size, "dtype": dtype, "frames": n_frames, "cells": cells}


def _cell(clip: Clip, cost: Cost, length: int, m: int, peak: float | None) -> dict[str, Any]:
    texts = draw_targets(clip.family, length, m)
    cuda = clip.family.model.device.type == "cuda"
    wait = torch.cuda.synchronize if cuda else (lambda: None)
    clip.engine(texts)()  # kernels are chosen and loaded on the first run
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    engine_s = timed(lambda: clip.engine(texts), RUNS, wait).wall_s
    held_gb = torch.cuda.max_memory_allocated() / 1e9 if cuda else None
    naive_s = m * timed(lambda: clip.naive(texts[:1]), RUNS, wait).wall_s
    flops = clip.minimum(cost, texts)
    return {
        "length": length,
        "targets": m,
        "clips_per_s": 1 / engine_s,
        "tokens_per_s": len(clip.contexts)
        * sum(clip.family.branch(t.question, t.answer).n_target for t in texts)
        / engine_s,
        "tflops": flops / engine_s / 1e12,
        "mfu": flops / engine_s / 1e12 / peak if peak else None,
        "peak_memory_gb": held_gb,
        "over_naive": naive_s / engine_s,
    }
