"""Pictures and words in one space whose answers are known: the space of colours."""

from collections.abc import Sequence

import numpy as np

COLOURS = {"tomato": (1, 0, 0), "leaf": (0, 1, 0), "jay": (0, 0, 1), "rind": (1, 1, 0)}
NAMER = "fake/colours@1 (cc0-1.0; none)"


class FakeEmbedder:
    """A picture is the mean colour of its middle, a text that of the thing which it names."""

    id = NAMER
    scale = 20.0

    def __init__(self) -> None:
        self.asked: list[int] = []  # pictures of each call

    def pictures(self, pictures_HWC: Sequence[np.ndarray], /) -> np.ndarray:
        self.asked.append(len(pictures_HWC))
        return _unit(np.array([_middle(p).mean((0, 1)) for p in pictures_HWC]))

    def texts(self, texts: Sequence[str], /) -> np.ndarray:
        return _unit(np.array([next(rgb for word, rgb in COLOURS.items() if word in text) for text in texts]))


def _middle(picture_HWC: np.ndarray) -> np.ndarray:
    height, width = picture_HWC.shape[:2]
    return picture_HWC[height // 3 : -(height // 3), width // 3 : -(width // 3)].astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
