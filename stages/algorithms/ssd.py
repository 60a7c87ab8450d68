"""From an SSD head's numbers to boxes: anchors, suppression of doubles, and back into the frame. Pure numpy."""

from dataclasses import dataclass

import cv2
import numpy as np
import supervision as sv

CENTRE_VARIANCE, SIZE_VARIANCE = 10.0, 5.0  # the box coder of SSD (Liu et al. 2016) as TensorFlow and Caffe write it
SAME_BOX_IOU = 0.5  # two boxes of one label
SAME_THING_IOU = 0.8  # of two labels: a truck that is called a car, too; a rider and the bicycle overlap less
PAD = 114  # the grey that detectors with letterboxed input are trained with
RESIZES = ("stretch", "letterbox")


@dataclass(frozen=True, slots=True)
class Placement:
    """How a frame lies in the input: input pixel = frame pixel * scale + offset."""

    scale_x: float
    scale_y: float
    left_px: int
    top_px: int

    def back(self, boxes_N4: np.ndarray) -> np.ndarray:
        """Boxes x1, y1, x2, y2 in pixels of the input, in pixels of the frame."""
        offset = np.array([self.left_px, self.top_px, self.left_px, self.top_px], np.float64)
        return (boxes_N4 - offset) / np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y], np.float64)


def fitted(frame_HWC: np.ndarray, width_px: int, height_px: int, resize: str) -> tuple[np.ndarray, Placement]:
    """The frame in the input's size, stretched or, in its own shape, on grey; and where it lies there."""
    frame_height_px, frame_width_px = frame_HWC.shape[:2]
    if resize == "stretch":
        image = cv2.resize(frame_HWC, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
        return image, Placement(width_px / frame_width_px, height_px / frame_height_px, 0, 0)
    scale = min(width_px / frame_width_px, height_px / frame_height_px)
    inner_width_px, inner_height_px = round(frame_width_px * scale), round(frame_height_px * scale)
    left_px, top_px = (width_px - inner_width_px) // 2, (height_px - inner_height_px) // 2
    image = np.full((height_px, width_px, 3), PAD, np.uint8)
    image[top_px : top_px + inner_height_px, left_px : left_px + inner_width_px] = cv2.resize(
        frame_HWC, (inner_width_px, inner_height_px), interpolation=cv2.INTER_LINEAR
    )
    # Rounded to whole pixels, so each axis has a scale of its own.
    return image, Placement(inner_width_px / frame_width_px, inner_height_px / frame_height_px, left_px, top_px)


def decoded(codes_N4: np.ndarray, anchors_N4: np.ndarray) -> np.ndarray:
    """Box codes against anchors (both y before x, the anchors' corners in 0..1) as x1, y1, x2, y2 in 0..1."""
    top_N, left_N, bottom_N, right_N = anchors_N4.T
    height_N, width_N = bottom_N - top_N, right_N - left_N
    y_N = codes_N4[:, 0] / CENTRE_VARIANCE * height_N + (top_N + bottom_N) / 2
    x_N = codes_N4[:, 1] / CENTRE_VARIANCE * width_N + (left_N + right_N) / 2
    half_h_N = np.exp(codes_N4[:, 2] / SIZE_VARIANCE) * height_N / 2
    half_w_N = np.exp(codes_N4[:, 3] / SIZE_VARIANCE) * width_N / 2
    return np.stack([x_N - half_w_N, y_N - half_h_N, x_N + half_w_N, y_N + half_h_N], axis=1)


def best(boxes_N4: np.ndarray, scores_N: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """Indices of the boxes that stay, best first: one for each subject, of its label and then of all labels."""
    order = np.lexsort((labels_N, -scores_N))
    for threshold, kinds_N in ((SAME_BOX_IOU, labels_N), (SAME_THING_IOU, np.zeros_like(labels_N))):
        rows = np.column_stack([boxes_N4[order], scores_N[order], kinds_N[order]]).astype(np.float64)
        order = order[sv.box_non_max_suppression(rows, threshold)] if len(order) else order
    return order
