"""What sharing saves when a clip's texts are scored: `python -m benchmarks.score_tpl`, on an idle machine (15 minutes).

Naive is what one writes first, without mistakes: for each text and each context one call of the model's own forward,
batch of one, pixels and ids ready, no mask, no cache, logits of the answer only. It encodes 2 T frames a text. Engine
and naive get the same pixels, texts and contexts (all frames, none, each alone) and one thread. Naive calls know
nothing of each other: M texts cost M times one text; one cell is run in full to prove it.

`--ready-frames` times the engine at 7B size on a GPU machine, where torch, transformers and numpy suffice.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import tpl_gpu as gpu
from benchmarks.machine import machine
from benchmarks.tpl_clip import Clip, Run, Timed, draw_targets, timed, watched_run
from benchmarks.tpl_cost import Cost
from benchmarks.tpl_models import QUICK, SMALL, TOKENS_A_FRAME, Size, build
from stages.models.protocols import Target
from stages.models.transformers_scorer import BATCH_TOKENS

LENGTHS = (60, 200, 650)  # question, template and answer, in tokens
TARGETS = (1, 4, 8)  # texts a clip
PROVED = (60, 4)  # the cell whose naive calls are all run
MOST_FLOPS = 1.1  # of the analytic minimum
LEAST_SPEED = 0.85  # of the counted ratio
EXACT = 1e-4  # nats a token, float32
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row of the table."""

    length: int
    targets: int
    naive_flops: float
    engine_flops: float
    minimum_flops: float
    formula: float  # the ratio of experiments, section 6: no attention, no head, no prompt
    naive: Timed
    engine: Timed
    peak_mb: float  # the engine's own, above what the process held
    worst_nats: float  # engine against naive: the first text, any token, any context

    @property
    def counted(self) -> float:
        return self.naive_flops / self.engine_flops

    @property
    def measured(self) -> float:
        return self.naive.cpu_s / self.engine.cpu_s

    @property
    def over_minimum(self) -> float:
        return self.engine_flops / self.minimum_flops

    @property
    def missed(self) -> list[str]:
        """Targets that this cell does not reach."""
        reached = {
            f"FLOPs <= {MOST_FLOPS} of the minimum": self.over_minimum <= MOST_FLOPS,
            f"measured >= {LEAST_SPEED} of counted": self.measured >= LEAST_SPEED * self.counted,
            f"exact to {EXACT} nats a token": self.worst_nats <= EXACT,
        }
        return [name for name, there in reached.items() if not there]


@dataclass(frozen=True, slots=True)
class Bench:
    """A clip, its model's cost, and of how many runs the least counts."""

    clip: Clip
    cost: Cost
    runs: int

    @classmethod
    def of(cls, size: Size, n_frames: int, runs: int) -> "Bench":
        family = build(size)
        return cls(Clip.draw(family, n_frames, seed=1), Cost.of(family), runs)

    def cells(self, lengths: Sequence[int]) -> Iterator[Cell]:
        """One for each length and number of texts."""
        for length in lengths:
            texts = draw_targets(self.clip.family, length, max(TARGETS))
            naive = watched_run(lambda texts=texts: self.clip.naive(texts[:1]), self.runs)
            for m in TARGETS:
                yield self._cell(length, texts[:m], naive)

    def _cell(self, length: int, texts: Sequence[Target], naive: Run) -> Cell:
        m = len(texts)
        engine = watched_run(lambda: self.clip.engine(texts), self.runs)
        alone, shared = self.cost.formula(len(self.clip.times), TOKENS_A_FRAME, length, m)
        return Cell(
            length=length,
            targets=m,
            naive_flops=m * naive.flops,
            engine_flops=engine.flops,
            minimum_flops=self.clip.minimum(self.cost, texts),
            formula=alone / shared,
            naive=Timed(m * naive.timed.cpu_s, m * naive.timed.wall_s),
            engine=engine.timed,
            peak_mb=engine.peak_mb,
            worst_nats=max(float(np.abs(a - b).max()) for a, b in zip(naive.found[0], engine.found[0], strict=True)),
        )

    def proof(self) -> float:
        """Naive CPU seconds of all texts of one cell over those of one text times their number: 1 if it holds."""
        length, m = PROVED
        texts = draw_targets(self.clip.family, length, m)
        one, all_ = (timed(lambda t=t: self.clip.naive(t), 1) for t in (texts[:1], texts))
        return all_.cpu_s / (m * one.cpu_s)


def report(bench: Bench, cells: Sequence[Cell], proof: float) -> dict[str, Any]:
    """Everything that was measured, as JSON holds it."""
    parameters = sum(p.numel() for p in bench.clip.family.model.parameters())
    return {
        "machine": machine(),
        "load": round(os.getloadavg()[2]),
        "threads": 1,
        "runs": bench.runs,
        "frames": len(bench.clip.times),
        "tokens_a_frame": TOKENS_A_FRAME,
        "parameters": parameters,
        "frame_over_token": bench.cost.frame / bench.cost.token,
        "cost": asdict(bench.cost),
        "batch_tokens": BATCH_TOKENS,
        "naive_all_over_m_times_one": proof,
        "cells": [
            asdict(c) | {k: getattr(c, k) for k in ("counted", "measured", "over_minimum", "missed")} for c in cells
        ],
    }


def table(found: dict[str, Any]) -> str:
    """The report for people."""
    head = [
        "# Scoring a clip's texts: the engine against naive calls",
        "",
        f"`python -m benchmarks.score_tpl` on {found['machine']}, one thread, float32, least of {found['runs']} runs, "
        f"with {found['load']} processes waiting for a core. "
        f"LlavaOnevision of random weights, {found['parameters'] / 1e6:.1f} M parameters, vocabulary 8192, "
        f"{found['frames']} frames of {found['tokens_a_frame']} tokens; encoding a frame costs "
        f"{found['frame_over_token']:.1f} language tokens (51 at 7B).",
        "Naive: one call of the model's own forward for each text and context, batch of one, pixels and ids ready, no "
        "mask, no cache, logits of the answer only; M texts are M times one text (a cell that was run in full took "
        f"{found['naive_all_over_m_times_one']:.2f} times that).",
        "L: tokens of question, template and answer; M: texts a clip. Formula: experiments without attention, head and "
        "prompt. Counted: FLOPs of naive over FLOPs of the engine, all matrix products, masked and padded ones too. "
        "Times are CPU seconds.",
        "",
        "| L | M | formula | counted | measured | measured / counted | FLOPs / minimum | naive s | engine s (wall) "
        "| peak MB | worst nats a token | missed |",
        "|" + "---|" * 12,
    ]
    rows = [
        f"| {c['length']} | {c['targets']} | {c['formula']:.2f} | {c['counted']:.2f} | **{c['measured']:.2f}** "
        f"| {c['measured'] / c['counted']:.2f} | {c['over_minimum']:.3f} | {c['naive']['cpu_s']:.1f} "
        f"| {c['engine']['cpu_s']:.1f} ({c['engine']['wall_s']:.1f}) | {c['peak_mb']:.0f} | {c['worst_nats']:.1e} "
        f"| {', '.join(c['missed']) or '-'} |"
        for c in found["cells"]
    ]
    tail = [
        "",
        f"Targets: FLOPs at most {MOST_FLOPS} of the minimum, measured at least {LEAST_SPEED} of counted, at most "
        f"{EXACT} nats a token from naive. Memory: keys and values of at most {found['batch_tokens']} prefix tokens at "
        "a time (or of one prefix), and rows of texts that see at most as many (or one); the peak is what the process "
        "held at most above what it held before.",
        "",
        "On a GPU (`--ready-frames --size 7b --dtype bf16 --device cuda`): not run, no GPU was at hand.",
        "",
    ]
    return "\n".join([*head, *rows, *tail])


def main() -> None:
    args = _arguments()
    if args.ready_frames:
        sys.stdout.write(json.dumps(gpu.measure(args.size, args.device, args.dtype, args.frames), indent=1) + "\n")
        return
    torch.set_num_threads(1)
    bench = Bench.of(QUICK, 4, 1) if args.quick else Bench.of(SMALL, 32, args.runs)
    args.out.mkdir(parents=True, exist_ok=True)
    proof, cells = bench.proof(), []
    for cell in bench.cells(LENGTHS[:2] if args.quick else LENGTHS):
        cells.append(cell)
        sys.stderr.write(f"L={cell.length} M={cell.targets} {cell.counted:.2f} {cell.measured:.2f} {cell.missed}\n")
        found = report(bench, cells, proof)  # after each cell, so that a run that is cut off leaves what it has
        (args.out / "score_tpl.json").write_text(json.dumps(found, indent=1) + "\n")
        (args.out / "score_tpl.md").write_text(table(found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of score_tpl.md and score_tpl.json")
    parser.add_argument("--runs", type=int, default=2, help="the least of so many counts")
    parser.add_argument("--quick", action="store_true", help="a tiny model: whether it runs, not how fast")
    parser.add_argument("--ready-frames", action="store_true", help="the engine alone on ready frames, see --size")
    parser.add_argument("--size", choices=sorted(gpu.SIZES), default="7b")
    parser.add_argument("--frames", type=int, default=32, help="of the clip, with --ready-frames")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", choices=sorted(gpu.DTYPES), default="bf16")
    return parser.parse_args()


if __name__ == "__main__":
    main()
