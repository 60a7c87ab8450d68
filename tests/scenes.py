"""Small test films as arrays, with known truth: textured ground, moving shapes, a panning camera, titles, flicker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from schemas.clip import Box, DecodedClip

WIDTH_PX, HEIGHT_PX = 320, 180
Place = Callable[[float], tuple[float, float] | None]  # seconds -> centre in ground pixels, None where not there


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One thing on the ground."""

    kind: str  # "disc" | "square" | "triangle"
    rgb: tuple[int, int, int]
    size_px: float  # of the box
    place: Place


@dataclass(frozen=True, kw_only=True)
class Film:
    """Frames at a steady rate, and the visible box of each shape by frame (None: not in view)."""

    frames_THWC: np.ndarray
    boxes: list[list[Box | None]]
    fps: int


def line(start_xy: tuple[float, float], speed_xy: tuple[float, float], stop_s: float = 1e9) -> Place:
    """Steady motion in pixels a second, which ends at `stop_s`."""
    return lambda s: (start_xy[0] + speed_xy[0] * min(s, stop_s), start_xy[1] + speed_xy[1] * min(s, stop_s))


def render(
    shapes: Sequence[Shape],
    *,
    seconds: float = 3.0,
    fps: int = 10,
    pan_px_s: tuple[float, float] = (0.0, 0.0),
    title: tuple[float, float] | None = None,
    title_fade_s: float = 0.5,
    flicker: float = 0.0,
    noise: float = 2.0,
    seed: int = 0,
) -> Film:
    """A film of shapes on a textured ground; `title` is when a burnt-in text is shown, from and to in seconds."""
    rng = np.random.default_rng(seed)
    ground = _ground(rng)
    frames, boxes = [], []
    for t in range(round(seconds * fps)):
        now_s = t / fps
        offset = (200 + pan_px_s[0] * now_s, 150 + pan_px_s[1] * now_s)
        view = np.array([[1, 0, -offset[0]], [0, 1, -offset[1]]], np.float64)
        frame = cv2.warpAffine(ground, view, (WIDTH_PX, HEIGHT_PX), flags=cv2.INTER_LINEAR)
        row: list[Box | None] = []
        for shape in shapes:
            place = shape.place(now_s)
            # Places are relative to the first view; a panning camera leaves them on the ground.
            at = None if place is None else (place[0] + 200 - offset[0], place[1] + 150 - offset[1])
            row.append(None if at is None else _draw(frame, shape, at))
        boxes.append(row)
        if title is not None:
            _write(frame, float(np.clip(min(now_s - title[0], title[1] - now_s) / title_fade_s, 0, 1)))
        light = 1 + flicker * np.sin(2 * np.pi * 1.7 * now_s)
        noisy = frame.astype(np.float32) * light + rng.normal(0, noise, frame.shape)
        frames.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return Film(frames_THWC=np.stack(frames), boxes=boxes, fps=fps)


def clip_of(film: Film, *, camera: str, clip_id: str = "film-s000-p00", scale: int = 1) -> DecodedClip:
    """The row that stands for a film; the upright frame is `scale` times as large as what the store holds."""
    n, height_px, width_px = film.frames_THWC.shape[:3]
    den = 90_000
    ticks = tuple(int(Fraction(t, film.fps) * den) for t in range(n))
    return DecodedClip(
        video_id="film",
        uri="film.mp4",
        location="film.mp4",
        clip_id=clip_id,
        shot_index=0,
        start_tick=0,
        end_tick=int(Fraction(n, film.fps) * den),
        time_base_num=1,
        time_base_den=den,
        width_px=width_px * scale,
        height_px=height_px * scale,
        rotation_deg=0,
        is_whole_video=True,
        camera=camera,
        camera_speed=None,
        luminance=0.5,
        blur=100.0,
        motion=0.01,
        frame_hash="0" * 16,
        caption_given=None,
        qa_given=(),
        track_tick=ticks,
        plan_index=(0,),
        store_width_px=width_px,
        store_height_px=height_px,
    )


def iou(a: Box, b: Box) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _ground(rng: np.random.Generator) -> np.ndarray:
    coarse = cv2.resize(
        rng.uniform(70, 150, (30, 40, 3)).astype(np.float32), (1000, 700), interpolation=cv2.INTER_CUBIC
    )
    fine = cv2.GaussianBlur(rng.normal(0, 60, (700, 1000, 1)).astype(np.float32), (0, 0), 1.5)[..., None]
    return np.clip(coarse + 2 * fine, 20, 200).astype(np.uint8)


def _draw(frame: np.ndarray, shape: Shape, at_xy: tuple[float, float]) -> Box | None:
    """Draws the shape and gives the part of its box that is in view, None where that is nothing."""
    half = shape.size_px / 2
    x, y = at_xy
    corners = {
        "square": [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)],
        "triangle": [(x, y - half), (x + half, y + half), (x - half, y + half)],
        "disc": [(x + half * np.cos(a), y + half * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 48, endpoint=False)],
    }[shape.kind]
    # Drawn on pixel centres, in sixteenths of a pixel.
    points = np.rint((np.array(corners) - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(frame, [points], shape.rgb, lineType=cv2.LINE_AA, shift=4)
    x1, x2 = np.clip([x - half, x + half], 0, WIDTH_PX)
    y1, y2 = np.clip([y - half, y + half], 0, HEIGHT_PX)
    return (float(x1), float(y1), float(x2), float(y2)) if x2 - x1 > 1 and y2 - y1 > 1 else None


def _write(frame: np.ndarray, opacity: float) -> None:
    text = frame.copy()
    cv2.putText(text, "A TITLE", (60, 150), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (255, 255, 255), 4, cv2.LINE_AA)
    frame[:] = cv2.addWeighted(text, opacity, frame, 1 - opacity, 0)
