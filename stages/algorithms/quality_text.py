"""How much of the picture is text that was laid over it: titles, subtitles, watermarks. Classical, no weights."""

import cv2
import numpy as np

MIN_CONTRAST = 48  # grey levels over a 3x3 neighbourhood, in three frames of four: overlays are made to be read
MIN_HEIGHT_PX, MAX_HEIGHT_SHARE = 6, 0.3  # of a line
MIN_ASPECT = 1.5  # a line is wider than it is high: single letters do not count
MIN_RIMS = 0.35  # share of a line's box that lies at steep edges
MIN_CROSSINGS = 2.0  # of the mean level by a row through the line, in line heights: a letter has two to four
GAP_SHARE = 0.025  # of the longest side: letters and words this near are one line


def text_share(greys_THW: np.ndarray) -> float:
    """Share of the picture in boxes of lines of text that stay in place in at least three quarters of the frames.

    Some grey frames of a clip, uint8, longest side about 480 px. A line is where steep edges stand still close together
    and each row crosses many strokes. Not seen: text that moves or is shown for less, that is turned, lower than about
    3 % of the picture, faint, or a single letter. Taken for text: signs, fences and blinds of the scene, where the
    camera stands.
    """
    kernel = np.ones((3, 3), np.uint8)
    rims = np.stack([cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, kernel) for grey in greys_THW])
    steady_HW = (np.percentile(rims, 25, axis=0) >= MIN_CONTRAST).astype(np.uint8)
    usual_HW = np.median(greys_THW, axis=0)
    height_px, width_px = steady_HW.shape
    gap_px = max(3, round(GAP_SHARE * max(height_px, width_px)))
    joined = cv2.morphologyEx(steady_HW, cv2.MORPH_CLOSE, np.ones((3, gap_px), np.uint8))
    _, _, boxes, _ = cv2.connectedComponentsWithStats(joined)
    covered = 0
    for x, y, width, height, _ in boxes[1:]:
        box = np.s_[y : y + height, x : x + width]
        if height <= MAX_HEIGHT_SHARE * height_px and _is_line(steady_HW[box], usual_HW[box]):
            covered += int(width) * int(height)
    return covered / (height_px * width_px)


def _is_line(rims_HW: np.ndarray, grey_HW: np.ndarray) -> bool:
    """Whether a box of steep edges looks like letters in a row."""
    height_px, width_px = rims_HW.shape
    if height_px < MIN_HEIGHT_PX or width_px < MIN_ASPECT * height_px or rims_HW.mean() < MIN_RIMS:
        return False
    middle = grey_HW[height_px // 4 : height_px - height_px // 4]
    crossings = float((np.diff(middle > middle.mean(), axis=1)).sum(1).mean())
    return crossings * height_px >= MIN_CROSSINGS * width_px
