"""Does a build need more memory for more videos? Peak resident memory of a build of 50 and of 500 small films.

    python -m benchmarks.memory                  writes benchmarks/results/memory.{md,json}
    python -m benchmarks.memory --runner local   of one runner only; the figures of the other are kept

Each build is a process of its own, as `utr build` is. Its films are a second long and all different: tiny, so that
what grows is what the engine keeps for each video, and not the pictures. Peaks are the largest of samples taken every
`EVERY_S`, by kind of process: of the driver, of all its workers together, of all decoder children together. Those
younger than `YOUNG_S` do not count: a library that looks whether there is an ffmpeg starts one for a moment. On Ray a
process counts as a stage worker while it works and as "the rest" while it waits, so neither peak alone tells growth.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil

from benchmarks.machine import machine
from stages.media.film import write_film

RESULTS = Path(__file__).parent / "results"
COUNTS = (50, 500)
RUNNERS = ("local", "ray")
MAX_GROWTH = 0.10  # what is asked for: within ten percent from 50 to 500 videos
EVERY_S, YOUNG_S = 0.25, 1.0
FPS = Fraction(12)
N_FRAMES, SIDE_PX = 18, 64
RECIPE = """
decode: {{track_fps: 4, plan_frames: 2}}
score_samples: {{max_targets: 1}}
store_dir: {store}
store_gb: 0.05
"""


@dataclass(frozen=True, slots=True)
class Peak:
    """One build."""

    runner: str
    videos: int
    wall_s: float
    exit_code: int
    samples: int  # of memory, not of data
    mb: dict[str, float]  # by kind of process


def write_films(folder: Path, n: int) -> None:
    """Films of a disc that moves over noise: each has a subject, and no two have the same bytes."""
    ys, xs = np.mgrid[:SIDE_PX, :SIDE_PX]
    for seed in range(n):
        rng = np.random.default_rng(seed)
        ground_HWC = rng.integers(100, 156, (SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
        (x, y), (vx, vy) = rng.uniform(16, 24, 2), rng.uniform(0.8, 2.0, 2)
        colour = rng.integers(0, 2, 3) * 255
        frames = []
        for k in range(N_FRAMES):
            frame_HWC = ground_HWC.copy()
            frame_HWC[(xs - x - vx * k) ** 2 + (ys - y - vy * k) ** 2 < 64] = colour
            frames.append(frame_HWC)
        write_film(folder / f"{seed:03d}.mp4", frames, fps=FPS)


def measure(runner: str, n: int, scratch: Path) -> Peak:
    """Builds `n` films and watches."""
    films, out, recipe = scratch / "films", scratch / "out", scratch / "recipe.yaml"
    films.mkdir(parents=True)
    write_films(films, n)
    recipe.write_text(RECIPE.format(store=scratch / "store"))
    command = [sys.executable, "-m", "jobs.cli", "build", "--videos", films, "--out", out, "--recipe", recipe]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    peaks: defaultdict[str, float] = defaultdict(float)
    began, samples = time.monotonic(), 0
    with (scratch / "log").open("wb") as log:
        started = subprocess.Popen([*map(str, command), "--runner", runner], env=environment, stdout=log, stderr=log)
        while started.poll() is None:
            for kind, mb in resident_mb(started.pid).items():
                peaks[kind] = max(peaks[kind], mb)
            samples += 1
            time.sleep(EVERY_S)
    if started.returncode not in (0, 4):  # 4: sealed, and nothing to say about such films
        raise RuntimeError(f"the build ended with {started.returncode}:\n{(scratch / 'log').read_text()[-2000:]}")
    wall_s = time.monotonic() - began
    return Peak(runner, n, round(wall_s, 1), started.returncode, samples, {k: round(v, 1) for k, v in peaks.items()})


def resident_mb(pid: int) -> dict[str, float]:
    """Resident memory of a build now, by kind of process; pages that workers share are counted for each."""
    found: defaultdict[str, float] = defaultdict(float)
    try:
        driver = psutil.Process(pid)
        processes = [driver, *driver.children(recursive=True)]
    except psutil.Error:
        return found
    for process in processes:
        try:
            if time.time() - process.create_time() < YOUNG_S:
                continue
            found[kind_of(process, pid)] += process.memory_info().rss / 1e6
        except psutil.Error:  # ended meanwhile
            continue
    return found


def kind_of(process: psutil.Process, driver: int) -> str:
    """What a process of a build is there for."""
    title = " ".join(process.cmdline())
    if process.pid == driver:
        return "driver"
    if "stages.media.decode_child" in title:
        return "decoder children"
    return "stage workers" if "MapBatches(" in title else "the rest"


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--runner", choices=RUNNERS)
    arguments.add_argument("--counts", type=int, nargs=2, default=COUNTS)
    asked = arguments.parse_args()
    kept = json.loads((RESULTS / "memory.json").read_text())["peaks"] if (RESULTS / "memory.json").exists() else []
    peaks = [Peak(**p) for p in kept if asked.runner and p["runner"] != asked.runner]
    for runner in [asked.runner] if asked.runner else RUNNERS:
        for n in asked.counts:
            with tempfile.TemporaryDirectory() as scratch:
                peaks.append(measure(runner, n, Path(scratch) / "build"))
                print(peaks[-1], flush=True)
    write(peaks)


def write(peaks: list[Peak]) -> None:
    where = f"{machine()}, Python {platform.python_version()}"
    lines = [
        "# Memory: 50 videos and 500", "",
        f"Peak resident memory in MB of a build of films of {float(N_FRAMES / FPS):g} s, {SIDE_PX} pixels square. "
        f"Machine: {where}.", "",
        "| runner | process | few videos | MB | many videos | MB | growth |", "|-|-|-|-|-|-|-|",
    ]  # fmt: skip
    for runner in dict.fromkeys(p.runner for p in peaks):
        few, many = sorted((p for p in peaks if p.runner == runner), key=lambda p: p.videos)
        for kind in few.mb:
            growth = many.mb.get(kind, 0.0) / few.mb[kind] - 1
            grown = f"{growth:+.0%}" if growth <= MAX_GROWTH else f"**{growth:+.0%}**"
            lines.append(f"| {runner} | {kind} | {few.videos} | {few.mb[kind]:.0f} | {many.videos}"
                         f" | {many.mb.get(kind, 0.0):.0f} | {grown} |")  # fmt: skip
    lines += ["", f"Bold: more than the {MAX_GROWTH:.0%} that is asked for."]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "memory.md").write_text("\n".join(lines) + "\n")
    facts = {"machine": where, "peaks": [asdict(p) for p in peaks]}
    (RESULTS / "memory.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
