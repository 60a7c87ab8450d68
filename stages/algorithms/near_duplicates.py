"""Which clips show the same film: re-encoded, resized, at another frame rate, cropped, mirrored or in black bars?

A fingerprint is a tiny film: the means of eight equal parts of the clip's time, 32x32 grey. Two clips are the same
where one lies in the other, as it is or mirrored, by two correlations: of what stands (the mean of the parts) and of
what changes (the parts less that mean). The second tells apart two clips of one place, which share all that stands.
Not seen: a copy that is cut at other times, turned, or cropped to less than 80 % of a side; bars that are not black.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from stages.algorithms.camera import BLACK_LEVEL

PARTS, SIDE_PX, COARSE_PX = 8, 32, 8
# Where along an axis the smaller picture may lie in the larger one: offset and length, in lengths of the axis. Between
# two of these a picture is off by 5 % at most, 0.4 of a coarse pixel.
SPANS = ((0.0, 1.0), (0.0, 0.9), (0.1, 0.9), (0.0, 0.8), (0.1, 0.8), (0.2, 0.8))
MIN_COARSE = 0.5  # correlation of what stands and of what changes, over 8x8 pixels: below it nothing is aligned
MIN_SIMILARITY = 0.9  # benchmarks/results/near_duplicates.md
MIN_SPREAD = 1.0  # grey levels: pictures, and changes, that vary less are nothing to compare
MAX_NOISE = 1.0  # grey levels: changes that differ by less are equal, as they are where nothing moves
MAX_REFINED_PX = 5.0  # of 32: two windows lie 4.5 px apart; free to go on, one moving thing is laid on another
SOFT_PX = 0.7  # of 32: fine texture is not the same after another scaling
MAX_LENGTH_RATIO = 1.1  # of two copies' lengths: a film that was made at 24 fps runs at 25 in some places

Vectors = tuple[np.ndarray, np.ndarray]  # of what stands (N, 64) and of what changes (N, 512): unit length, or 0


@dataclass(frozen=True, slots=True)
class Print:
    """What is known of a clip when copies are looked for."""

    clip_id: str
    length_s: float
    parts: bytes  # of `fingerprint`
    rank: tuple[int, ...] = ()  # of copies the one with the lowest rank is the original, then the lowest id


class Window(NamedTuple):
    """Where a picture lies in another, in shares of that one's sides, and whether it is mirrored."""

    mirror: bool
    y: float
    height: float
    x: float
    width: float


WINDOWS = tuple(Window(mirror, *y, *x) for mirror, y, x in product((False, True), SPANS, SPANS))  # first: the whole


def fingerprint(greys_THW: np.ndarray, edge_s: Sequence[float]) -> bytes:
    """uint8 (8, 32, 32): means of eight equal parts of the time, without black bars.

    Frame t of the uint8 grey frames is shown from `edge_s[t]` to `edge_s[t + 1]`.
    """
    top, bottom, left, right = picture(greys_THW)
    inside = greys_THW[:, top:bottom, left:right]
    small = np.stack([cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for grey in inside])
    weight_PT = _means(np.asarray(edge_s, float), np.linspace(edge_s[0], edge_s[-1], PARTS + 1))
    return np.rint(np.tensordot(weight_PT, small.astype(float), axes=1)).astype(np.uint8).tobytes()


def picture(greys_THW: np.ndarray) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the picture between black bars; the whole frame where little would be left."""
    height_px, width_px = greys_THW.shape[1:]
    is_lit_HW = greys_THW.max(0) > BLACK_LEVEL
    lit = [np.flatnonzero(is_lit_HW.mean(axis) > 0.1) for axis in (1, 0)]
    if min(map(len, lit)) == 0:
        return 0, height_px, 0, width_px
    (top, bottom), (left, right) = ((int(axis[0]), int(axis[-1]) + 1) for axis in lit)
    if (bottom - top) * 2 < height_px or (right - left) * 2 < width_px:
        return 0, height_px, 0, width_px
    return top, bottom, left, right


def near_duplicates(prints: Sequence[Print]) -> dict[str, str]:
    """The clips that are copies, by id, each with the id of its original, which is no copy itself.

    Depends on the set of clips alone, not on their order.
    """
    ranked = sorted(prints, key=lambda p: (p.rank, p.clip_id))
    originals: dict[str, str] = {}
    for i, before in enumerate(_candidates(ranked)):
        for j in before:
            if ranked[j].clip_id not in originals and similarity(ranked[j].parts, ranked[i].parts) >= MIN_SIMILARITY:
                originals[ranked[i].clip_id] = ranked[j].clip_id
                break
    return originals


def similarity(one: bytes, two: bytes) -> float:
    """0..1: how well the one, or a part of it, is explained by the other."""
    a, b = _parts(one), _parts(two)
    return max(0.0, _lies_in(a, b), _lies_in(b, a))


def _candidates(prints: Sequence[Print]) -> list[list[int]]:
    """For each clip those before it that are about as long and look alike over 8x8 pixels."""
    order = sorted(range(len(prints)), key=lambda i: prints[i].length_s)
    length_s = [prints[i].length_s for i in order]
    wholes = [_whole(_windows(_parts(prints[i].parts))) for i in order]
    stands, changes = (np.concatenate([whole[k] for whole in wholes] or [np.empty((0, 0))]) for k in (0, 1))
    found: list[set[int]] = [set() for _ in prints]
    for i, j in zip(order, range(len(order)), strict=True):
        first = bisect_left(length_s, length_s[j] / MAX_LENGTH_RATIO)
        last = bisect_right(length_s, length_s[j] * MAX_LENGTH_RATIO)
        alike = _agreement(_windows(_parts(prints[i].parts)), (stands[first:last], changes[first:last])).max(0)
        for other in (order[first + int(k)] for k in np.flatnonzero(alike >= MIN_COARSE)):
            if other != i:
                found[max(i, other)].add(min(i, other))
    return [sorted(before) for before in found]


def _agreement(one: Vectors, two: Vectors) -> np.ndarray:
    """(N, M): the lesser of both correlations; of what stands alone where in one of the two nothing changes."""
    stands = one[0] @ two[0].T
    is_still = (one[1] == 0).all(1, keepdims=True) | (two[1] == 0).all(1, keepdims=True).T
    return np.where(is_still, stands, np.minimum(stands, one[1] @ two[1].T))


def _windows(parts: np.ndarray) -> Vectors:
    """All windows of a fingerprint at 8x8 pixels."""
    grid = AXIS_MEANS @ parts @ AXIS_MEANS.T
    views = grid.reshape(PARTS, len(SPANS), COARSE_PX, len(SPANS), COARSE_PX).transpose(1, 3, 0, 2, 4)
    views = np.stack([views, views[..., ::-1]]).reshape(len(WINDOWS), PARTS, -1)
    mean = views.mean(1, keepdims=True)
    return _unit(mean.reshape(len(views), -1)), _unit((views - mean).reshape(len(views), -1))


def _whole(windows: Vectors) -> Vectors:
    """The first one. A copy: a slice would keep all windows alive, .3 MB a clip where all clips are compared."""
    return windows[0][:1].copy(), windows[1][:1].copy()


def _unit(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(1, keepdims=True)
    spread = centred.std(1, keepdims=True)
    return centred / np.where(spread < MIN_SPREAD, np.inf, spread * np.sqrt(vectors.shape[1]))


def _lies_in(whole: np.ndarray, part: np.ndarray) -> float:
    """The lesser correlation of `part` with the window of `whole` that fits it best."""
    at = int(_agreement(_windows(whole), _whole(_windows(part))).argmax())
    seen, is_inside = _aligned(whole, part, WINDOWS[at])
    a, b = (
        np.stack([cv2.GaussianBlur(image, (0, 0), SOFT_PX) for image in film])[:, is_inside] for film in (seen, part)
    )
    stands = _correlation(a.mean(0), b.mean(0))
    change_a, change_b = a - a.mean(0), b - b.mean(0)
    if float((change_a - change_b).std()) <= MAX_NOISE:
        return stands
    return min(stands, _correlation(change_a, change_b))


def _aligned(whole: np.ndarray, part: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """`whole` as `part` shows it, and which pixels of that lie inside; to parts of a pixel where ECC converges."""
    warp = _refined(whole.mean(0), part.mean(0), _warp(window))
    flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (SIDE_PX, SIDE_PX)
    seen = np.stack([cv2.warpAffine(image, warp, size, flags=flags) for image in whole])
    return seen, cv2.warpAffine(np.ones((SIDE_PX, SIDE_PX), np.float32), warp, size, flags=flags) > 0.99


def _refined(whole_HW: np.ndarray, part_HW: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The warp near `start` that fits best; `start` where ECC finds none, or one that is no neighbour of it."""
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    try:
        _, warp = cv2.findTransformECC(
            part_HW, whole_HW, start.copy(), cv2.MOTION_AFFINE, criteria, np.empty(0), 3
        )  # fmt: skip
    except cv2.error:  # it does not converge: nothing to hold on to, or two other pictures
        return start
    corners = np.array([[x, y, 1] for x in (0, SIDE_PX - 1) for y in (0, SIDE_PX - 1)], float)
    moved_px = np.linalg.norm(corners @ (warp - start).T, axis=1).max()
    return warp if moved_px <= MAX_REFINED_PX else start


def _warp(window: Window) -> np.ndarray:
    """Pixels of the part -> pixels of the whole."""
    mirror, y, height, x, width = window
    x_px, y_px = x * SIDE_PX + width / 2 - 0.5, y * SIDE_PX + height / 2 - 0.5
    if mirror:
        return np.array([[-width, 0, x_px + width * (SIDE_PX - 1)], [0, height, y_px]], np.float32)
    return np.array([[width, 0, x_px], [0, height, y_px]], np.float32)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    if min(a.std(), b.std()) < MIN_SPREAD:
        return 0.0
    return float((a * b).mean() / (a.std() * b.std()))


def _means(edges: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """(P, N): weights that average N pieces, from edge to edge, over P parts of the same axis."""
    shared = np.minimum(edges[1:], parts[1:, None]) - np.maximum(edges[:-1], parts[:-1, None])
    weight = np.clip(shared, 0, None)
    return weight / weight.sum(1, keepdims=True)


def _parts(fingerprint: bytes) -> np.ndarray:
    return np.frombuffer(fingerprint, np.uint8).reshape(PARTS, SIDE_PX, SIDE_PX).astype(np.float32)


# (48, 32): the means of eight equal parts of each span.
AXIS_MEANS = np.concatenate(
    [_means(np.arange(SIDE_PX + 1.0), SIDE_PX * np.linspace(at, at + size, COARSE_PX + 1)) for at, size in SPANS]
).astype(np.float32)
