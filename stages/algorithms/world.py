"""The generated world: shapes that move over a faint grid, with exact truth.

Everything that is asked of the engine's eyes can be checked here, because position, size, colour and motion are known
at every time. The background carries a faint grid, so that a camera that stands still can be told from one that moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import cv2
import numpy as np

from schemas.clip import Box, Detection, Track

BACKGROUND = 40
GRID_LINE = 52
RGB = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 90, 230),
    "yellow": (235, 215, 50),
    "white": (240, 240, 240),
}
SHAPE_NAMES = ("circle", "square", "triangle")
RADIUS = {"small": (0.08, 0.09), "large": (0.13, 0.15)}  # of the side
STEP = {
    "right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1),
    "down right": (1, 1), "down left": (-1, 1), "up right": (1, -1), "up left": (-1, -1),
}  # fmt: skip
FILL = {"circle": np.pi / 4, "square": 1.0, "triangle": 0.5}
OUTLINE = {"circle": 0.9, "square": np.pi / 4, "triangle": 0.6}
EDGE_VISIBLE = 0.5  # a shape counts as seen while at least this share of its box is inside the frame


@dataclass(frozen=True, slots=True)
class Leg:
    """One stretch of motion: a STEP word or "still", how long and how far (sides of the frame)."""

    word: str
    duration_s: float
    distance: float


@dataclass(frozen=True, slots=True)
class Shape:
    """One subject; positions are fractions of the side, y down."""

    shape: str
    colour: str
    size: str
    radius: float
    start: tuple[float, float]
    legs: tuple[Leg, ...]
    appears_s: float
    disappears_s: float

    @property
    def name(self) -> str:
        return f"{self.size} {self.colour} {self.shape}"

    def centre(self, time_s: float) -> tuple[float, float]:
        x, y = self.start
        left = time_s
        for leg in self.legs:
            part = min(max(left / leg.duration_s, 0.0), 1.0) * leg.distance
            dx, dy = STEP.get(leg.word, (0, 0))
            norm = hypot(dx, dy) or 1.0
            x, y, left = x + part * dx / norm, y + part * dy / norm, left - leg.duration_s
        return x, y

    def box(self, time_s: float) -> Box | None:
        """Box in sides of the frame, cut at its edges; None where the shape is not seen."""
        if not self.appears_s <= time_s < self.disappears_s:
            return None
        x, y = self.centre(time_s)
        whole = (x - self.radius, y - self.radius, x + self.radius, y + self.radius)
        x1, y1, x2, y2 = (min(1.0, max(0.0, v)) for v in whole)
        if (x2 - x1) * (y2 - y1) < EDGE_VISIBLE * (2 * self.radius) ** 2:
            return None
        return x1, y1, x2, y2


@dataclass(frozen=True, slots=True)
class World:
    """One shot."""

    shapes: tuple[Shape, ...]
    duration_s: float

    def render(self, time_s: float, side_px: int) -> np.ndarray:
        """The frame at a time, uint8 RGB (side, side, 3), anti-aliased."""
        image = background(side_px)
        for shape in self.shapes:
            if shape.appears_s <= time_s < shape.disappears_s:
                _draw(image, shape, shape.centre(time_s))
        return image

    def tracks(self, times_s: Sequence[float], side_px: int) -> tuple[Track, ...]:
        """What a perfect detector and tracker would report at these times."""
        found = []
        for shape in self.shapes:
            boxes = [(k, shape.box(t)) for k, t in enumerate(times_s)]
            seen = [_observation(shape, k, box, side_px) for k, box in boxes if box]
            if seen:
                found.append(seen)
        found.sort(key=lambda seen: (seen[0].frame, seen[0].box_xyxy_px))
        return tuple(Track(track_id=i, label="", observations=tuple(seen)) for i, seen in enumerate(found, start=1))


def random_world(rng: np.random.Generator, *, max_shapes: int = 2, still_share: float = 0.25) -> World:
    """A shot of 1.6 to 4 s with one to `max_shapes` shapes whose names differ and which never touch."""
    duration_s = float(rng.uniform(1.6, 4.0))
    count = int(rng.integers(1, max_shapes + 1))
    while True:
        shapes = tuple(_random_shape(rng, duration_s, still_share) for _ in range(count))
        if len({s.name for s in shapes}) == count and _apart(shapes, duration_s):
            return World(shapes, duration_s)


def background(side_px: int) -> np.ndarray:
    image = np.full((side_px, side_px, 3), BACKGROUND, np.uint8)
    width = max(1, side_px // 128)
    for k in range(1, 8):
        at = k * side_px // 8
        image[at : at + width], image[:, at : at + width] = GRID_LINE, GRID_LINE
    return image


def _random_shape(rng: np.random.Generator, duration_s: float, still_share: float) -> Shape:
    size = str(rng.choice(("small", "large")))
    radius = float(rng.uniform(*RADIUS[size]))
    legs = _random_legs(rng, duration_s, still_share)
    appears, disappears = 0.0, duration_s + 1.0
    if all(leg.word == "still" for leg in legs) or rng.random() < 0.2:
        kind = rng.random()
        appears = float(rng.uniform(0.3, 0.5)) * duration_s if kind < 0.3 else 0.0
        disappears = float(rng.uniform(0.6, 0.8)) * duration_s if 0.3 <= kind < 0.6 else disappears
    shape = Shape(
        str(rng.choice(SHAPE_NAMES)), str(rng.choice(tuple(RGB))), size, radius, (0.0, 0.0), legs, appears, disappears
    )
    ends = np.array([shape.centre(t) for t in np.linspace(0, duration_s, 25)])
    low, high = radius + 0.02 - ends.min(0), 1 - radius - 0.02 - ends.max(0)
    if rng.random() < 0.15:  # some enter or leave through an edge
        low, high = low - 2.2 * radius, high + 2.2 * radius
    if (low > high).any():
        return _random_shape(rng, duration_s, still_share)
    start = rng.uniform(low, high)
    return Shape(shape.shape, shape.colour, size, radius, (float(start[0]), float(start[1])), legs, appears, disappears)


def _random_legs(rng: np.random.Generator, duration_s: float, still_share: float) -> tuple[Leg, ...]:
    """Still; one direction; two directions; go and stop."""
    kind = rng.random()
    words = list(STEP)[:4] if rng.random() < 0.8 else list(STEP)[4:]
    if kind < still_share:
        return (Leg("still", duration_s + 1, 0.0),)
    first = str(rng.choice(words))
    if kind < still_share + 0.45:
        return (Leg(first, duration_s, float(rng.uniform(0.35, 0.7))),)
    cut = float(rng.uniform(0.4, 0.6)) * duration_s
    second = "still" if rng.random() < 0.4 else str(rng.choice([w for w in words if w != first]))
    away = 0.0 if second == "still" else float(rng.uniform(0.3, 0.45))
    return (Leg(first, cut, float(rng.uniform(0.3, 0.45))), Leg(second, duration_s - cut + 1e-6, away))


def _apart(shapes: Sequence[Shape], duration_s: float) -> bool:
    for t in np.linspace(0, duration_s, 33):
        for i, a in enumerate(shapes):
            for b in shapes[:i]:
                (ax, ay), (bx, by) = a.centre(t), b.centre(t)
                if max(abs(ax - bx), abs(ay - by)) < a.radius + b.radius + 0.04:
                    return False
    return True


def _draw(image: np.ndarray, shape: Shape, centre: tuple[float, float]) -> None:
    side, shift = image.shape[0], 4
    unit = side * (1 << shift)
    x, y, r = (v * unit - (1 << shift) / 2 for v in (*centre, shape.radius))
    colour = RGB[shape.colour]
    if shape.shape == "circle":
        cv2.circle(image, (round(x), round(y)), round(r), colour, -1, cv2.LINE_AA, shift)
        return
    corners = [(x - r, y + r), (x + r, y + r), (x, y - r)]
    if shape.shape == "square":
        corners = [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]
    points = np.round(np.array(corners)).astype(np.int32).reshape(-1, 1, 2)
    cv2.fillPoly(image, [points], colour, cv2.LINE_AA, shift)


def _observation(shape: Shape, frame: int, box: Box, side_px: int) -> Detection:
    x1, y1, x2, y2 = (float(v) * side_px for v in box)
    return Detection(
        frame=frame,
        box_xyxy_px=(x1, y1, x2, y2),
        label="",
        score=1.0,
        rgb=tuple(float(c) for c in RGB[shape.colour]),
        fill=float(FILL[shape.shape]),
        outline=float(OUTLINE[shape.shape]),
    )
