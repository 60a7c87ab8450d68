"""Words for what a track does: colour, size, shape, place, motion. Geometry only, no model.

Each word comes with a risk, 0..1: 0 where the measurement is far from the next word, 1 where it sits on the border.
The borders and the margins are in the constants below; `risk` is what the select stage abstains on.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import atan2, degrees, hypot
from statistics import median

from schemas.clip import Affine, Box, Detection, Moment, Track, Trajectory

COLUMNS = ("left", "centre", "right")
ROWS = ("top", "centre", "bottom")
PLACES = ("bottom", "bottom left", "bottom right", "centre", "left", "right", "top", "top left", "top right")
COMPASS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")  # by 45 degrees, y down
STILL = "still"
SHAPES = ("circle", "square", "triangle")
OBJECT = "object"  # what the motion expert calls anything else; every other name is a detector's label
# Least and most fill and outline of the motion expert's blobs after H.264; shapes of 15 px have the roundest corners.
SHAPE_RANGES = {
    "square": (0.94, 1.0, 0.72, 0.91),
    "circle": (0.74, 0.83, 0.88, 1.0),
    "triangle": (0.46, 0.6, 0.55, 0.77),
}
SHAPE_ASPECT = 1.15
STEADY_FILL = 0.035  # median deviation over the track: what has one shape keeps it
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "grey", "black")
SIZES = ("small", "large")
HUES = ((14, "red"), (40, "orange"), (70, "yellow"), (170, "green"), (262, "blue"), (320, "purple"), (345, "pink"))

PLACE_MARGIN = 0.02  # of the frame side: twice the box error of a good track
SPEED_BORDER = 0.035  # frame diagonals a second: a slow walk across a campus view is 0.04
SPEED_MARGIN = 1.5  # a speed that is this factor from the border is safe
ANGLE_MARGIN = 8.0  # degrees
LARGE_AREA = 0.045  # of the frame
SIZE_MARGIN = 0.25  # a size that is this factor from the border is safe
BLACK, PALE, WHITE = 0.22, 0.22, 0.78  # value, saturation, value: borders of black, of grey and white, between these
TONE_MARGIN = 0.1  # of value and saturation
HUE_MARGIN = 8.0  # degrees
WINDOW_S = 0.25  # motion at a moment is measured over this long before and after
LABELLED_WINDOW_S = 1.0  # the same of a detector's boxes, which are less steady than outlines
LABELLED_SPEED_BORDER = 0.12  # own sizes a second: a car far away creeps over the picture and is not still
SAME_COLOUR = 0.8  # of a labelled subject's boxes that must agree on a colour, which else is not named
MAX_COLOUR_RISK = 0.5  # and how near its median may be to another colour
SWITCH_BORDER = 0.25  # probability of more than one subject at which a track is as unsure as a word on its border
MIN_PHASE_S = 0.3  # a shorter change of motion is jitter
EDGE = 0.02  # of the frame side: a box this near the border touches it
MIN_WHOLE = 3  # boxes that do not touch it, for a size to be known
MIN_HALF = 0.6  # of the window's width before or after a moment, from which on that half has a motion of its own


@dataclass(frozen=True, slots=True)
class Frame:
    """What positions are relative to."""

    width_px: int
    height_px: int
    tick_s: float  # seconds a tick

    @property
    def diagonal_px(self) -> float:
        return hypot(self.width_px, self.height_px)


def place(box: Box, width_px: int, height_px: int) -> str:
    """The ninth of the frame in which the box's centre lies: "top left", "centre", "right", ..."""
    x, y = _centre(box)
    column, row = COLUMNS[_third(x / width_px)], ROWS[_third(y / height_px)]
    if row == "centre":
        return column
    return row if column == "centre" else f"{row} {column}"


def place_risk(box: Box, width_px: int, height_px: int) -> float:
    """How near the centre is to another ninth: 1 on the border, 0 from PLACE_MARGIN on."""
    x, y = _centre(box)
    margin = min(abs(v - border) for v in (x / width_px, y / height_px) for border in (1 / 3, 2 / 3))
    return max(0.0, 1.0 - margin / PLACE_MARGIN)


def heading(dx: float, dy: float) -> str:
    """The compass word of a displacement, y down."""
    return COMPASS[round(degrees(atan2(dy, dx)) / 45.0) % 8]


def motion_word(dx: float, dy: float, seconds: float, diagonal_px: float) -> tuple[str, float]:
    """("still" or a compass word, risk) of a displacement in pixels over a time."""
    speed = hypot(dx, dy) / diagonal_px / seconds
    ratio = max(speed, 1e-9) / SPEED_BORDER
    speed_risk = max(0.0, 1.0 - (max(ratio, 1 / ratio) - 1.0) / (SPEED_MARGIN - 1.0))
    if speed < SPEED_BORDER:
        return STILL, speed_risk
    angle = degrees(atan2(dy, dx))
    to_border = 22.5 - abs((angle + 22.5) % 45.0 - 22.5)
    return heading(dx, dy), max(speed_risk, 1.0 - to_border / ANGLE_MARGIN, 0.0)


def colour_word(rgb: Sequence[float]) -> str:
    """One of COLOURS for a colour of 0..255 a channel."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255.0 for c in rgb[:3]))
    if value < BLACK:
        return "black"
    if saturation < PALE:
        return "white" if value > WHITE else "grey"
    return next((word for border, word in HUES if hue * 360.0 < border), "red")


def colour_risk(rgb: Sequence[float]) -> float:
    """How near a colour is to another word, by value, saturation and, where it has one, hue."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255.0 for c in rgb[:3]))
    if value < BLACK:
        return max(0.0, 1.0 - (BLACK - value) / TONE_MARGIN)
    tones = [value - BLACK, abs(saturation - PALE)]
    tones += [abs(value - WHITE)] if saturation < PALE else []
    risk = 1.0 - min(tones) / TONE_MARGIN
    if saturation >= PALE:
        risk = max(risk, 1.0 - min(abs(hue * 360.0 - border) for border, _ in HUES) / HUE_MARGIN)
    return max(0.0, risk)


def size_risk(area_share: float) -> float:
    """How near an area, as a share of the frame, is to the other size word."""
    ratio = area_share / LARGE_AREA
    return max(0.0, 1.0 - (max(ratio, 1 / ratio) - 1.0) / SIZE_MARGIN)


def is_labelled(path: Trajectory) -> bool:
    """Whether a detector named the subject. It misses others like it, may lose it, and sees what stands, too."""
    return path.name not in (*SHAPES, OBJECT)


def appearance(track: Track, frame: Frame) -> tuple[str, float]:
    """Size and colour of what moved, or the colour alone of what has a label ("" where it is not sure); and the risk.

    The size word is of the picture: a "small car" is one far away, so what has a label has none.
    """
    seen = observed(track)
    rgb = [median(o.rgb[c] for o in seen) for c in range(3)]
    if track.label:
        colour = colour_word(rgb)
        agreed = sum(colour_word(o.rgb) == colour for o in seen) / len(seen)
        return (colour if agreed >= SAME_COLOUR and colour_risk(rgb) <= MAX_COLOUR_RISK else ""), 0.0
    whole = [o for o in seen if not _is_cut(o, frame)]
    known = len(whole) >= MIN_WHOLE
    area = median((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (o.box_xyxy_px for o in (whole if known else seen)))
    is_large = area >= LARGE_AREA * frame.width_px * frame.height_px  # what is in view is the least that it can be
    risk = max(colour_risk(rgb), size_risk(area / (frame.width_px * frame.height_px)))
    return f"{SIZES[is_large]} {colour_word(rgb)}", risk if known or is_large else 1.0


def shape_word(observations: Sequence[Detection], width_px: int, height_px: int) -> str:
    """A shape's name where fill, outline and aspect agree over the whole track, else "object"."""
    whole = [o for o in observations if not _touches(o.box_xyxy_px, width_px, height_px)]
    if not whole:
        return "object"
    fill, outline = median(o.fill for o in whole), median(o.outline for o in whole)
    aspect = median((o.box_xyxy_px[2] - o.box_xyxy_px[0]) / (o.box_xyxy_px[3] - o.box_xyxy_px[1]) for o in whole)
    steady = median(abs(o.fill - fill) for o in whole) < STEADY_FILL
    if not steady or not 1 / SHAPE_ASPECT < aspect < SHAPE_ASPECT:
        return "object"
    for word, (least_fill, most_fill, least_outline, most_outline) in SHAPE_RANGES.items():
        if least_fill <= fill <= most_fill and least_outline <= outline <= most_outline:
            return word
    return "object"


def observed(track: Track) -> tuple[Detection, ...]:
    """What was seen of it, without what was filled in."""
    return tuple(o for o in track.observations if not o.interpolated)


def trajectory(track: Track, track_tick: Sequence[int], camera_path: Sequence[Affine], frame: Frame) -> Trajectory:
    """The attribute trajectory of a track: one moment for each frame at which it was observed or, marked, filled in.

    What was filled in changes no word and no risk of what was observed.
    """
    seen = observed(track)
    looks, looks_risk = appearance(track, frame)
    points = [_compensated(o.box_xyxy_px, camera_path[o.frame]) for o in seen]
    times = [track_tick[o.frame] * frame.tick_s for o in seen]
    gaps = 1.0 - len(seen) / (seen[-1].frame - seen[0].frame + 1)
    denied = 0.0 if track.agreement is None else 1.0 - track.agreement  # as gaps, of the second detector's looks
    window_s, scale_px = WINDOW_S, frame.diagonal_px
    if track.label:
        size_px = median(((x2 - x1) * (y2 - y1)) ** 0.5 for x1, y1, x2, y2 in (o.box_xyxy_px for o in seen))
        window_s, scale_px = LABELLED_WINDOW_S, min(scale_px, size_px * LABELLED_SPEED_BORDER / SPEED_BORDER)
    words = {o.frame: _motion_at(k, points, times, scale_px, window_s) for k, o in enumerate(seen)}
    if not track.label:
        # Of what the edge cuts, the centre is that of the part in view: a square that goes out "stops". What has a
        # label is seen by a detector that knows parts.
        words |= {o.frame: (words[o.frame][0], 1.0) for o in seen if _is_cut(o, frame)}
    for before, o in pairwise(track.observations):
        if o.interpolated:
            words[o.frame] = (words[before.frame][0], 1.0)
    return Trajectory(
        track_id=track.track_id,
        name=track.label or shape_word(seen, frame.width_px, frame.height_px),
        appearance=looks,
        frame_width_px=frame.width_px,
        frame_height_px=frame.height_px,
        risk=max(gaps, looks_risk, denied, min(1.0, (track.switch_risk or 0.0) / SWITCH_BORDER)),
        moments=tuple(
            Moment(
                tick=track_tick[o.frame],
                box_xyxy_px=o.box_xyxy_px,
                location=place(o.box_xyxy_px, frame.width_px, frame.height_px),
                action=_phrase(word),
                action_risk=risk,
                interpolated=o.interpolated,
            )
            for o in track.observations
            for word, risk in [words[o.frame]]
        ),
    )


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of one motion: indices of its first and last moment."""

    word: str  # "right", "still"
    first: int
    last: int


def steady(path: Trajectory, tick_s: float) -> tuple[Phase, ...]:
    """The motions of a subject in order, without jitter and blends; empty where all is jitter."""
    runs: list[tuple[int, int]] = []
    for k, moment in enumerate(path.moments):
        if runs and path.moments[runs[-1][0]].action == moment.action:
            runs[-1] = (runs[-1][0], k)
        else:
            runs.append((k, k))
    ticks = [m.tick for m in path.moments]
    step_s = (ticks[-1] - ticks[0]) * tick_s / max(1, len(ticks) - 1)
    found: list[Phase] = []
    for i, (first, last) in enumerate(runs):
        # Between two motions the window sees both, for its whole width: "up left, then left, then down left".
        inside = 0 < i < len(runs) - 1
        window_s = LABELLED_WINDOW_S if is_labelled(path) else WINDOW_S
        least_s = max(MIN_PHASE_S, 2 * window_s + step_s) if inside else MIN_PHASE_S
        if (ticks[last] - ticks[first]) * tick_s + step_s < least_s - 1e-9:
            continue
        word = path.moments[first].action.removeprefix("moving ")
        if found and found[-1].word == word:
            found[-1] = Phase(word, found[-1].first, last)
        else:
            found.append(Phase(word, first, last))
    return tuple(found)


def phases(path: Trajectory, tick_s: float) -> tuple[str, ...]:
    """The words of `steady`: ("right", "still")."""
    return tuple(phase.word for phase in steady(path, tick_s))


def _motion_at(
    k: int, points: Sequence[tuple[float, float]], times: Sequence[float], scale_px: float, window_s: float
) -> tuple[str, float]:
    """Motion around observation k, by the displacement inside +- `window_s` of it."""
    near = [i for i, t in enumerate(times) if abs(t - times[k]) <= window_s + 1e-6]
    if len(near) < 2:
        near = sorted({max(0, k - 1), k, min(len(times) - 1, k + 1)})
    if len(near) < 2:
        return STILL, 1.0
    word, risk = _way(points, times, near[0], near[-1], scale_px)
    for first, last in ((near[0], k), (k, near[-1])):
        # The window keeps the old word for its width past a turn; a half of it that moves otherwise tells.
        if times[last] - times[first] >= MIN_HALF * window_s and _way(points, times, first, last, scale_px)[0] != word:
            return word, 1.0
    return word, risk


def _way(
    points: Sequence[tuple[float, float]], times: Sequence[float], first: int, last: int, scale_px: float
) -> tuple[str, float]:
    (x0, y0), (x1, y1) = points[first], points[last]
    return motion_word(x1 - x0, y1 - y0, times[last] - times[first], scale_px)


def _phrase(word: str) -> str:
    return word if word == STILL else f"moving {word}"


def _third(fraction: float) -> int:
    return min(2, max(0, int(fraction * 3)))


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _compensated(box: Box, to_first: Affine) -> tuple[float, float]:
    """The box's centre in the pixels of the clip's first frame, so that the camera's own motion is taken out."""
    x, y = _centre(box)
    a, b, tx, c, d, ty = to_first
    return a * x + b * y + tx, c * x + d * y + ty


def edge_gap(box: Box, width_px: int, height_px: int) -> float:
    """How far a box is from the nearest edge, in sides of the frame."""
    x1, y1, x2, y2 = box
    return min(x1 / width_px, y1 / height_px, 1 - x2 / width_px, 1 - y2 / height_px)


def _is_cut(seen: Detection, frame: Frame) -> bool:
    return _touches(seen.box_xyxy_px, frame.width_px, frame.height_px)


def _touches(box: Box, width_px: int, height_px: int) -> bool:
    return edge_gap(box, width_px, height_px) <= EDGE
