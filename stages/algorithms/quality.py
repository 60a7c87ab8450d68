"""What the pictures of a clip are worth: small pure numbers of its tracking frames at a fixed small size.

Each function takes grey frames of `small_greys`, uint8 (T, H, W), longest side 256 px. How well each number tells a
defect from clean film is in benchmarks/results/near_duplicates.md.
"""

from collections.abc import Sequence

import cv2
import numpy as np

SIDE_PX = 256  # the variance of the Laplacian depends on the size: one size for all
FLOW_WIDTH_PX = 128
MAX_STEPS = 16  # between which flow is measured: 1.5 ms each
STILL_WIDTH_PX = 64  # averages of 4x4 pixels: the noise of an encoder goes, a thing that moves by 0.5 px stays
STILL_LEVELS = 3
FROZEN_S = 0.5  # 24 fps shown at 30 repeats single frames; that is no frozen picture
# A picture is black where nearly all of it is: FFmpeg's blackdetect, pixel_black_th and picture_black_ratio_th.
BLACK_PIXEL, BLACK_PICTURE = 0.10, 0.98


def small_greys(frames_THWC: np.ndarray) -> np.ndarray:
    """uint8 (T, H, W): grey frames whose longest side is at most 256 px."""
    height_px, width_px = frames_THWC.shape[1:3]
    scale = min(1.0, SIDE_PX / max(height_px, width_px))
    size = max(8, round(width_px * scale)), max(8, round(height_px * scale))
    greys = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_THWC)
    return np.stack([cv2.resize(grey, size, interpolation=cv2.INTER_AREA) for grey in greys])


def motion(greys_THW: np.ndarray, edge_s: Sequence[float]) -> float:
    """Frame diagonals a second: median over steps of the mean length of the optical flow (DIS). 0 for one frame."""
    narrow = _narrow(greys_THW, FLOW_WIDTH_PX)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    diagonal_px = float(np.hypot(*narrow.shape[1:]))
    steps = np.unique(np.linspace(0, len(narrow) - 2, MAX_STEPS).astype(int)) if len(narrow) > 1 else []
    speeds = [
        float(np.linalg.norm(flow.calc(narrow[t], narrow[t + 1], None), axis=2).mean())  # type: ignore[call-overload]
        / diagonal_px
        / (edge_s[t + 1] - edge_s[t])
        for t in steps
    ]
    return float(np.median(speeds)) if speeds else 0.0


def sharpness(greys_THW: np.ndarray) -> float:
    """Median over frames of the variance of the Laplacian, 0..255 scale. Low: blurred, or with nothing in it."""
    return float(np.median([cv2.Laplacian(grey, cv2.CV_32F).var() for grey in greys_THW]))


def luminance(greys_THW: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of all pixels of all frames, 0..1."""
    return float(greys_THW.mean()) / 255, float(greys_THW.std()) / 255


def black_share(greys_THW: np.ndarray) -> float:
    """Share of frames that are black: 98 % of their pixels are darker than a tenth of white."""
    dark_T = (greys_THW < BLACK_PIXEL * 255).mean((1, 2))
    return float((dark_T >= BLACK_PICTURE).mean())


def frozen_share(greys_THW: np.ndarray, edge_s: Sequence[float]) -> float:
    """Share of the clip's time that lies in stretches of at least half a second in which nothing changes.

    Frame t is shown from `edge_s[t]` to `edge_s[t + 1]`. A frame belongs to a stretch while no pixel differs from the
    stretch's first frame, so that a slow fade is not frozen. A film of a place where nothing happens is.
    """
    narrow = _narrow(greys_THW, STILL_WIDTH_PX).astype(np.int16)
    frozen_s, first = 0.0, 0
    for t in range(1, len(narrow) + 1):
        if t < len(narrow) and np.abs(narrow[t] - narrow[first]).max() <= STILL_LEVELS:
            continue
        length_s = edge_s[t] - edge_s[first]
        if t - first > 1 and length_s >= FROZEN_S:
            frozen_s += length_s
        first = t
    return frozen_s / (edge_s[-1] - edge_s[0])


def _narrow(greys_THW: np.ndarray, width_px: int) -> np.ndarray:
    height_px, own_px = greys_THW.shape[1:]
    if own_px <= width_px:
        return greys_THW
    size = width_px, max(8, round(height_px * width_px / own_px))
    return np.stack([cv2.resize(grey, size, interpolation=cv2.INTER_AREA) for grey in greys_THW])
