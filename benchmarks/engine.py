"""Where the engine's time goes, and what else one could run: `python -m benchmarks.engine FOLDER`, on an idle machine.

FOLDER holds bikes.mp4, motorway.mp4, vtest.avi and trailer_bbb.mp4. Parts, which may be run apart (--parts): `split`,
pass 1 against decoding alone, PySceneDetect and Farneback; `build`, the whole plan in a plain loop and in the local
runner; `rows`, a stage that does nothing; `ray`, the whole plan on Ray; `peers`, Data-Juicer in its own interpreter
(--data-juicer PYTHON). What a part found is kept until it is run again. CPU seconds count all child processes.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy and torch are imported

import cv2

from benchmarks import engine_rows as rows
from benchmarks import engine_run as run
from benchmarks import engine_split as split
from benchmarks.engine_tables import table
from benchmarks.machine import machine
from schemas.sample import SelectedClip

SPLIT_FILMS = ("bikes.mp4", "motorway.mp4", "vtest.avi", "trailer_bbb.mp4")
BUILD_FILMS = SPLIT_FILMS[:3]
PARTS = ("split", "build", "rows", "ray", "peers")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    asked = _arguments()
    cv2.setNumThreads(1)
    missing = [name for name in SPLIT_FILMS if not (asked.films / name).is_file()]
    if missing:
        raise SystemExit(f"{asked.films} lacks {', '.join(missing)}")
    found: dict[str, Any] = {}
    path = asked.out / "engine.json"
    if path.exists():
        found = json.loads(path.read_text())
    for part, measure in _parts(asked).items():
        if part in asked.parts:
            sys.stderr.write(f"{part} ...\n")
            load = os.getloadavg()[0]
            found[part] = {"machine": machine(), "load_before": round(load, 1), **measure()}
            asked.out.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=1) + "\n")
            (asked.out / "engine.md").write_text(table(found))


def _parts(asked: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    most = asked.most_films
    films = [asked.films / name for name in BUILD_FILMS[:most]]
    clips: list[SelectedClip] = []

    def build() -> dict[str, Any]:
        found, built = run.build(films, asked.repeats)
        clips.extend(built)
        return found

    def some_clips() -> list[SelectedClip]:
        return clips or run.build(films[:1], 1)[1]

    return {
        "split": lambda: split.split(
            [asked.films / n for n in SPLIT_FILMS[:most]], asked.repeats, most or len(split.SPEEDS)
        ),
        "build": build,
        "rows": lambda: rows.row_cost(some_clips()),
        "ray": lambda: run.on_ray(films),
        "peers": lambda: _peers(asked),
    }


def _peers(asked: argparse.Namespace) -> dict[str, Any]:
    if asked.data_juicer is None:
        return {"not_run": "no --data-juicer was given"}
    films = [asked.films / name for name in SPLIT_FILMS[: asked.most_films]]
    return split.data_juicer(asked.data_juicer, films, timeout_s=asked.timeout_s, memory_gb=asked.memory_gb)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("films", type=Path, help="folder of the films")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, default=3, help="the median of so many")
    parser.add_argument("--most-films", type=int, help="only the first so many, to see whether it runs")
    parser.add_argument("--data-juicer", type=Path, help="the interpreter of an environment with py-data-juicer")
    parser.add_argument("--timeout-s", type=float, default=300.0, help="of each run of Data-Juicer")
    parser.add_argument("--memory-gb", type=float, default=16.0, help="of each run of Data-Juicer, GiB resident")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of engine.json and engine.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
