"""decord: frames by their number, without a word on when they are shown. Imported in the decoder child only."""

from collections.abc import Mapping
from typing import ClassVar

import decord
import numpy as np
from decord._ffi.base import DECORDError

from stages.media.decoders import DECORD


class Decord:
    """A film as decord 0.6.0 sees it."""

    name: ClassVar[str] = DECORD
    errors: ClassVar[tuple[type[Exception], ...]] = (DECORDError, RuntimeError, AssertionError, IndexError)

    def __init__(self, path: str) -> None:
        # The least tolerance there is: by default frames that do not decode come back as copies of others.
        self._reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1, fault_tol=1e-6)  # pyright: ignore[reportArgumentType]

    @property
    def n_frames(self) -> int:
        return len(self._reader)

    @property
    def times_s(self) -> Mapping[int, float]:
        """Of all frames: from the packets, as decord reads them."""
        starts = self._reader.get_frame_timestamp(range(self.n_frames))[:, 0]
        return dict(enumerate(starts.tolist()))

    @property
    def seeks_to(self) -> tuple[int, ...] | None:
        """The frames that it counts from after a seek."""
        return tuple(sorted(self._reader.get_key_indices()))

    def frame(self, number: int) -> tuple[np.ndarray, float | None]:
        """uint8 RGB (height, width, 3), upright; no time comes with it."""
        return self._reader[number].asnumpy(), None
