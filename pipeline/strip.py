"""The picture of one sample: its planned frames in rows, the boxes of all subjects, and the TPL curve under them."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.tally import Exhibit
from schemas.clip import Trajectory
from schemas.sample import SelectedClip
from schemas.time import seconds
from stages.algorithms.scene import name
from stages.algorithms.twins import shown_scene
from stages.caption_clip import scene_of
from stages.media.jpeg import jpeg

# Lengths are user units of the SVG, which scales to the width of its page.
FRAMES_A_ROW = 8
CELL, MARGIN, HEAD, GAP, CURVE, UNDER = 132.0, 44.0, 18.0, 6.0, 48.0, 18.0
MAX_HEIGHT = 150.0
SHARPNESS = 3  # pixels of a JPEG for each unit
JPEG_QUALITY = 80
PALETTE = ("#e6373c", "#1f8ce6", "#19a35b", "#c24fd6", "#e08a00", "#00a3a3", "#8a6d3b", "#6b6bd6")


@dataclass(frozen=True, slots=True)
class Mark:
    """A box on a frame."""

    x: float
    y: float
    width: float
    height: float
    label: str
    colour: str
    asked: bool  # the question or its answer is about this subject


@dataclass(frozen=True, slots=True)
class Picture:
    """One planned frame."""

    x: float
    width: float
    label: str  # "frame1"
    time: str  # "0.10 s"
    evidence: bool  # the answer needs this frame
    jpeg: str  # base64
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """The TPL of one frame."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One row of frames with its piece of the curve."""

    pictures: tuple[Picture, ...]
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """A line of the legend."""

    label: str
    name: str
    colour: str
    asked: bool


@dataclass(frozen=True, slots=True)
class Strip:
    width: float
    image_height: float
    row_height: float
    zero_y: float | None  # of the curve, from the top of its row; null where there is no curve
    lines: tuple[Line, ...]
    subjects: tuple[Subject, ...]


def strip(exhibit: Exhibit, frames_THWC: np.ndarray) -> Strip:
    """The geometry of an exhibit; frames may have another size than the clip, whose pixels boxes are in."""
    clip = exhibit.clip
    if frames_THWC.shape[0] != len(clip.plan_tick) or frames_THWC.dtype != np.uint8:
        raise ValueError(
            f"{clip.clip_id}: {len(clip.plan_tick)} frames are planned, got {frames_THWC.dtype} {frames_THWC.shape}"
        )
    height = min(MAX_HEIGHT, (CELL - GAP) * clip.height_px / clip.width_px)
    width = height * clip.width_px / clip.height_px
    curve = exhibit.score.curve if exhibit.score else ()
    low, high = min(0.0, *curve, 0.0), max(0.0, *curve, 0.0)
    top = HEAD + height + 20

    def y(nats: float) -> float:
        return top + CURVE * (high - nats) / max(high - low, 1e-9)

    if exhibit.sample.frame_order is not None:
        frames_THWC = frames_THWC[[k - 1 for k in exhibit.sample.frame_order]]
    if exhibit.sample.mirrored:
        frames_THWC = np.ascontiguousarray(frames_THWC[:, :, ::-1])
    tracks = _tracks(exhibit)
    asked = set(json.loads(exhibit.sample.evidence)["tracks"])
    needed = set(json.loads(exhibit.sample.evidence)["frames"])
    lines = []
    for start in range(0, len(frames_THWC), FRAMES_A_ROW):
        here = range(start, min(start + FRAMES_A_ROW, len(frames_THWC)))
        lines.append(
            Line(
                pictures=tuple(
                    _picture(clip, tracks, k, frames_THWC[k], _x(k - start), (width, height), asked, needed)
                    for k in here
                ),
                dots=tuple(Dot(_x(k - start) + CELL / 2, y(curve[k]), f"{curve[k]:.2f}") for k in here if curve),
            )
        )
    columns = min(FRAMES_A_ROW, len(frames_THWC))
    return Strip(
        width=MARGIN + CELL * columns,
        image_height=height,
        row_height=top + CURVE + (UNDER if low < 0 else 6) if curve else HEAD + height + 8,
        zero_y=y(0.0) if curve else None,
        lines=tuple(lines),
        subjects=tuple(
            Subject(f"Track{t.track_id}", name(t), _colour(t.track_id), t.track_id in asked) for t in tracks
        ),
    )


def _x(column: int) -> float:
    return MARGIN + CELL * column


def _tracks(exhibit: Exhibit) -> tuple[Trajectory, ...]:
    """The subjects where the frames shown have them."""
    scene, program = scene_of(exhibit.clip), json.loads(exhibit.sample.program)
    return shown_scene(scene, program["kind"], program["at"]).tracks if exhibit.sample.twin else scene.tracks


def _picture(
    clip: SelectedClip, tracks: Sequence[Trajectory], k: int, frame_HWC: np.ndarray, x: float,
    size: tuple[float, float], asked: set[int], needed: set[int],
) -> Picture:  # fmt: skip
    width, height = size
    left = x + (CELL - width) / 2
    tick = clip.plan_tick[k]
    scale_x, scale_y = width / clip.width_px, height / clip.height_px
    marks = []
    for track in tracks:
        for moment in (m for m in track.moments if m.tick == tick):
            x1, y1, x2, y2 = moment.box_xyxy_px
            mark = Mark(
                left + x1 * scale_x, HEAD + y1 * scale_y, (x2 - x1) * scale_x, (y2 - y1) * scale_y,
                str(track.track_id), _colour(track.track_id), track.track_id in asked,
            )  # fmt: skip
            marks.append(mark)
    return Picture(
        x=left,
        width=width,
        label=f"frame{k + 1}",
        time=f"{seconds(tick - clip.start_tick, clip.time_base_num, clip.time_base_den):.2f} s",
        evidence=k + 1 in needed,
        jpeg=_jpeg(frame_HWC, round(width * SHARPNESS), round(height * SHARPNESS)),
        marks=tuple(sorted(marks, key=lambda m: m.asked)),  # what is asked about is drawn on top
    )


def _jpeg(frame_HWC: np.ndarray, width_px: int, height_px: int) -> str:
    small = cv2.resize(frame_HWC, (width_px, height_px), interpolation=cv2.INTER_AREA)
    return base64.b64encode(jpeg(small, quality=JPEG_QUALITY)).decode()


def _colour(track_id: int) -> str:
    return PALETTE[(track_id - 1) % len(PALETTE)]
