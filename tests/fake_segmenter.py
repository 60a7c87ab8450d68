"""A segmenter with known answers: it holds a film's true masks, and follows that subject which a box fits best."""

from collections.abc import Mapping, Sequence

import numpy as np

from schemas.clip import Box
from stages.algorithms.mask_tracks import Mask
from tests.scenes import iou

SIZE_HW = (90, 160)
Truth = Sequence[Box | None]  # the box that a subject fills, by frame


def filled(box: Box | None) -> np.ndarray:
    mask_HW = np.zeros(SIZE_HW, bool)
    if box is not None:
        x1, y1, x2, y2 = (round(side) for side in box)
        mask_HW[y1:y2, x1:x2] = True
    return mask_HW


class FakeSession:
    """`late`: frames for which the mask of a subject that came back stays empty. `calls`: what it was asked."""

    def __init__(self, truths: Sequence[Truth], late: int = 0) -> None:
        self._truths, self._late = truths, late
        self._shows: dict[int, int] = {}
        self._begun_at: dict[int, int] = {}
        self.calls: list[tuple[str, int, tuple[int, ...]]] = []

    def step(self, frame: int) -> dict[int, Mask]:
        self.calls.append(("step", frame, tuple(self._shows)))
        return {number: self._mask(number, frame) for number in self._shows}

    def begin(self, frame: int, boxes: Mapping[int, Box]) -> dict[int, Mask]:
        self.calls.append(("begin", frame, tuple(boxes)))
        for number, box in boxes.items():
            fits = [iou(box, truth[frame] or (0, 0, 1e-6, 1e-6)) for truth in self._truths]
            self._shows[number], self._begun_at[number] = int(np.argmax(fits)), frame
        return {number: self._mask(number, frame) for number in boxes}

    def _mask(self, number: int, frame: int) -> Mask:
        truth = self._truths[self._shows[number]]
        absent = [t for t in range(self._begun_at[number], frame + 1) if truth[t] is None]
        is_late = bool(absent) and frame - absent[-1] <= self._late
        return Mask(filled(None if is_late else truth[frame]), 0.9)


class FakeSegmenter:
    """Gives one session, whatever the frames."""

    def __init__(self, session: FakeSession) -> None:
        self.session = session

    def watch(self, frames_THWC: np.ndarray) -> FakeSession:
        return self.session
