"""The `motion` expert: what differs from the empty place, frame by frame. Pure numpy and OpenCV, no weights.

Static camera: the empty place is the temporal median of the clip. Moving camera: for each frame the median of its
neighbours in time, warped onto it along the camera path. A subject is a connected piece of the frame that differs from
the empty place in any colour channel by more than the clip's own noise.

What it cannot see: objects that are there and still for most of the clip (they are the empty place); under a moving
camera also those that move less than their own size within the window. What it declines: frames of which most changed
(fades, flashes), ghosts (the place that something left), and burnt-in titles over a moving camera. A title over a
static camera is detected and declined by the tracking stage, since it never moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from schemas.clip import Affine
from stages.algorithms.association import inside
from stages.algorithms.background import Scene, anchored_scenes, followed_scenes
from stages.algorithms.camera import mean_shift_px
from stages.algorithms.ghosts import GHOST_RATIO, MIN_CONTRAST, outline_steps, strongest

MIN_SIDE = 0.03  # frame diagonals: slivers under a moving camera are edges that parallax lays bare
MAX_DRIFT = 0.12  # frame diagonals: a camera that strays less shows one place, whose median serves the whole clip
EDGE_LEVEL = 0.5  # a subject ends where its contrast falls under this share of its median
MAX_COVER = 0.5  # share of the frame in foreground above which the light changed, not the subjects
MAX_COVER_MOVING = 0.3  # the same under a moving camera, where so much change leaves no ground to compare with
OVERLAY_STILL = 0.6  # share of a blob's edge pixels that are exactly still
OPEN_PX = 2  # thinner things are codec noise
MAX_BOX = 0.5  # share of the frame: a box that holds most of the picture places nothing
MAX_BOX_MOVING = 0.3
JOINED = 0.5  # share of a piece's box inside another's
BRIDGE = 0.008  # of the frame diagonal: pieces nearer than this are one subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """One moving thing in one frame; the fields are those of `schemas.clip.Detection`."""

    box_xyxy_px: tuple[float, float, float, float]
    score: float
    rgb: tuple[float, float, float]
    fill: float
    outline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMotion:
    """What moved in one frame, and how much of the frame changed without being a subject."""

    blobs: tuple[Blob, ...]
    cover: float  # share of the frame in foreground before cleaning
    stray: float  # share of the frame's strong edges outside all blobs that changed


def find_motion(
    frames_THWC: np.ndarray, camera_path: Sequence[Affine], *, step_s: float, min_area: float, is_moving: bool
) -> list[FrameMotion]:
    """What moves in each uint8 RGB frame, in pixels of that frame; `min_area` is a share of the frame's area."""
    shift_px = max(mean_shift_px(affine, frames_THWC.shape[1:3]) for affine in camera_path)
    if is_moving and shift_px > MAX_DRIFT * float(np.hypot(*frames_THWC.shape[1:3])):
        scenes = followed_scenes(frames_THWC, camera_path, step_s)
    else:
        scenes = anchored_scenes(frames_THWC, camera_path, is_moving)
    return [_frame_motion(scene, min_area) for scene in scenes]


def _frame_motion(scene: Scene, min_area: float) -> FrameMotion:
    raw_HW = (scene.contrast_HW > scene.limit_HW).astype(np.uint8)
    cover = float(raw_HW.mean())
    if cover > (MAX_COVER if scene.still_HW is None else MAX_COVER_MOVING):
        return FrameMotion(blobs=(), cover=cover, stray=1.0)
    mask_HW = cv2.morphologyEx(raw_HW, cv2.MORPH_OPEN, np.ones((OPEN_PX, OPEN_PX), np.uint8))
    diagonal_px = float(np.hypot(*raw_HW.shape))
    bridge_px = 2 * round(BRIDGE * diagonal_px / 2) + 1
    mask_HW = cv2.morphologyEx(
        mask_HW, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (bridge_px, bridge_px))
    )
    count, label_HW, stats, _ = cv2.connectedComponentsWithStats(mask_HW, connectivity=8)
    min_side_px = 0.0 if scene.still_HW is None else MIN_SIDE * diagonal_px
    blobs: list[Blob] = []
    explained_HW = np.zeros(raw_HW.shape, bool)
    for (x1, y1, x2, y2), labels in _joined(stats[1:count]):
        view = (slice(max(0, y1 - 4), y2 + 4), slice(max(0, x1 - 4), x2 + 4))
        blob_hw = np.isin(label_HW[view], labels)
        if blob_hw.sum() < min_area * raw_HW.size or min(x2 - x1, y2 - y1) < min_side_px:
            continue
        explained_HW[view] |= blob_hw
        fills = (x2 - x1) * (y2 - y1) > (MAX_BOX if scene.still_HW is None else MAX_BOX_MOVING) * raw_HW.size
        if not (fills or _is_ghost(scene, view, blob_hw) or _is_overlay(scene, view, blob_hw)):
            blobs.append(_measure(scene, view, blob_hw & (raw_HW[view] > 0)))
    return FrameMotion(blobs=tuple(blobs), cover=cover, stray=_stray(scene, raw_HW, explained_HW))


def _joined(stats_N5: np.ndarray) -> list[tuple[tuple[int, int, int, int], list[int]]]:
    """Boxes of components and their labels (from 1); a component mostly inside another's box is a piece of it."""
    x_N, y_N, w_N, h_N, area_N = stats_N5.T
    groups: list[tuple[tuple[int, int, int, int], list[int]]] = []
    for k in np.argsort(-area_N, kind="stable"):
        box, labels = (int(x_N[k]), int(y_N[k]), int(x_N[k] + w_N[k]), int(y_N[k] + h_N[k])), [int(k) + 1]
        for index, (other, others) in enumerate(groups):
            if inside(box, other) > JOINED:
                union = (min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3]))
                groups[index] = (union, others + labels)
                break
        else:
            groups.append((box, labels))
    return groups


def _is_ghost(scene: Scene, view: tuple[slice, slice], blob_hw: np.ndarray) -> bool:
    """Whether the blob's outline is an edge of the empty place rather than of the frame."""
    steps = outline_steps(blob_hw, (scene.frame_HW3[view], scene.empty_HW3[view]))
    return steps is not None and steps[1] > GHOST_RATIO * steps[0]


def _is_overlay(scene: Scene, view: tuple[slice, slice], blob_hw: np.ndarray) -> bool:
    """Moving camera: whether the blob's edges stand exactly still in the frame."""
    if scene.still_HW is None:
        return False
    edge_hw = blob_hw & (_edges(scene.frame_HW3[view]) > 2 * MIN_CONTRAST)
    return edge_hw.sum() >= 8 and float(scene.still_HW[view][edge_hw].mean()) > OVERLAY_STILL


def _edges(image_HW3: np.ndarray) -> np.ndarray:
    """Range of values in the 3x3 neighbourhood, strongest channel."""
    kernel = np.ones((3, 3), np.uint8)
    return strongest(cv2.subtract(cv2.dilate(image_HW3, kernel), cv2.erode(image_HW3, kernel)))


def _measure(scene: Scene, view: tuple[slice, slice], pixels_hw: np.ndarray) -> Blob:
    """Box, colour and outline of the pixels that stand out as clearly as the blob's middle does."""
    contrast_hw = scene.contrast_HW[view]
    middle = float(np.median(contrast_hw[pixels_hw]))
    sharp_hw = pixels_hw & (contrast_hw >= EDGE_LEVEL * middle)
    mask_hw = cv2.morphologyEx(sharp_hw.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(mask_hw, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled_hw = cv2.drawContours(np.zeros_like(mask_hw), contours, -1, 1, cv2.FILLED)
    rows, columns = np.flatnonzero(filled_hw.any(axis=1)), np.flatnonzero(filled_hw.any(axis=0))
    top, left = view[0].start + int(rows[0]), view[1].start + int(columns[0])
    height_px, width_px = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    limit = float(np.median(scene.limit_HW[view][pixels_hw]))
    to_frame = scene.to_frame
    corners = to_frame[:2, :2] @ np.array([[left, left + width_px], [top, top + height_px]]) + to_frame[:2, 2:]
    r, g, b = (float(v) for v in np.median(scene.frame_HW3[view][sharp_hw], axis=0))
    return Blob(
        box_xyxy_px=_clipped(corners, scene.frame_HW3.shape),
        score=middle / (middle + limit),
        rgb=(r, g, b),
        fill=float(filled_hw.sum()) / (width_px * height_px),
        outline=roundness(max(contours, key=len)[:, 0]),
    )


def _clipped(corners_22: np.ndarray, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    x1, x2 = (float(np.clip(v, 0, shape[1])) for v in corners_22[0])
    y1, y2 = (float(np.clip(v, 0, shape[0])) for v in corners_22[1])
    return x1, y1, x2, y2


def roundness(contour_N2: np.ndarray) -> float:
    """4 pi area / perimeter^2 of a closed pixel contour: circle 1, square .79, triangle .60; 0 where too small."""
    if len(contour_N2) < 12:
        return 0.0
    weight = np.array([1, 4, 6, 4, 1], np.float64) / 16
    smooth_N2 = contour_N2.astype(np.float64)
    for _ in range(2):  # a chain of pixels is longer than the line it stands for
        smooth_N2 = np.sum([w * np.roll(smooth_N2, k - 2, axis=0) for k, w in enumerate(weight)], axis=0)
    x_N, y_N = smooth_N2[:, 0], smooth_N2[:, 1]
    perimeter = float(np.hypot(x_N - np.roll(x_N, 1), y_N - np.roll(y_N, 1)).sum())
    area = 0.5 * abs(float((x_N * np.roll(y_N, 1) - y_N * np.roll(x_N, 1)).sum())) + perimeter / 2
    return min(1.0, 4 * np.pi * area / (perimeter + np.pi) ** 2)


def _stray(scene: Scene, raw_HW: np.ndarray, explained_HW: np.ndarray) -> float:
    """Share of the empty place's strong edges outside all blobs that changed; 0 where there are too few to say."""
    edge_HW = (_edges(scene.empty_HW3) > 2 * MIN_CONTRAST) & ~explained_HW
    return float(raw_HW[edge_HW].mean()) if edge_HW.sum() >= 50 else 0.0
