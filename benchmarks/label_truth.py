"""What is true of a clip's subjects at its tracking frames. Shares no code with describe and compose.

Boxes are in sides of the frame, x over width and y over height; times in seconds from the clip's start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from schemas.clip import Box
from stages.algorithms.world import Shape, World
from tests.scenes import iou

STILL = "still"
SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)  # the frame
CIRCLE_SIDES = 96  # a polygon whose box is within .1 % of the circle's


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an answer may be from the truth and be called right."""

    min_iou: float = 0.75  # of a box with the visible part
    owner_share: float = 0.8  # of a track's boxes that must lie on one subject, at OWNER_IOU
    unseen: float = 0.0  # visible share of a subject up to which it is not there
    seen: float = 0.5  # and from which on it is; between them both answers are right
    place: float = 0.0  # sides of the frame by which a centre may be beyond the border of its ninth
    turn_s: float = 0.1  # a step of the tracking grid: nearer to a turn both motions are right, and nothing else
    event_s: float = 0.2  # a subject that comes or goes nearer to the clip's ends may be said to be there all along
    leg_s: float = 0.5  # a motion that is in view for a shorter time may be left out of a caption
    vague_is_right: bool = True  # "small red object" of a small red circle, where nothing else fits
    standing_rivals: bool = True  # whether what stands is a subject, which then makes a question ambiguous
    standing_told: bool = True  # whether a caption must tell of what comes or goes and never moves
    needs_all: bool = True  # whether a whole track needs a box at each planned frame at which the subject is seen


OWNER_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Look:
    """A subject at one frame."""

    box: Box  # of the part inside the frame
    share: float  # of the subject that is inside


@dataclass(frozen=True, slots=True)
class Motion:
    word: str  # "still", "down right", ...
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    name: str  # "small red circle", "person"
    vague: str | None  # a name that is true, and says less: "small red object"
    has_known_looks: bool  # else nothing is known of a colour that a name gives
    looks: Mapping[int, Look]  # by tracking frame; none where no part is inside
    motions: tuple[Motion, ...] | None  # None: not known
    comes: str = "enters"  # how, if it comes: or "appears"
    goes: str = "leaves"  # or "disappears"

    def fits(self, name: str, tolerance: Tolerance) -> bool | None:
        """Whether a name is right of it; None: not known."""
        if name == self.name:
            return True
        if name == self.vague:
            return tolerance.vague_is_right
        return None if not self.has_known_looks and name.startswith(f"{self.name} in ") else False

    def known_motions(self) -> tuple[Motion, ...]:
        """Raises NotKnown."""
        if self.motions is None:
            raise NotKnown("the truth knows no motions")
        return self.motions

    def words(self, time_s: float, slack_s: float) -> frozenset[str] | None:
        """The motions around a time; None: not known."""
        if self.motions is None:
            return None
        return frozenset(m.word for m in self.motions if m.start_s <= time_s + slack_s and time_s - slack_s < m.end_s)

    def is_seen(self, frame: int, tolerance: Tolerance) -> bool:
        return frame in self.looks and self.looks[frame].share >= tolerance.seen

    def is_unseen(self, frame: int, tolerance: Tolerance) -> bool:
        return frame not in self.looks or self.looks[frame].share <= tolerance.unseen

    def seen(self, tolerance: Tolerance) -> list[int]:
        """Tracking frames at which it is there without doubt."""
        return [k for k in self.looks if self.is_seen(k, tolerance)]


class NotKnown(ValueError):
    """The truth does not say: it knows no motions, or no colours."""


class NotShown(ValueError):
    """A planned frame is told of that the clip does not have."""


@dataclass(frozen=True, slots=True)
class ClipTruth:
    subjects: tuple[Subject, ...]
    time_s: tuple[float, ...]  # of the tracking frames
    plan: tuple[int, ...]  # tracking frames that are the planned ones, which samples count from 1

    @property
    def step_s(self) -> float:
        return float(np.median(np.diff(self.time_s)))

    def at(self, frame: int) -> int:
        """The tracking frame of a planned frame, from 1; raises NotShown."""
        if not 1 <= frame <= len(self.plan):
            raise NotShown(f"frame{frame} of {len(self.plan)}")
        return self.plan[frame - 1]

    def look(self, subject: Subject, frame: int) -> Look | None:
        """At a planned frame, from 1."""
        return subject.looks.get(self.at(frame))

    def moves(self, subject: Subject, tolerance: Tolerance) -> bool:
        """Whether it moves while it is seen."""
        return any(
            subject.words(self.time_s[k], 0.0) not in (None, frozenset((STILL,)), frozenset())
            for k in subject.seen(tolerance)
        )


def places(box: Box, slack: float) -> frozenset[str]:
    """The ninths of the frame in which the box's centre lies, or would lie if it were `slack` sides off."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    near = (-slack, 0.0, slack) if slack else (0.0,)
    return frozenset(_place(x + dx, y + dy) for dx in near for dy in near)


def owner(track: Mapping[int, Box], subjects: Sequence[Subject], tolerance: Tolerance) -> Subject | None:
    """The subject that a track (box by tracking frame) shows, or None: then it is a false one."""
    for subject in subjects:
        hits = sum(k in subject.looks and iou(box, subject.looks[k].box) >= OWNER_IOU for k, box in track.items())
        if hits >= tolerance.owner_share * len(track):
            return subject
    return None


def world_truth(world: World, shot_time_s: Sequence[float | None], time_s: Sequence[float]) -> tuple[Subject, ...]:
    """The shapes at tracking frames: `shot_time_s` is the world's time there, None where another picture is shown."""
    inside = [k for k, now_s in enumerate(shot_time_s) if now_s is not None]
    begin_s = time_s[inside[0]] - (shot_time_s[inside[0]] or 0.0) if inside else 0.0
    return tuple(_subject(shape, shot_time_s, begin_s) for shape in world.shapes)


def _subject(shape: Shape, shot_time_s: Sequence[float | None], begin_s: float) -> Subject:
    at = [(k, look) for k, t in enumerate(shot_time_s) if t is not None and (look := visible(shape, t))]
    looks = dict(at)
    motions: list[Motion] = []
    now_s = begin_s
    for leg in shape.legs:
        motions.append(Motion(leg.word, now_s, now_s + leg.duration_s))
        now_s += leg.duration_s
    first, last = (min(looks), max(looks)) if looks else (0, 0)
    before, after = (shot_time_s[k] if 0 <= k < len(shot_time_s) else None for k in (first - 1, last + 1))
    return Subject(
        name=f"{shape.size} {shape.colour} {shape.shape}",
        vague=f"{shape.size} {shape.colour} object",
        has_known_looks=True,
        looks=looks,
        motions=tuple(motions),
        comes="appears" if before is not None and before < shape.appears_s else "enters",
        goes="disappears" if after is not None and after >= shape.disappears_s else "leaves",
    )


def visible(shape: Shape, time_s: float) -> Look | None:
    """The part of a shape that is inside the frame, by its outline; None where nothing of it is.

    Of a triangle that the lower edge cuts, less width is left than of its box.
    """
    if not shape.appears_s <= time_s < shape.disappears_s:
        return None
    (x, y), r = shape.centre(time_s), shape.radius
    outline = np.array(_outline(shape.shape), np.float32) * np.float32(r) + np.array((x, y), np.float32)
    area, part = cv2.intersectConvexConvex(outline, SQUARE, handleNested=True)
    if part is None or area <= 0:
        return None
    corners = part.reshape(-1, 2)
    (x1, y1), (x2, y2) = corners.min(0), corners.max(0)
    if not (x1 < x2 and y1 < y2):
        return None
    return Look((float(x1), float(y1), float(x2), float(y2)), min(1.0, float(area / cv2.contourArea(outline))))


def _outline(shape: str) -> list[tuple[float, float]]:
    """Corners for radius 1, around (0, 0), y down."""
    if shape == "circle":
        turns = np.linspace(0, 2 * np.pi, CIRCLE_SIDES, endpoint=False)
        return [(float(np.cos(a)), float(np.sin(a))) for a in turns]
    if shape == "square":
        return [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return [(0, -1), (1, 1), (-1, 1)]


def _place(x: float, y: float) -> str:
    column = "left" if x < 1 / 3 else "right" if x >= 2 / 3 else ""
    row = "top" if y < 1 / 3 else "bottom" if y >= 2 / 3 else ""
    return " ".join(filter(None, (row, column))) or "centre"
