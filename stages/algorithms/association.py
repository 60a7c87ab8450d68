"""Rules about tracks: where a track breaks, whether it moved, which box shows two subjects. Pure numbers.

A chain is the list of a track's observations, ascending by frame. Boxes are x1, y1, x2, y2 in pixels.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from schemas.clip import Affine, Box, Detection

BORDER = 0.01  # of the frame: a box this near to an edge is cut by it
BORDER_FACTOR = 2.5
SMOOTH = 3  # boxes: one bad outline is no motion


def to_first_frame(box: Box, affine: Affine) -> Box:
    """The box in the pixels of tracking frame 0: centre mapped, size scaled (a turned box would only grow)."""
    a, b, tx, c, d, ty = affine
    scale = abs(a * d - b * c) ** 0.5
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    centre_x, centre_y = a * x + b * y + tx, c * x + d * y + ty
    half_w, half_h = scale * (box[2] - box[0]) / 2, scale * (box[3] - box[1]) / 2
    return (centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h)


def broken_at_jumps(
    chain: Sequence[Detection],
    time_s: Sequence[float],
    *,
    frame_size_px: tuple[int, int],
    area_jump: float,
    colour_jump: float,
    patience_s: float,
) -> list[list[Detection]]:
    """The chain in pieces, each of one subject: cut where area (a factor), colour (levels) or time jump.

    At the frame's edge subjects grow and shrink as they enter and leave: there the area may jump farther.
    """
    pieces: list[list[Detection]] = [[chain[0]]]
    for before, after in pairwise(chain):
        ratio = area(after.box_xyxy_px) / area(before.box_xyxy_px)
        is_cut = after.frame == before.frame + 1 and any(
            at_border(o.box_xyxy_px, frame_size_px) for o in (before, after)
        )
        colour = max(abs(p - q) for p, q in zip(before.rgb, after.rgb, strict=True))
        allowed = area_jump * (BORDER_FACTOR if is_cut else 1.0)
        jumps = max(ratio, 1 / ratio) > allowed or colour > colour_jump
        if jumps or time_s[after.frame] - time_s[before.frame] > patience_s + 1e-6:
            pieces.append([])
        pieces[-1].append(after)
    return pieces


def area(box: Box) -> float:
    """In square pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def centre(box: Box) -> np.ndarray:
    """(2,): x and y in pixels."""
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])


def at_border(box: Box, frame_size_px: tuple[int, int]) -> bool:
    """Whether an edge of the frame may cut the box."""
    return any(_cut_sides(box, frame_size_px))


def _cut_sides(box: Box, frame_size_px: tuple[int, int]) -> tuple[bool, bool, bool, bool]:
    """For x1, y1, x2, y2: whether the frame's edge, rather than the subject's, set it."""
    width_px, height_px = frame_size_px
    rim_x, rim_y = max(2.0, BORDER * width_px), max(2.0, BORDER * height_px)
    return box[0] <= rim_x, box[1] <= rim_y, box[2] >= width_px - rim_x, box[3] >= height_px - rim_y


def moved_px(boxes: Sequence[Box], cut: Sequence[tuple[bool, bool, bool, bool]]) -> float:
    """The farthest that both opposite sides of the box went together from where they were at any other time.

    A title that fades in and a subject that swells move one side only, or both apart: that is no motion. A side that
    the frame's edge cuts says nothing; then the other speaks alone.
    """
    sides_N4 = np.array(boxes, dtype=np.float64)
    known_N4 = ~np.array(cut, dtype=bool)
    if len(sides_N4) >= 2 * SMOOTH:
        windows = np.lib.stride_tricks.sliding_window_view(sides_N4, SMOOTH, axis=0)
        sides_N4 = np.median(windows, axis=2)
        known_N4 = known_N4[SMOOTH // 2 : len(known_N4) - SMOOTH // 2]
    along = [_together(sides_N4[:, axis::2], known_N4[:, axis::2]) for axis in (0, 1)]
    return float(np.hypot(along[0], along[1]).max())


def _together(sides_N2: np.ndarray, known_N2: np.ndarray) -> np.ndarray:
    """(N, N): how far the low and the high side went together between any two times, 0 where they went apart."""
    shift_NN2 = sides_N2[None] - sides_N2[:, None]
    both_NN2 = known_N2[None] & known_N2[:, None]
    low, high = shift_NN2[..., 0], shift_NN2[..., 1]
    common = np.where(np.sign(low) == np.sign(high), np.minimum(abs(low), abs(high)), 0.0)
    single = np.where(both_NN2[..., 0], abs(low), np.where(both_NN2[..., 1], abs(high), 0.0))
    return np.where(both_NN2.all(axis=2), common, single)


def straightness(boxes: Sequence[Box]) -> float:
    """Distance between the first and the last centre over the length of the way between them, 0..1."""
    centres_N2 = np.array([centre(box) for box in boxes])
    way = float(np.linalg.norm(np.diff(centres_N2, axis=0), axis=1).sum())
    return float(np.linalg.norm(centres_N2[-1] - centres_N2[0])) / way if way else 0.0


def cut_sides(boxes: Iterable[Box], frame_size_px: tuple[int, int]) -> list[tuple[bool, bool, bool, bool]]:
    """For each box and side whether the frame's edge set it."""
    return [_cut_sides(box, frame_size_px) for box in boxes]


def swallows(first: Detection, others: Sequence[Sequence[Detection]], *, max_gap: int) -> bool:
    """Whether the box in which a piece begins holds a subject of another chain that was just seen there."""
    return any(
        0 < first.frame - other[-1].frame <= max_gap and inside(other[-1].box_xyxy_px, first.box_xyxy_px) > 0.5
        for other in others
    )


def inside(inner: Box, outer: Box) -> float:
    """Share of the inner box that lies in the outer one."""
    width = min(inner[2], outer[2]) - max(inner[0], outer[0])
    height = min(inner[3], outer[3]) - max(inner[1], outer[1])
    return max(0.0, width) * max(0.0, height) / area(inner)
