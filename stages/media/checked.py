"""Frames from a decoder that is not trusted: held against the packet table and, at keyframes, against PyAV.

A decoder that says when each frame is shown is believed frame by frame. One that only counts (decord) is right as long
as it enters a group of pictures at its keyframe and the group is closed: both are checked, for each group that is used.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import groupby, pairwise
from typing import ClassVar, Protocol

import cv2
import numpy as np

from stages.media.child import ReadRefused
from stages.media.facts import Packets
from stages.media.frames import decode_frames, require_frames
from stages.media.packets import is_remote, local_path, opened, read_packets

# Mean of colour levels, 0..255, between two decoders' pictures of one keyframe, in full size. It was 0.0 for decord and
# torchcodec on 43 keyframes of nine films; the next keyframe is 7.8 to 140 away, the next frame 0.4 to 7.
MAX_DIFFERENCE = 1.0


class Foreign(Protocol):
    """A film as another decoder sees it: frames by their number in the order of presentation, from 0."""

    name: ClassVar[str]
    errors: ClassVar[tuple[type[Exception], ...]]  # what it raises where it cannot read on

    def __init__(self, path: str) -> None: ...

    @property
    def n_frames(self) -> int: ...

    @property
    def times_s(self) -> Mapping[int, float]:
        """Presentation times that it states before it decodes, by number."""
        ...

    @property
    def seeks_to(self) -> tuple[int, ...] | None:
        """The numbers that it counts from after a seek; None where its frames carry their times."""
        ...

    def frame(self, number: int) -> tuple[np.ndarray, float | None]:
        """uint8 RGB (height, width, 3), upright, and its time in seconds where it knows."""
        ...


class Disagreement(Exception):
    """What the decoder says, and what the packets or PyAV say."""


def checked_frames(
    location: str, ticks: Sequence[int], width_px: int, height_px: int, kind: type[Foreign]
) -> np.ndarray:
    """The frames with these presentation times, ascending: uint8 RGB (T, height, width, 3).

    Raises ReadRefused where the decoder disagrees with the packets, or with PyAV about a keyframe.
    """
    packets = read_packets(location)
    require_frames(location, ticks, packets)
    frames_THWC = np.empty((len(ticks), height_px, width_px, 3), np.uint8)
    try:
        if is_remote(location):
            raise Disagreement("is given local files only")
        film = _Checked(location, packets, kind(f"file:{local_path(location)}"))
        for at, image_HWC in enumerate(film.frames([bisect_left(packets.ticks, tick) for tick in ticks])):
            frames_THWC[at] = cv2.resize(image_HWC, (width_px, height_px), interpolation=cv2.INTER_AREA)
    except Disagreement as error:
        raise ReadRefused(f"{location}: {kind.name} {error}; use decoder: pyav") from error
    except kind.errors as error:
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise ReadRefused(f"{location}: {kind.name} cannot read it ({what}); use decoder: pyav") from error
    return frames_THWC


class _Checked:
    """One film in another decoder, read forward; raises Disagreement."""

    def __init__(self, location: str, packets: Packets, film: Foreign) -> None:
        self._location, self._packets, self._film = location, packets, film
        with opened(location) as (_, stream):
            assert stream.time_base is not None
            self._base: Fraction = stream.time_base
        gaps = [b - a for a, b in pairwise(packets.ticks)]
        self._slack_s = float(min(gaps, default=1) * self._base / 2)
        # The first frame that is shown of each group of pictures; an edit list may hide the keyframe itself.
        self._entries = sorted({bisect_left(packets.ticks, tick) for tick in packets.key_ticks})
        self._compare_count()
        for number, time_s in film.times_s.items():
            self._compare_time(number, time_s)
        self._compare_groups()

    def frames(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames with these ascending numbers, each group after a look at how it was entered."""
        for entry, numbers in groupby(wanted, lambda number: self._entries[bisect_right(self._entries, number) - 1]):
            first_HWC = self._frame(entry)
            self._compare_picture(entry, first_HWC)
            for number in numbers:
                yield first_HWC if number == entry else self._frame(number)

    def _frame(self, number: int) -> np.ndarray:
        image_HWC, time_s = self._film.frame(number)
        if time_s is not None:
            self._compare_time(number, time_s)
        return image_HWC

    def _compare_count(self) -> None:
        theirs, ours = self._film.n_frames, len(self._packets.ticks)
        if theirs != ours:
            raise Disagreement(f"counts {theirs} frames where the packets hold {ours}")

    def _compare_time(self, number: int, time_s: float) -> None:
        true_s = float(self._packets.ticks[number] * self._base)
        if abs(time_s - true_s) >= self._slack_s:
            raise Disagreement(f"shows frame {number} at {time_s:.3f} s, the packets at {true_s:.3f} s")

    def _compare_groups(self) -> None:
        """decord skips as many frames as lie between keyframe and target; leading frames are not among those it gets.
        By number: 5 of 60 single requests wrong in H.264 with open groups, 10 of 60 in HEVC."""
        seeks_to = self._film.seeks_to
        if seeks_to is None:
            return
        if self._packets.has_open_gop:
            raise Disagreement("counts frames after a seek, which goes wrong in a film with open groups of pictures")
        if strange := sorted(set(seeks_to) ^ set(self._entries)):
            raise Disagreement(f"and the packets disagree on whether frame {strange[0]} is a keyframe")

    def _compare_picture(self, number: int, image_HWC: np.ndarray) -> None:
        tick = self._packets.ticks[number]
        height_px, width_px, _ = image_HWC.shape
        (ours_HWC,) = decode_frames(self._location, [tick], width_px, height_px)
        difference = float(cv2.absdiff(ours_HWC, image_HWC).mean())
        if difference > MAX_DIFFERENCE:
            at_s = float(tick * self._base)
            raise Disagreement(f"has another picture at {at_s:.3f} s than PyAV: {difference:.0f} of 255 levels apart")
