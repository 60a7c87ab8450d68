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
from stages.algorithms.ghosts import MIN_CONTRAST, contrast, strongest, uncover, unsmear

BACKGROUND_FRAMES = 49  # of a static clip; the median of more costs time and changes little
WINDOW_S = 1.0  # half the time window of the moving background
WINDOW_FRAMES = 8
NOISE_SIGMAS = 5.0
MAX_LIMIT = 60.0
GAIN_RANGE = (0.75, 1.33)  # changes of exposure that are compensated
SMEAR_PASSES = 4
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
        uncover(empty_HW3, early_HW3, _matched(late_HW3, early_HW3), limit_HW)
        for _ in range(SMEAR_PASSES):
            unsmear(empty_HW3, [_matched(image, empty_HW3) for image in sample], limit_HW)
    shown_HW = np.ones((height_px, width_px), np.uint8)
    for t, raw_HW3 in enumerate(frames_THWC):
        frame_HW3 = _matched(laid(raw_HW3, t), empty_HW3)
        contrast_HW = _tolerant_contrast(frame_HW3, empty_HW3) if has_drift else contrast(frame_HW3, empty_HW3)
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
            still_HW |= contrast(frames_THWC[other], frames_THWC[t]) < MIN_CONTRAST / 2
    return still_HW


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
