"""Asks the real loaders which frames they show, and writes known_frames.json. Run by hand when a loader changes:

    pip download --no-deps qwen-vl-utils==0.0.14 llamafactory==0.9.5   # and unzip
    python tests/export/ask_samplers.py --llava-next LLaVA-NeXT/llava/utils.py \\
        --qwen-vl-utils qwen_vl_utils/vision_process.py --llama-factory llamafactory/data/mm_plugin.py

The named functions are cut out of these files and run as they are, on films of which only the facts exist: the
packages themselves ask for CUDA builds and models.
"""

import argparse
import ast
import json
import logging
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

OUT = Path(__file__).with_name("known_frames.json")
RATES = ("25", "30000/1001", "24000/1001", "15")
LENGTHS = (2, 5, 31, 100, 299, 733, 2400)
BUDGETS = ((8, None), (32, None), (16, 1.0), (7, 2.0), (33, 4.0))


def functions(path: Path, *names: str, **given: Any) -> dict[str, Any]:
    """These functions, or methods, of a file, and its plain constants, compiled without the rest of it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[ast.stmt] = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef)
            and node.name in names
            and not any(f.name == node.name for f in found if isinstance(f, ast.FunctionDef))
        ):
            node.decorator_list, node.returns = [], None
            for argument in node.args.args:
                argument.annotation = None
            found.append(node)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node in tree.body:
            found.append(node)
    space: dict[str, Any] = {"np": np, "math": math, "torch": torch, "logger": logging.getLogger("asked"), **given}
    exec(compile(ast.Module(body=found, type_ignores=[]), str(path), "exec"), space)
    return space


def llava_next(path: Path) -> Any:
    def ask(film: SimpleNamespace, frames: int, fps: float | None, span: list[float] | None) -> list[int]:
        shown: list[list[int]] = []

        class VideoReader:
            def __init__(self, *_: object, **__: object) -> None: ...
            def __len__(self) -> int:
                return film.n_frames

            def get_avg_fps(self) -> float:
                return film.rate

            def get_batch(self, index: list[int]) -> Any:
                shown.append([int(k) for k in index])
                return SimpleNamespace(asnumpy=lambda: None)

            def seek(self, _: int) -> None: ...

        run = functions(path, "process_video_with_decord", VideoReader=VideoReader, cpu=lambda _: None)
        arguments = SimpleNamespace(video_fps=fps or 1, frames_upbound=frames, force_sample=False)
        run["process_video_with_decord"]("film", arguments)
        return shown[0]

    return ask


def qwen(path: Path) -> Any:
    run = functions(
        path, "round_by_factor", "ceil_by_factor", "floor_by_factor", "smart_nframes", "calculate_video_frame_range"
    )

    def ask(film: SimpleNamespace, frames: int, fps: float | None, span: list[float] | None) -> list[int]:
        row: dict[str, Any] = {"nframes": frames} if fps is None else {"fps": fps, "max_frames": frames}
        row |= {"video_start": span[0], "video_end": span[1]} if span else {}
        first, last, total = run["calculate_video_frame_range"](row, film.n_frames, film.rate)
        n = run["smart_nframes"](row, total_frames=total, video_fps=film.rate)
        return torch.linspace(first, last, n).round().long().tolist()  # as _read_video_decord does

    return ask


def llama_factory(path: Path) -> Any:
    run = functions(path, "_get_video_sample_indices")

    def ask(film: SimpleNamespace, frames: int, fps: float | None, span: list[float] | None) -> list[int]:
        stream = SimpleNamespace(frames=film.header_frames, duration=film.n_frames, time_base=1 / film.exact)
        found = run["_get_video_sample_indices"](None, stream, fps or 2.0, frames)
        return [int(k) for k in found if k < film.n_frames]

    return ask


def questions(spans: bool) -> Iterator[dict[str, Any]]:
    for rate in RATES:
        for n in LENGTHS:
            for frames, fps in BUDGETS:
                for header in (n, 0):
                    yield {
                        "n_frames": n,
                        "header_frames": header,
                        "rate": rate,
                        "frames": frames,
                        "fps": fps,
                        "span": None,
                    }
                if spans and n > 60:
                    yield {"n_frames": n, "header_frames": n, "rate": rate, "frames": frames, "fps": fps,
                           "span": [n / 7 / float(Fraction(rate)), n / 2 / float(Fraction(rate))]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("llava-next", "qwen-vl-utils", "llama-factory"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    known: dict[str, Any] = {
        "versions": {"llava-next": "LLaVA-VL/LLaVA-NeXT 67a9b39", "qwen-vl": "qwen-vl-utils 0.0.14",
                     "llama-factory": "hiyouga/LLaMA-Factory 0.9.5"},
        "answers": {},
    }  # fmt: skip
    asked = {"llava-next": llava_next(given.llava_next), "qwen-vl": qwen(given.qwen_vl_utils),
             "llama-factory": llama_factory(given.llama_factory)}  # fmt: skip
    for name, ask in asked.items():
        answers = known["answers"][name] = []
        for question in questions(spans=name == "qwen-vl"):
            if name != "llama-factory" and question["header_frames"] == 0:
                continue
            exact = Fraction(question["rate"])
            film = SimpleNamespace(n_frames=question["n_frames"], header_frames=question["header_frames"],
                                   rate=float(exact), exact=exact)  # fmt: skip
            try:
                shown = ask(film, question["frames"], question["fps"], question["span"])
            except (ValueError, ZeroDivisionError):
                shown = None  # it raises
            answers.append([*question.values(), shown])
    lines = [f'"versions": {json.dumps(known["versions"])}']
    for name, answers in known["answers"].items():
        lines.append(f'"{name}": [\n' + ",\n".join(json.dumps(a, separators=(",", ":")) for a in answers) + "\n]")
    OUT.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
