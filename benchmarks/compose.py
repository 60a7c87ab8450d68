"""How many samples does one core compose of ready tracks, and does memory stay flat while it does?

    python -m benchmarks.compose        writes benchmarks/results/compose.{md,json}

Clips of generated worlds, all families, five twins a clip, three wordings; nothing is decoded, scored or written. Speed
is CPU time of this one process. Memory is what the process holds after so many clips, not what Python counts.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.machine import machine
from pipeline.shapes.lessons import TICKS_A_SECOND, world_scene
from stages.algorithms.compose import compose
from stages.algorithms.questions import FAMILIES
from stages.algorithms.scene import Scene
from stages.algorithms.world import World, random_world

RESULTS = Path(__file__).parent / "results"
SEED = 80_001
ASKED = 300  # samples a second that are asked for
SETTINGS = {
    "short clips, 8 frames": (1.0, 3, 8),
    "10 s clips, 32 frames": (4.0, 3, 32),
    "30 s clips, 32 frames": (12.0, 4, 32),
}


def scenes(n: int, slower: float, subjects: int, n_frames: int) -> Iterator[Scene]:
    """Clips of 1.6 to 4 s and up to so many subjects, in slow motion, tracked ten times a second."""
    rng = np.random.default_rng(SEED)
    for _ in range(n):
        world = stretched(random_world(rng, max_shapes=subjects), slower)
        ticks = tuple(range(0, int(world.duration_s * TICKS_A_SECOND), TICKS_A_SECOND // 10))
        yield world_scene(world, ticks, n_frames)


def stretched(world: World, slower: float) -> World:
    shapes = tuple(
        replace(
            s,
            legs=tuple(replace(leg, duration_s=leg.duration_s * slower) for leg in s.legs),
            appears_s=s.appears_s * slower,
            disappears_s=s.disappears_s * slower,
        )
        for s in world.shapes
    )
    return World(shapes, world.duration_s * slower)


def measured(name: str, clips: int) -> dict[str, Any]:
    process = psutil.Process()
    samples, cpu_s, tracks, resident_mb = 0, 0.0, 0, dict[int, float]()
    for k, scene in enumerate(scenes(clips, *SETTINGS[name]), start=1):
        began = time.process_time()
        samples += len(
            compose(
                scene, clip_id=f"clip{k}", seed=0, caption_share=0.3, families=FAMILIES, wordings=3, max_twins=5
            )
        )  # fmt: skip
        cpu_s += time.process_time() - began
        tracks += len(scene.tracks)
        if k in (clips // 10, clips):
            resident_mb[k] = round(process.memory_info().rss / 1e6, 1)
    return {
        "clips": clips,
        "subjects_a_clip": round(tracks / clips, 2),
        "samples": samples,
        "samples_a_second": round(samples / cpu_s),
        "resident_mb": resident_mb,
    }


def report(found: dict[str, dict[str, Any]], where: str) -> str:
    lines = [
        "# Composing", "",
        f"`python -m benchmarks.compose` on {where}, one process. Asked: {ASKED} samples a second a core.", "",
        "| | clips | subjects a clip | samples | samples a CPU second | resident MB after a tenth, after all |",
        "|-|-:|-:|-:|-:|-|",
    ]  # fmt: skip
    for name, m in found.items():
        memory = ", ".join(f"{mb:.0f}" for mb in m["resident_mb"].values())
        counts = f"{m['clips']:,} | {m['subjects_a_clip']} | {m['samples']:,} | {m['samples_a_second']:,}"
        lines.append(f"| {name} | {counts} | {memory} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    found = {name: measured(name, asked.clips) for name in SETTINGS}
    (asked.out / "compose.json").write_text(json.dumps({"machine": machine(), "settings": found}, indent=1) + "\n")
    (asked.out / "compose.md").write_text(report(found, machine()))


if __name__ == "__main__":
    main()
