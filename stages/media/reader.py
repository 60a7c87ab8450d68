"""Videos as numbers and frames, read in a child process that can be killed."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np

from stages.media.child import Child, Limits
from stages.media.decoders import PYAV
from stages.media.facts import Packets, Scan, ScanOptions, StreamFacts
from stages.media.policies import DROP


class Reader:
    """Holds one decoder child. Every method raises ReadError with the file, the cause and the remedy."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._child = Child(limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def probe(self, location: str, on_corrupt: str = DROP) -> StreamFacts | None:
        """What packets and bytes say; None where the file holds no moving picture.

        "drop": a file that is cut off is an error. "prefix": of a damaged film the frames before the damage count.
        """
        return self._child.call("probe", location, on_corrupt)

    def packets(self, location: str) -> Packets:
        """The presentation times of all presentable frames."""
        return self._child.call("packets", location)

    def scan(self, location: str, n_frames: int, options: ScanOptions | None = None) -> Scan:
        """Pass 1 over the `n_frames` that were probed; an error where fewer decode."""
        return self._child.call("scan", location, n_frames, options or ScanOptions())

    def frames(
        self, location: str, ticks: Sequence[int], width_px: int, height_px: int, decoder: str = PYAV
    ) -> np.ndarray:
        """Exactly the frames with these ascending ticks: uint8 RGB (T, height, width, 3), upright.

        Raises ReadRefused where a decoder other than PyAV is wrong about the file.
        """
        return self._child.call("frames", location, tuple(ticks), width_px, height_px, decoder)

    @property
    def pid(self) -> int | None:
        """The child that the last call used, None where there is none."""
        return self._child.pid

    def close(self) -> None:
        """Ends the child."""
        self._child.close()
