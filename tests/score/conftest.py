"""Three generated films, and records about them in every format, good and bad."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from stages.media.world_film import random_film, write_world_film

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.mp4, b.mp4 and c.mp4, and one file that is no film."""
    folder = tmp_path_factory.mktemp("films")
    for k, name in enumerate("abc"):
        write_world_film(folder / f"{name}.mp4", random_film(40 + k, shots=1), fps=Fraction(10), side_px=96)
    (folder / "text.mp4").write_text("This is no film.\n" * 50)
    return folder


def talk(*said: str) -> list[dict[str, str]]:
    """Turns of human and gpt."""
    return [{"from": "gpt" if k % 2 else "human", "value": text} for k, text in enumerate(said)]


RECORDS = [
    {"id": "0", "video": "a.mp4", "data_source": "alpha",
     "conversations": talk("<video>\nWhat happens in this video?", "A large red circle moves right.",
                           "How many shapes are there?", "Two.")},
    {"id": "1", "video": "b.mp4", "data_source": "alpha",
     "conversations": talk("<video>\nWhich subjects are there?", "a small blue square.")},
    {"id": "2", "video": "a.mp4", "data_source": "beta", "start": 0.5, "end": 1.5,
     "conversations": talk("<video>\nWhich subjects are there?", "a large red circle.")},
    {"id": "3", "video": "c.mp4", "data_source": "beta",
     "conversations": talk("<video>\nWhat happens in this video?", "A small green triangle moves up.")},
    {"id": "4", "video": "missing.mp4", "conversations": talk("<video>\nWho?", "Nobody.", "When?", "Never.")},
    {"id": "5", "image": "a.jpg", "conversations": talk("<image>\nWho?", "Nobody.")},
    {"id": "6", "vidoe": "a.mp4", "conversations": talk("<video>\nWho?", "Nobody.")},
    {"id": "7", "video": "a.mp4", "conversations": talk("<video>\nWho?", " ")},
    {"id": "8", "video": "b.mp4", "start": 50, "end": 60, "conversations": talk("<video>\nWho?", "Nobody.")},
    {"id": "9", "video": "text.mp4", "conversations": talk("<video>\nWho?", "Nobody.")},
]  # fmt: skip


@pytest.fixture(scope="session")
def llava(films: Path) -> Path:
    """LLaVA's format: five texts that can be scored, and every kind of bad record."""
    path = films / "llava.json"
    path.write_text(json.dumps(RECORDS))
    return path


@pytest.fixture(scope="session")
def grounded(films: Path) -> Path:
    """Four texts, of which the second is true of its film, whose triangle is there from the second quarter on; and one
    about a film that is missing."""
    path = films / "grounded.jsonl"
    said = {"a.mp4": ["A small red circle.", "a large white triangle."], "b.mp4": ["a small blue square."],
            "c.mp4": ["A small green square moves up."], "none.mp4": ["Nothing."]}  # fmt: skip
    rows = [{"uri": uri, "qa": [{"question": "Which subjects are there?", "answer": answer} for answer in own]}
            for uri, own in said.items()]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def utr(*arguments: str | Path) -> "subprocess.Popen[str]":
    """The command line in a process group of its own."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.cli_score", *map(str, arguments)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def shards(out: Path) -> dict[str, bytes]:
    """The bytes of all shards: what two runs must agree in."""
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.glob("*/*.parquet"))}
