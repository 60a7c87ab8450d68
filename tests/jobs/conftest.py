"""A small corpus with known truth and every kind of bad file, built once undisturbed."""

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

from jobs.cli import run_build
from stages.media.film import write_film
from stages.media.world_film import random_film, write_world_film

ROOT = Path(__file__).parents[2]
QUESTION = {"question": "How many shapes are there?", "answer": "Two or less."}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """manifest.jsonl beside three good films, a copy of one, and seven files that are no films."""
    folder = tmp_path_factory.mktemp("corpus")
    write_world_film(folder / "two.mp4", random_film(5, shots=2), fps=Fraction(25))
    write_world_film(folder / "one.mp4", random_film(16, shots=1), fps=Fraction(30000, 1001))
    write_world_film(folder / "more.mp4", random_film(11, shots=2), fps=Fraction(24))
    shutil.copy(folder / "two.mp4", folder / "two-again.mp4")
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("This is no film.\n" * 50)
    (folder / "cut.mp4").write_bytes((folder / "two.mp4").read_bytes()[:9000])
    (folder / "sound.mp4").write_bytes(_sound())
    write_film(folder / "single.mp4", [np.zeros((64, 64, 3), np.uint8)], fps=Fraction(25))
    write_film(folder / "still.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 60, fps=Fraction(25))
    lines = [{"uri": p.name} for p in sorted(folder.glob("*.mp4")) if p.name not in ("one.mp4", "two.mp4")]
    lines += [{"uri": "missing.mp4"}]
    lines += [{"uri": name, "caption": "Shapes on a grid.", "qa": [QUESTION]} for name in ("one.mp4", "two.mp4")]
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


@pytest.fixture(scope="session")
def built(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus built undisturbed, in this process."""
    out = tmp_path_factory.mktemp("built") / "out"
    assert run_build(str(corpus), out, "default", resume=False, runner="local") == 0
    return out


def utr(*arguments: str | Path) -> "subprocess.Popen[str]":
    """The command line in a process group of its own."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", *map(str, arguments)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def shards(out: Path) -> dict[str, bytes]:
    """The bytes of all shards: what two builds must agree in."""
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.glob("*/*.parquet"))}


def _sound() -> bytes:
    """An mp4 with a tone and no picture."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        tone = (np.sin(np.arange(16000) / 10) * 8000).astype(np.int16)[None]
        for k in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(tone[:, k : k + 1024], format="s16", layout="mono")
            frame.rate, frame.pts = 16000, k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
