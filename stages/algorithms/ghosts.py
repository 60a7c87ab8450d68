"""Places that the median got wrong: who was there for most of a clip stands in its empty place, and is taken out.

Of two images that differ in a part, the one that has an edge along the part's outline shows a thing there, and the
other the place without it. Pure numpy and OpenCV.
"""

from collections.abc import Sequence

import cv2
import numpy as np

MIN_CONTRAST = 26.0  # levels of the strongest channel; H.264 at usual rates stays under it on flat ground
GHOST_RATIO = 1.25
MIN_LEFT = 0.001  # of the frame: what came and stayed
LEFT_RATIO = 1.6  # the sides of an outline must differ this much more in one image than in the other
MIN_SMEAR_PX = 8
MAX_PIECES = 3
SMEAR_FRAMES = 3  # that must show the place without its smear


def uncover(empty_HW3: np.ndarray, early_HW3: np.ndarray, late_HW3: np.ndarray, limit_HW: np.ndarray) -> None:
    """Corrects the empty place where something came and stayed, or stood and left, for most of the clip.

    Where the beginning and the end differ, the one that has an edge along the outline of the difference shows a thing,
    and the other the place without it.
    """
    differs_HW = (contrast(early_HW3, late_HW3) > limit_HW).astype(np.uint8)
    differs_HW = cv2.morphologyEx(differs_HW, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    differs_HW = cv2.morphologyEx(differs_HW, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, label_HW, stats, _ = cv2.connectedComponentsWithStats(differs_HW, connectivity=8)
    for index in range(1, count):
        if stats[index, cv2.CC_STAT_AREA] < MIN_LEFT * differs_HW.size:
            continue
        for part_HW, owner in _owners(label_HW == index, (early_HW3, late_HW3)):
            if owner is not None:
                wide_HW = cv2.dilate(part_HW.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
                empty_HW3[wide_HW] = (late_HW3, early_HW3)[owner][wide_HW]


def unsmear(empty_HW3: np.ndarray, sample: Sequence[np.ndarray], limit_HW: np.ndarray) -> None:
    """Corrects the empty place where subjects were for most of the clip, though each was there for a while only.

    The median holds a smear of them: a ghost in the frames that show the place without them. It becomes the median of
    these frames.
    """
    ghosts = [_ghost(image, empty_HW3, limit_HW) for image in sample]
    smear_HW = np.sum(ghosts, axis=0) >= SMEAR_FRAMES
    if not smear_HW.any():
        return
    hidden_NP = np.stack([~ghost_HW[smear_HW] for ghost_HW in ghosts])
    shown_NP3 = np.ma.masked_array(
        np.stack([image[smear_HW] for image in sample]), np.repeat(hidden_NP[..., None], 3, axis=2)
    )
    clean_HW3 = empty_HW3.copy()
    clean_HW3[smear_HW] = np.ma.median(shown_NP3, axis=0).filled(0)
    changed_HW = (contrast(clean_HW3, empty_HW3) > MIN_CONTRAST / 2).astype(np.uint8)
    count, label_HW = cv2.connectedComponents(cv2.dilate(changed_HW, np.ones((3, 3), np.uint8)), connectivity=8)
    for index in range(1, count):
        part_HW = label_HW == index
        steps = outline_steps(part_HW, (clean_HW3, empty_HW3))
        if steps is not None and steps[1] > LEFT_RATIO * steps[0]:
            empty_HW3[part_HW] = clean_HW3[part_HW]


def _owners(part_hw: np.ndarray, images: tuple[np.ndarray, np.ndarray]) -> list[tuple[np.ndarray, int | None]]:
    """The part, or its brighter and darker pieces, each with the image that shows a thing there; None: cannot tell.

    Where a thing overlaps the place it left, what came and what went are one part, of opposite sign. A part of many
    such pieces is texture, of which nothing can be told.
    """
    owner = _owner(part_hw, images)
    if owner is not None:
        return [(part_hw, owner)]
    change_hw3 = images[0].astype(np.int16) - images[1]
    strongest_hw = np.take_along_axis(change_hw3, np.abs(change_hw3).argmax(axis=2)[..., None], axis=2)[..., 0]
    pieces: list[tuple[np.ndarray, int | None]] = []
    for side_hw in (part_hw & (strongest_hw > 0), part_hw & (strongest_hw <= 0)):
        count, label_hw, stats, _ = cv2.connectedComponentsWithStats(side_hw.astype(np.uint8), connectivity=8)
        large = [k for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] >= MIN_SMEAR_PX]
        pieces += [(label_hw == k, _owner(label_hw == k, images)) for k in large]
    return pieces if len(pieces) <= MAX_PIECES else [(part_hw, None)]


def _owner(part_hw: np.ndarray, images: tuple[np.ndarray, np.ndarray]) -> int | None:
    steps = outline_steps(part_hw, images)
    if steps is None or max(steps) < LEFT_RATIO * min(steps):
        return None
    return int(steps[1] > steps[0])


def _ghost(frame_HW3: np.ndarray, empty_HW3: np.ndarray, limit_HW: np.ndarray) -> np.ndarray:
    """Mask of what the empty place shows and the frame does not, with the soft edge around it."""
    differs_HW = (contrast(frame_HW3, empty_HW3) > limit_HW).astype(np.uint8)
    differs_HW = cv2.morphologyEx(differs_HW, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    count, label_HW, stats, _ = cv2.connectedComponentsWithStats(differs_HW, connectivity=8)
    ghost_HW = np.zeros(differs_HW.shape, np.uint8)
    for index in range(1, count):
        x, y, w, h, area = (int(v) for v in stats[index])
        if area < MIN_SMEAR_PX:
            continue
        view = (slice(max(0, y - 4), y + h + 4), slice(max(0, x - 4), x + w + 4))
        for part_hw, owner in _owners(label_HW[view] == index, (frame_HW3[view], empty_HW3[view])):
            if owner == 1:
                ghost_HW[view][part_hw] = 1
    return cv2.dilate(ghost_HW, np.ones((5, 5), np.uint8)) > 0


def outline_steps(blob_hw: np.ndarray, images: tuple[np.ndarray, np.ndarray]) -> tuple[float, float] | None:
    """How much each image changes across the blob's outline, in levels; None where too little of it is in view."""
    contours, _ = cv2.findContours(blob_hw.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points_N2 = max(contours, key=len)[:, 0].astype(np.float32)
    tangent_N2 = np.roll(points_N2, -3, axis=0) - np.roll(points_N2, 3, axis=0)
    length_N1 = np.maximum(np.linalg.norm(tangent_N2, axis=1, keepdims=True), 1e-6)
    normal_N2 = np.stack([tangent_N2[:, 1], -tangent_N2[:, 0]], axis=1) / length_N1
    inner_N2, outer_N2 = (np.rint(points_N2 + side * 3 * normal_N2).astype(int) for side in (-1, 1))
    limit = np.array([blob_hw.shape[1], blob_hw.shape[0]])
    inside_N = np.all((inner_N2 >= 0) & (inner_N2 < limit) & (outer_N2 >= 0) & (outer_N2 < limit), axis=1)
    if inside_N.sum() < 8:
        return None
    first, second = (_step(image, inner_N2[inside_N], outer_N2[inside_N]) for image in images)
    return first, second


def _step(image_HW3: np.ndarray, inner_N2: np.ndarray, outer_N2: np.ndarray) -> float:
    smooth = cv2.blur(image_HW3, (3, 3)).astype(np.int16)
    inner, outer = (smooth[points[:, 1], points[:, 0]] for points in (inner_N2, outer_N2))
    return float(np.abs(inner - outer).max(axis=1).mean())


def contrast(frame_HW3: np.ndarray, empty_HW3: np.ndarray) -> np.ndarray:
    return strongest(cv2.absdiff(frame_HW3, empty_HW3))


def strongest(image_HW3: np.ndarray) -> np.ndarray:
    """The strongest channel, so that objects as bright as the ground but of other colour are seen."""
    r, g, b = cv2.split(image_HW3)
    return cv2.max(cv2.max(r, g), b)
