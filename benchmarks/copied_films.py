"""Films for benchmarks/near_duplicates.py: clips, copies that a build should find, defects that it should see."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import distribution
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jobs.demo import real_films
from schemas.clip import Clip, DecodedClip
from schemas.video import Source, Video
from stages.algorithms.world import random_world
from stages.decode_clip import DecodeClip, store_size
from stages.filter_clips import FilterClips, Looks
from stages.media.film import write_film
from stages.media.frame_store import ClipFrames
from stages.media.reader import Reader
from stages.probe_video import ProbeVideo

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
