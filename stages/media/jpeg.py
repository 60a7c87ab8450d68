"""Frames as JPEG files."""

import numpy as np


def jpeg(frame_HWC: np.ndarray, *, quality: int) -> bytes:
    """A uint8 RGB frame (H, W, 3) as the bytes of a JPEG; raises ValueError where OpenCV cannot."""
    import cv2  # here, so that publishing and verifying need it only where frames are packed

    ok, data = cv2.imencode(".jpg", cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"OpenCV cannot write a JPEG of {frame_HWC.shape}")
    return data.tobytes()
