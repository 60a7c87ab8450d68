"""The empty place behind what moves, for each frame of a clip. Pure numpy and OpenCV.

A camera that stands or strays little shows one place: the temporal median of the whole clip; where it stands, corrected
for what came and stayed. A camera that travels shows many: for each frame the median of its neighbours in time, warped
onto it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from schemas.clip import Affine
from stages.algorithms.camera import as_matrix

BACKGROUND_FRAMES = 49  # of a static clip; the median of more costs time and changes little
WINDOW_S = 1.0  # half the time window of the moving background
WINDOW_FRAMES = 8
NOISE_SIGMAS = 5.0
MIN_CONTRAST = 26.0  # levels of the strongest channel; H.264 at usual rates stays under it on flat ground
MAX_LIMIT = 60.0
GAIN_RANGE = (0.75, 1.33)  # changes of exposure that are compensated
GHOST_RATIO = 1.25
MIN_LEFT = 0.001  # of the frame: what came and stayed
LEFT_RATIO = 1.6  # the sides of an outline must differ this much more in one image than in the other
MIN_SMEAR_PX = 8
SMEAR_FRAMES = 3  # that must show the place without its smear
SMEAR_PASSES = 2
OVERLAY_SHIFT_PX = 3.0  # the camera must have moved this far before stillness says anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One frame, its empty place and the contrast between them, all of the frame's size."""

    frame_HW3: np.ndarray
    empty_HW3: np.ndarray
    contrast_HW: np.ndarray  # uint8
    limit_HW: np.ndarray  # uint8: noise ends here
    still_HW: np.ndarray | None  # moving camera: pixels that stay where they are in the frame, whatever it shows
    to_frame: np.ndarray  # (3, 3): pixels of this scene -> pixels of the frame


def temporal_median(stack: Sequence[np.ndarray]) -> np.ndarray:
    """The median of an odd number of equal uint8 images, pixel by pixel, by a sorting network of whole images."""
    items = list(stack)
    n = len(items)
    for low, high in _network(n):
        items[low], items[high] = cv2.min(items[low], items[high]), cv2.max(items[low], items[high])
    return items[n // 2]


def _network(n: int) -> list[tuple[int, int]]:
    """Compare-exchanges of Batcher's odd-even merge sort of n items."""
    pairs: list[tuple[int, int]] = []
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                span = range(min(k, n - j - k))
                pairs += [(i + j, i + j + k) for i in span if (i + j) // (2 * p) == (i + j + k) // (2 * p)]
            k //= 2
        p *= 2
    return pairs


def anchored_scenes(frames_THWC: np.ndarray, camera_path: Sequence[Affine], has_drift: bool) -> Iterator[Scene]:
    """Every frame laid onto the middle one, and the empty place of the whole clip."""
    n, height_px, width_px = frames_THWC.shape[:3]
    to_first = _matrices(camera_path)
    onto_anchor = [np.linalg.inv(to_first[n // 2]) @ matrix for matrix in to_first]

    def laid(image: np.ndarray, t: int) -> np.ndarray:
        return cv2.warpAffine(image, onto_anchor[t][:2], (width_px, height_px)) if has_drift else image

    index = np.unique(np.linspace(0, n - 1, min(BACKGROUND_FRAMES, n)).round().astype(int))
    index = _odd(index)
    sample = [laid(frames_THWC[i], i) for i in index]
    empty_HW3 = temporal_median(sample)
    # Between neighbours in time: against the empty place, ground that is often passed would count as noisy.
    pairs = [(laid(frames_THWC[i - 1], i - 1), laid(frames_THWC[i], i)) for i in index[1:]]
    noise = [strongest(cv2.absdiff(a, _matched(b, a))) for a, b in pairs]
    limit_HW = _limit(temporal_median(_odd(noise)))
    if not has_drift:  # what is laid over each other by a pixel's error has edges everywhere, and tells nothing
        few = max(3, min(5, len(sample) // 3), len(sample) // 8)
        early_HW3, late_HW3 = temporal_median(_odd(sample[:few])), temporal_median(_odd(sample[-few:]))
        _uncover(empty_HW3, early_HW3, _matched(late_HW3, early_HW3), limit_HW)
        for _ in range(SMEAR_PASSES):
            _unsmear(empty_HW3, [_matched(image, empty_HW3) for image in sample], limit_HW)
    shown_HW = np.ones((height_px, width_px), np.uint8)
    for t, raw_HW3 in enumerate(frames_THWC):
        frame_HW3 = _matched(laid(raw_HW3, t), empty_HW3)
        contrast_HW = _tolerant_contrast(frame_HW3, empty_HW3) if has_drift else _contrast(frame_HW3, empty_HW3)
        still_HW = None
        if has_drift:
            contrast_HW = cv2.multiply(contrast_HW, laid(shown_HW, t))
            still_HW = laid(_still(frames_THWC, to_first, t).astype(np.uint8), t) > 0
        yield Scene(
            frame_HW3=frame_HW3,
            empty_HW3=empty_HW3,
            contrast_HW=contrast_HW,
            limit_HW=limit_HW,
            still_HW=still_HW,
            to_frame=np.linalg.inv(onto_anchor[t]),
        )


def followed_scenes(frames_THWC: np.ndarray, camera_path: Sequence[Affine], step_s: float) -> Iterator[Scene]:
    """Every frame as it is, and the empty place that its neighbours in time show of its view."""
    n, height_px, width_px = frames_THWC.shape[:3]
    to_first = _matrices(camera_path)
    reach = max(WINDOW_FRAMES // 2, round(WINDOW_S / step_s))
    for t, frame_HW3 in enumerate(frames_THWC):
        first = min(max(0, t - reach), max(0, n - 1 - 2 * reach))
        window = [i for i in range(first, min(n, first + 2 * reach + 1)) if i != t]
        window = [window[i] for i in np.unique(np.linspace(0, len(window) - 1, WINDOW_FRAMES).round().astype(int))]
        warped = [frame_HW3]
        for i in window:
            # Where frame i shows nothing of frame t's view, frame t speaks for itself and nothing moves.
            onto = cv2.warpAffine(
                frames_THWC[i],
                (np.linalg.inv(to_first[t]) @ to_first[i])[:2],
                (width_px, height_px),
                dst=frame_HW3.copy(),
                borderMode=cv2.BORDER_TRANSPARENT,
            )
            warped.append(_matched(onto, frame_HW3))
        empty_HW3 = temporal_median(_odd(warped))
        contrast_HW = _tolerant_contrast(frame_HW3, empty_HW3)
        yield Scene(
            frame_HW3=frame_HW3,
            empty_HW3=empty_HW3,
            contrast_HW=contrast_HW,
            limit_HW=np.full_like(contrast_HW, _noise_limit(contrast_HW)),
            still_HW=_still(frames_THWC, to_first, t),
            to_frame=np.eye(3),
        )


def _odd(items: Any) -> Any:
    """The items, without the first where they are even in number: a median wants a middle one."""
    return items if len(items) % 2 else items[1:]


def _uncover(empty_HW3: np.ndarray, early_HW3: np.ndarray, late_HW3: np.ndarray, limit_HW: np.ndarray) -> None:
    """Corrects the empty place where something came and stayed, or stood and left, for most of the clip.

    Where the beginning and the end differ, the one that has an edge along the outline of the difference shows a thing,
    and the other the place without it.
    """
    differs_HW = (_contrast(early_HW3, late_HW3) > limit_HW).astype(np.uint8)
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


def _owners(part_hw: np.ndarray, images: tuple[np.ndarray, np.ndarray]) -> list[tuple[np.ndarray, int | None]]:
    """The part, or its brighter and darker pieces, each with the image that shows a thing there; None: cannot tell.

    Where a thing overlaps the place it left, what came and what went are one part, of opposite sign.
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
    return pieces


def _owner(part_hw: np.ndarray, images: tuple[np.ndarray, np.ndarray]) -> int | None:
    steps = outline_steps(part_hw, images)
    if steps is None or max(steps) < LEFT_RATIO * min(steps):
        return None
    return int(steps[1] > steps[0])


def _unsmear(empty_HW3: np.ndarray, sample: Sequence[np.ndarray], limit_HW: np.ndarray) -> None:
    """Corrects the empty place where subjects were for most of the clip, though each was there for a while only.

    The median holds a smear of them: a ghost in the frames that show the place without them. It becomes the median of
    the moments at which no subject is there.
    """
    looks = [_ghosts_and_subjects(image, empty_HW3, limit_HW) for image in sample]
    ghosts = np.sum([ghost_HW for ghost_HW, _ in looks], axis=0)
    smear_HW = cv2.dilate((ghosts >= SMEAR_FRAMES).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if not smear_HW.any():
        return
    taken_NP = np.stack([subject_HW[smear_HW] for _, subject_HW in looks])
    shown_NP3 = np.ma.masked_array(
        np.stack([image[smear_HW] for image in sample]), np.repeat(taken_NP[..., None], 3, axis=2)
    )
    free_P = (~taken_NP).sum(axis=0) >= SMEAR_FRAMES
    clean_HW3 = empty_HW3.copy()
    clean_HW3[smear_HW] = np.where(free_P[:, None], np.ma.median(shown_NP3, axis=0).filled(0), empty_HW3[smear_HW])
    changed_HW = (_contrast(clean_HW3, empty_HW3) > MIN_CONTRAST / 2).astype(np.uint8)
    count, label_HW = cv2.connectedComponents(cv2.dilate(changed_HW, np.ones((3, 3), np.uint8)), connectivity=8)
    for index in range(1, count):
        part_HW = label_HW == index
        steps = outline_steps(part_HW, (clean_HW3, empty_HW3))
        if steps is not None and steps[1] > GHOST_RATIO * steps[0]:
            empty_HW3[part_HW] = clean_HW3[part_HW]


def _ghosts_and_subjects(
    frame_HW3: np.ndarray, empty_HW3: np.ndarray, limit_HW: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Two masks: what the empty place shows and the frame does not, and what hides the place from the frame."""
    differs_HW = (_contrast(frame_HW3, empty_HW3) > limit_HW).astype(np.uint8)
    differs_HW = cv2.morphologyEx(differs_HW, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    count, label_HW, stats, _ = cv2.connectedComponentsWithStats(differs_HW, connectivity=8)
    ghost_HW, subject_HW = np.zeros(differs_HW.shape, bool), np.zeros(differs_HW.shape, np.uint8)
    for index in range(1, count):
        x, y, w, h, area = (int(v) for v in stats[index])
        if area < MIN_SMEAR_PX:
            continue
        view = (slice(max(0, y - 4), y + h + 4), slice(max(0, x - 4), x + w + 4))
        for part_hw, owner in _owners(label_HW[view] == index, (frame_HW3[view], empty_HW3[view])):
            if owner == 1:
                ghost_HW[view] |= part_hw
            else:  # the hull: where a subject overlaps its smear, the two do not differ
                hull = cv2.convexHull(np.argwhere(part_hw)[:, ::-1].astype(np.int32))
                subject_HW[view] = cv2.fillConvexPoly(np.ascontiguousarray(subject_HW[view]), hull, 1)
    return ghost_HW, cv2.dilate(subject_HW, np.ones((5, 5), np.uint8)) > 0


def _matrices(camera_path: Sequence[Affine]) -> list[np.ndarray]:
    return [np.vstack([as_matrix(affine), [0.0, 0.0, 1.0]]) for affine in camera_path]


def _still(frames_THWC: np.ndarray, to_first: Sequence[np.ndarray], t: int) -> np.ndarray:
    """Pixels of frame t that have the same value in the nearest frame, before or after, whose view is another."""
    middle = np.array([frames_THWC.shape[2] / 2, frames_THWC.shape[1] / 2, 1.0])
    here = to_first[t] @ middle
    still_HW = np.zeros(frames_THWC.shape[1:3], bool)
    for side in (range(t - 1, -1, -1), range(t + 1, len(frames_THWC))):
        other = next((i for i in side if np.hypot(*(to_first[i] @ middle - here)[:2]) >= OVERLAY_SHIFT_PX), None)
        if other is not None:
            still_HW |= _contrast(frames_THWC[other], frames_THWC[t]) < MIN_CONTRAST / 2
    return still_HW


def _contrast(frame_HW3: np.ndarray, empty_HW3: np.ndarray) -> np.ndarray:
    return strongest(cv2.absdiff(frame_HW3, empty_HW3))


def strongest(image_HW3: np.ndarray) -> np.ndarray:
    """The strongest channel, so that objects as bright as the ground but of other colour are seen."""
    r, g, b = cv2.split(image_HW3)
    return cv2.max(cv2.max(r, g), b)


def _matched(frame_HW3: np.ndarray, empty_HW3: np.ndarray) -> np.ndarray:
    """The frame in the exposure of the empty place: one gain, where most of the frame agrees on it."""
    a = frame_HW3[::8, ::8].reshape(-1, 3).astype(np.float32).sum(axis=1)
    b = empty_HW3[::8, ::8].reshape(-1, 3).astype(np.float32).sum(axis=1)
    lit = (a > 60) & (b > 60)
    if lit.sum() < 20:
        return frame_HW3
    ratio = b[lit] / a[lit]
    gain = float(np.median(ratio))
    agreed = float((np.abs(ratio - gain) < 0.05 * gain).mean())
    if abs(gain - 1) < 0.01 or agreed < 0.5 or not GAIN_RANGE[0] <= gain <= GAIN_RANGE[1]:
        return frame_HW3
    return cv2.convertScaleAbs(frame_HW3, alpha=gain)


def _tolerant_contrast(frame_HW3: np.ndarray, empty_HW3: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the range of its 3x3 neighbourhood in the empty place: warps err by a pixel."""
    kernel = np.ones((3, 3), np.uint8)
    above = cv2.subtract(frame_HW3, cv2.dilate(empty_HW3, kernel))
    below = cv2.subtract(cv2.erode(empty_HW3, kernel), frame_HW3)
    return strongest(cv2.max(above, below))


def _limit(noise_HW: np.ndarray) -> np.ndarray:
    """Contrast that noise does not reach, per pixel, from the median change per pixel between neighbours in time."""
    around_HW = cv2.blur(noise_HW, (3, 3)).astype(np.float32) * 1.4826
    return np.clip(NOISE_SIGMAS * around_HW, MIN_CONTRAST, MAX_LIMIT).astype(np.uint8)


def _noise_limit(contrast_HW: np.ndarray) -> int:
    sigma = 1.4826 * float(np.median(contrast_HW[::2, ::2]))
    return int(np.clip(NOISE_SIGMAS * sigma, MIN_CONTRAST, MAX_LIMIT))


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
