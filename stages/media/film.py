"""Films of our own: frames to H.264 with B-frames, in a file or in memory. The generated world goes through here."""

from collections.abc import Iterable
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np


def write_film(target: Path | BytesIO, frames: Iterable[np.ndarray], *, fps: Fraction, crf: int = 20) -> None:
    """Encodes uint8 RGB frames (H, W, 3), even sides, as an mp4 with B-frames and one-second groups of pictures."""
    with av.open(str(target) if isinstance(target, Path) else target, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast", "bf": "2", "g": str(round(fps)), "threads": "1"}
        for k, image in enumerate(frames):
            if k == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = k, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def round_trip(frames: Iterable[np.ndarray], *, fps: Fraction, crf: int) -> np.ndarray:
    """Frames as they look after encoding and decoding: uint8 frames_THWC RGB."""
    film = BytesIO()
    write_film(film, frames, fps=fps, crf=crf)
    film.seek(0)
    with av.open(film, "r") as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
