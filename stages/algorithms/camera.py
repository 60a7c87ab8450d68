"""How the camera moved between grey frames: one affine a step, or an honest "cannot tell". Pure numpy and OpenCV.

For who decides about a clip: `measure_camera` gives the verdict of a list of step speeds.
For who needs single steps: `global_motion(before, after)` maps pixels of `after` to pixels of `before`.
For who needs stable pixels: `chain(steps)` gives, for each frame, the affine that maps its pixels to those of frame 0;
`cv2.warpAffine(frame, as_matrix(path[t]), (width, height))` then lays it over frame 0.

Rules of one step, in this order:
1. Still: at least STILL_SHARE of the corners that can be followed, spread along the rim of the picture, move less than
   STILL_PX: the camera is static, whatever else moves. The affine is exactly the identity.
2. Moved: one similarity transform explains most corners that can be followed, and these are spread likewise.
3. Plain: hardly any texture, most pixels unchanged in every quadrant: static. Nothing in such a picture shows camera
   motion, so motion can only be told relative to the frame.
4. Else unknown. The affine is then the identity, and `is_known` is False.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from schemas.clip import Affine

IDENTITY: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
GRID_CELLS_XY = (12, 8)
CORNERS_PER_CELL = 4
FIRST_PER_CELL = 2  # looked at first
# Smallest eigenvalue of the 5x5 gradient matrix of a frame in 0..1: texture of three grey levels passes, ramps do not.
MIN_CORNER = 2e-6
UNIT_LEVELS = np.arange(256).astype(np.float32) / 255.0
STILL_PX = 0.3
STILL_SHARE = 0.25
ROUND_TRIP_PX = 0.5  # forward and back again must end this near
RANSAC_PX = 1.0
STILL_COVERAGE = 0.1  # of the grid cells
INLIER_SHARE = 0.6
INLIER_COVERAGE = 0.2
INLIER_SHARE_PLAIN = 0.8  # where texture is rare, all of it must agree
PLAIN_COVERAGE = 0.25  # share of cells with texture under which a picture is plain
RIM = 1 / 6  # of width and height, on each side
EXTENT = 0.35  # of width or height that the agreeing corners must span
UNCHANGED_LEVELS = 3
UNCHANGED_SHARE = 0.5
BLACK_LEVEL = 24  # letterbox bars lie under it
MOVING_SPEED = 0.005  # frame diagonals a second: just over STILL_PX in a fifth of a second at 256 px width
MOVING_STEP_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalMotion:
    """The camera's motion between two frames, as far as the picture shows it."""

    affine: Affine  # pixels of the later frame -> pixels of the earlier frame
    is_known: bool


STILL = GlobalMotion(affine=IDENTITY, is_known=True)


def global_motion(before_HW: np.ndarray, after_HW: np.ndarray) -> GlobalMotion:
    """Camera motion between two uint8 grey frames of equal size."""
    if before_HW.shape != after_HW.shape or before_HW.ndim != 2:
        raise ValueError(f"two grey frames of one size are needed, got {before_HW.shape} and {after_HW.shape}")
    shape = (before_HW.shape[0], before_HW.shape[1])
    corners_N2, cell_N, rank_N = _corners(before_HW)
    # Without a pyramid: its coarse levels let a passing subject drag the still corners around it along.
    near = _Tracks(before_HW, after_HW, corners_N2, levels=0)
    still_N, slow_N = np.zeros(len(corners_N2), bool), np.zeros(len(corners_N2), bool)
    still_is_spread = False
    for part_N in (rank_N < FIRST_PER_CELL, rank_N >= FIRST_PER_CELL):  # of a camera that stands, the first are enough
        slow_N |= near.follow(part_N) & (near.shift_px() < STILL_PX)
        still_N |= near.returned(part_N & slow_N)
        still_is_spread = _is_spread(corners_N2[still_N], cell_N[still_N], shape, STILL_COVERAGE)
        if still_is_spread and still_N.mean() >= STILL_SHARE:  # then so it is among those that can be followed
            return STILL
    far = _Tracks(before_HW, after_HW, corners_N2, levels=3)
    found_N = far.returned(far.follow(np.ones(len(corners_N2), bool)))
    # Those that neither finds are noise, or covered.
    followed_N = found_N | still_N | near.returned(near.ok_N & ~found_N & ~slow_N)
    if still_is_spread and _share(still_N, followed_N) >= STILL_SHARE:
        return STILL
    is_plain = _coverage(cell_N[followed_N]) < PLAIN_COVERAGE
    affine, inlier_N = _similarity(corners_N2, far.after_N2, found_N)
    inliers_N2, inlier_share = corners_N2[inlier_N], _share(inlier_N, found_N)
    if is_plain:
        agrees = inlier_share >= INLIER_SHARE_PLAIN and _extent(inliers_N2, shape) >= EXTENT
    else:
        agrees = inlier_share >= INLIER_SHARE and _is_spread(inliers_N2, cell_N[inlier_N], shape, INLIER_COVERAGE)
    if agrees:
        return STILL if mean_shift_px(affine, shape) < STILL_PX else GlobalMotion(affine=affine, is_known=True)
    return STILL if is_plain and _unchanged(before_HW, after_HW) else GlobalMotion(affine=IDENTITY, is_known=False)


def chain(steps: Sequence[Affine]) -> list[Affine]:
    """Paths to frame 0 from steps to the previous frame: one more than there are steps."""
    path = [IDENTITY]
    for step in steps:
        path.append(path[-1] if step == IDENTITY else _compose(path[-1], step))
    return path


def as_matrix(affine: Affine) -> np.ndarray:
    """The (2, 3) float64 matrix that OpenCV takes."""
    return np.asarray(affine, dtype=np.float64).reshape(2, 3)


def mean_shift_px(affine: Affine, shape_hw: tuple[int, int]) -> float:
    """How far the affine moves the corners and the centre of a frame, mean, in pixels."""
    height_px, width_px = shape_hw
    corners = [(0, 0), (width_px, 0), (0, height_px), (width_px, height_px), (width_px / 2, height_px / 2)]
    points_N2 = np.array(corners, dtype=np.float64)
    return float(np.linalg.norm(_apply(affine, points_N2) - points_N2, axis=1).mean())


def step_speed(motion: GlobalMotion, shape_hw: tuple[int, int], step_s: float) -> float | None:
    """Frame diagonals a second, None where the motion is unknown."""
    if not motion.is_known:
        return None
    return mean_shift_px(motion.affine, shape_hw) / float(np.hypot(*shape_hw)) / step_s


def measure_camera(speeds: Sequence[float | None]) -> tuple[str, float | None]:
    """("static" | "moving" | "unknown", median speed of the known steps) of a shot.

    Unknown: fewer than half of the steps are known. Moving: more than MOVING_STEP_SHARE of the known steps are faster
    than MOVING_SPEED.
    """
    known = [speed for speed in speeds if speed is not None]
    median = float(np.median(known)) if known else None
    if not known or 2 * len(known) < len(speeds):
        return "unknown", median
    is_moving = sum(speed > MOVING_SPEED for speed in known) > MOVING_STEP_SHARE * len(known)
    return ("moving" if is_moving else "static"), median


class _Tracks:
    """Where Lucas-Kanade finds corners in `after`; it follows each for itself, so it is asked only for what counts."""

    def __init__(self, before_HW: np.ndarray, after_HW: np.ndarray, corners_N2: np.ndarray, *, levels: int) -> None:
        self._before_HW, self._after_HW, self._levels = before_HW, after_HW, levels
        self._corners_N2 = corners_N2
        self.after_N2 = corners_N2.copy()
        self.ok_N = np.zeros(len(corners_N2), bool)

    def follow(self, mask_N: np.ndarray) -> np.ndarray:
        """Follows these corners; which of them are found, (N,)."""
        found = _lucas_kanade(self._before_HW, self._after_HW, self._corners_N2[mask_N], self._levels)
        self.after_N2[mask_N], self.ok_N[mask_N] = found
        return mask_N & self.ok_N

    def returned(self, mask_N: np.ndarray) -> np.ndarray:
        """Of these corners, which were found, those of which the way back ends where it began, (N,)."""
        back_M2, ok_M = _lucas_kanade(self._after_HW, self._before_HW, self.after_N2[mask_N], self._levels)
        returned_N = mask_N.copy()
        returned_N[mask_N] = ok_M & (np.linalg.norm(back_M2 - self._corners_N2[mask_N], axis=1) < ROUND_TRIP_PX)
        return returned_N

    def shift_px(self) -> np.ndarray:
        """How far each corner went, (N,); 0 where it was not followed."""
        return np.linalg.norm(self.after_N2 - self._corners_N2, axis=1)


def _lucas_kanade(
    from_HW: np.ndarray, to_HW: np.ndarray, points_N2: np.ndarray, levels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where the points went, (N, 2), and which were found, (N,)."""
    if len(points_N2) == 0:
        return points_N2, np.zeros(0, bool)
    points_N12 = points_N2[:, None]
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01)
    moved_N12, ok_N1, _ = cv2.calcOpticalFlowPyrLK(
        from_HW,
        to_HW,
        points_N12,
        points_N12.copy(),
        winSize=(13, 13),
        maxLevel=levels,
        criteria=stop,
        minEigThreshold=1e-6,
        flags=cv2.OPTFLOW_LK_GET_MIN_EIGENVALS,  # instead of a last look at the residuals, which nobody reads
    )
    return moved_N12[:, 0], ok_N1[:, 0] > 0


def _corners(grey_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The strongest corners of each grid cell, (N, 2) float32 x and y in pixels, the cell of each and its rank there.

    The bar is absolute and the same in every cell: a faint background counts as much as a strong foreground.
    """
    height_px, width_px = grey_HW.shape
    strength_HW = cv2.cornerMinEigenVal(cv2.LUT(grey_HW, UNIT_LEVELS), 5)
    peak_HW = (strength_HW == cv2.dilate(strength_HW, np.ones((5, 5), np.uint8))) & (strength_HW > MIN_CORNER)
    peak_HW &= _picture_area(grey_HW)
    y_N, x_N = np.divmod(np.flatnonzero(peak_HW), width_px)
    cell_N = y_N * GRID_CELLS_XY[1] // height_px * GRID_CELLS_XY[0] + x_N * GRID_CELLS_XY[0] // width_px
    order_N = np.lexsort((-strength_HW[y_N, x_N], cell_N))  # stable: of equal ones the upper, then the left one first
    rank_N = np.arange(len(order_N)) - np.searchsorted(cell_N[order_N], cell_N[order_N])
    is_kept_N = rank_N < CORNERS_PER_CELL
    kept_N = order_N[is_kept_N]
    return np.stack([x_N[kept_N], y_N[kept_N]], axis=1).astype(np.float32), cell_N[kept_N], rank_N[is_kept_N]


def _picture_area(grey_HW: np.ndarray) -> np.ndarray:
    """True inside the picture; bars and the rim, where the frame makes corners that never move, are out."""
    mask_HW = np.zeros(grey_HW.shape, bool)
    lit_y = np.flatnonzero(grey_HW.max(axis=1) > BLACK_LEVEL)
    lit_x = np.flatnonzero(grey_HW.max(axis=0) > BLACK_LEVEL)
    rim_px = 3
    if lit_y.size and lit_x.size:
        mask_HW[lit_y[0] + rim_px : lit_y[-1] + 1 - rim_px, lit_x[0] + rim_px : lit_x[-1] + 1 - rim_px] = True
    return mask_HW


def _similarity(corners_N2: np.ndarray, after_N2: np.ndarray, found_N: np.ndarray) -> tuple[Affine, np.ndarray]:
    """The similarity later -> earlier that most found corners follow, and which (N,) they are."""
    inlier_N = np.zeros(len(found_N), bool)
    if found_N.sum() < 6:
        return IDENTITY, inlier_N
    cv2.setRNGSeed(0)
    matrix, inside = cv2.estimateAffinePartial2D(
        after_N2[found_N],
        corners_N2[found_N],
        method=cv2.RANSAC,
        ransacReprojThreshold=RANSAC_PX,
        maxIters=500,
        confidence=0.995,
    )
    if matrix is None:
        return IDENTITY, inlier_N
    inlier_N[np.flatnonzero(found_N)] = inside[:, 0] > 0
    a, b, tx, c, d, ty = (float(v) for v in matrix.ravel())
    return (a, b, tx, c, d, ty), inlier_N


def _unchanged(before_HW: np.ndarray, after_HW: np.ndarray) -> bool:
    """Whether most pixels of every quadrant kept their value."""
    same_HW = cv2.absdiff(before_HW, after_HW) <= UNCHANGED_LEVELS
    middle_y, middle_x = same_HW.shape[0] // 2, same_HW.shape[1] // 2
    halves_y, halves_x = (slice(None, middle_y), slice(middle_y, None)), (slice(None, middle_x), slice(middle_x, None))
    return all(same_HW[y, x].mean() >= UNCHANGED_SHARE for y in halves_y for x in halves_x)


def _is_spread(points_N2: np.ndarray, cell_N: np.ndarray, shape_hw: tuple[int, int], coverage: float) -> bool:
    """Whether the points lie in enough grid cells, and at least two along the rim in each of three quadrants.

    The rim, because there is background there, while a subject that the camera follows fills the middle.
    """
    if _coverage(cell_N) < coverage:
        return False
    sides_2 = np.array([shape_hw[1], shape_hw[0]])
    rim_N2 = (points_N2 < RIM * sides_2) | (points_N2 >= (1 - RIM) * sides_2)
    rim_M2 = points_N2[rim_N2[:, 0] | rim_N2[:, 1]] >= sides_2 / 2
    return int((np.bincount(rim_M2 @ (1, 2), minlength=4) >= 2).sum()) >= 3  # quadrants


def _extent(points_N2: np.ndarray, shape_hw: tuple[int, int]) -> float:
    """The larger of the shares of width and height that the middle four fifths of the points span."""
    if len(points_N2) == 0:
        return 0.0
    low_2, high_2 = np.percentile(points_N2, [10, 90], axis=0)
    return float(((high_2 - low_2) / np.array([shape_hw[1], shape_hw[0]])).max())


def _coverage(cell_N: np.ndarray) -> float:
    """The share of grid cells that occur."""
    return np.count_nonzero(np.bincount(cell_N)) / (GRID_CELLS_XY[0] * GRID_CELLS_XY[1])


def _share(mask_N: np.ndarray, of_N: np.ndarray) -> float:
    return float(mask_N.sum() / of_N.sum()) if of_N.any() else 0.0


def _apply(affine: Affine, points_N2: np.ndarray) -> np.ndarray:
    matrix_23 = as_matrix(affine)
    return points_N2 @ matrix_23[:, :2].T + matrix_23[:, 2]


def _compose(outer: Affine, inner: Affine) -> Affine:
    """The affine that applies `inner` first, then `outer`."""
    product = np.vstack([as_matrix(outer), [0, 0, 1]]) @ np.vstack([as_matrix(inner), [0, 0, 1]])
    a, b, tx, c, d, ty = (float(v) for v in product[:2].ravel())
    return a, b, tx, c, d, ty
