"""torchcodec: frames by their number, each with its time. Imported in the decoder child only."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportMissingImports, reportPrivateImportUsage]

from stages.media.decoders import TORCHCODEC


class TorchCodec:
    """A film as torchcodec 0.13 sees it, in exact mode: it scans the packets before it seeks."""

    name: ClassVar[str] = TORCHCODEC
    errors: ClassVar[tuple[type[Exception], ...]] = (RuntimeError, IndexError, ValueError)

    def __init__(self, path: str) -> None:
        self._decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")

    @property
    def n_frames(self) -> int:
        return len(self._decoder)

    @property
    def times_s(self) -> Mapping[int, float]:
        """Of the first frame; the others say their time when they are decoded."""
        begin_s = self._decoder.metadata.begin_stream_seconds
        return {} if begin_s is None else {0: float(begin_s)}

    @property
    def seeks_to(self) -> tuple[int, ...] | None:
        """None: nothing is counted after a seek, frames are known by their times."""
        return None

    def frame(self, number: int) -> tuple[np.ndarray, float | None]:
        """uint8 RGB (height, width, 3), upright, and its presentation time in seconds."""
        frame = self._decoder.get_frame_at(number)
        return frame.data.numpy(), frame.pts_seconds
