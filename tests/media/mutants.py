"""Films as bad disks and bad transfers leave them: flipped bytes, cut out or swapped blocks, by seed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tests import zoo

PARENTS = (
    "b_frames.mp4",
    "open_gop.mp4",
    "b_frames.mkv",
    "vfr.mkv",
    "vp9.webm",
    "late_keyframe.ts",
    "format_change.ts",
    "mpeg4.avi",
)


def flip(film: bytearray, rng: np.random.Generator) -> None:
    """1 to 32 bytes get other values."""
    for at in rng.integers(len(film), size=int(2 ** rng.uniform(0, 5))):
        film[at] ^= int(rng.integers(1, 256))


def flip_in_head(film: bytearray, rng: np.random.Generator) -> None:
    """1 to 8 bytes of the first 512 or the last 2048, where indices and headers lie, get other values."""
    for _ in range(int(rng.integers(1, 9))):
        at = int(rng.integers(512)) if rng.random() < 0.5 else len(film) - 1 - int(rng.integers(2048))
        film[at] ^= int(rng.integers(1, 256))


def cut(film: bytearray, rng: np.random.Generator) -> None:
    """A block of up to a quarter is missing, the end as often as the middle."""
    length = int(rng.integers(1, len(film) // 4))
    at = len(film) - length if rng.random() < 0.5 else int(rng.integers(len(film) - length))
    del film[at : at + length]


def swap(film: bytearray, rng: np.random.Generator) -> None:
    """Two blocks of up to a quarter each change places."""
    length = int(rng.integers(1, len(film) // 4))
    a = int(rng.integers(len(film) - 2 * length))
    b = int(rng.integers(a + length, len(film) - length))
    film[a : a + length], film[b : b + length] = film[b : b + length], film[a : a + length]


WAYS: Sequence[Callable[[bytearray, np.random.Generator], None]] = (flip, flip_in_head, cut, swap)


def write_mutants(folder: Path, n: int, seed: int = 0) -> list[Path]:
    """`n` files named by number, way and parent; each follows from seed and number alone."""
    folder.mkdir(parents=True)
    parents = {name: zoo.ZOO[name][0](folder / name).read_bytes() for name in PARENTS}
    for name in PARENTS:
        (folder / name).unlink()
    written = []
    for number in range(n):
        rng = np.random.default_rng([seed, number])
        parent, way = PARENTS[number % len(PARENTS)], WAYS[number // len(PARENTS) % len(WAYS)]
        film = bytearray(parents[parent])
        way(film, rng)
        written.append(folder / f"{number:03d}-{way.__name__}-{parent}")
        written[-1].write_bytes(film)
    return written
