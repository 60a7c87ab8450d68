"""What a picture on disk is to the trainer: upright RGB of one size, with the times that questions write."""

from collections.abc import Sequence
from io import BytesIO
from typing import Literal, Protocol

import numpy as np
from PIL import Image, ImageOps

from pipeline.train.example import Media, Shape
from schemas.time import seconds
from stages.pack_frames import PICTURE_ERRORS
from stages.plan_images import is_image

ORIENTATION = 0x0112  # EXIF; from 5 on the picture lies on its side


class Unreadable(Exception):
    """A sample cannot be read; the message says which part of it, and why."""


class Filmed(Protocol):
    """What pictures are found by; PublishedSample has all of it."""

    @property
    def uri(self) -> str: ...
    @property
    def video_id(self) -> str: ...
    @property
    def clip_id(self) -> str: ...
    @property
    def start_tick(self) -> int: ...
    @property
    def time_base_num(self) -> int: ...
    @property
    def time_base_den(self) -> int: ...
    @property
    def frame_tick(self) -> tuple[int, ...]: ...
    @property
    def frame_order(self) -> tuple[int, ...] | None: ...
    @property
    def mirrored(self) -> bool: ...


def rgb(data: bytes, what: str) -> np.ndarray:
    """An encoded picture, upright: uint8 (H, W, 3)."""
    try:
        with Image.open(BytesIO(data)) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except PICTURE_ERRORS as error:
        raise Unreadable(f"{what}: {error}") from error


def size_of(data: bytes, what: str) -> tuple[int, int]:
    """Height and width of an encoded picture, upright, by its header."""
    try:
        with Image.open(BytesIO(data)) as image:
            is_turned = image.getexif().get(ORIENTATION, 1) >= 5
            return (image.width, image.height) if is_turned else (image.height, image.width)
    except PICTURE_ERRORS as error:
        raise Unreadable(f"{what}: {error}") from error


def pictured(sample: Filmed, index: Sequence[int]) -> list[int]:
    """Which planned frames, 0-based, stand where the sample shows its frames `index`; not the same in a twin."""
    return list(index) if sample.frame_order is None else [sample.frame_order[k] - 1 for k in index]


def _times(sample: Filmed) -> tuple[str, ...]:
    """Of the planned frames from the clip's start, as questions and the scorer write them."""
    base = sample.time_base_num, sample.time_base_den
    return tuple(f"{seconds(tick - sample.start_tick, *base):.2f} s" for tick in sample.frame_tick)


def _kind(sample: Filmed) -> Literal["video", "image"]:
    return "image" if is_image(sample.uri) else "video"


def shape_of(sample: Filmed, size_HW: tuple[int, int]) -> Shape:
    n = len(sample.frame_tick)
    if not n:
        raise Unreadable(f"{sample.uri}: its plan has no frame")
    return Shape(_kind(sample), n, tuple(range(n)), _times(sample), *size_HW)


def media_of(sample: Filmed, frames: list[np.ndarray], index: Sequence[int]) -> Media:
    """`frames`: those of `pictured`, in that order."""
    sizes = {frame.shape for frame in frames}
    if len(sizes) != 1:
        raise Unreadable(f"{sample.uri}: its frames have {len(sizes)} sizes")
    frames_THWC = np.stack(frames)
    if sample.mirrored:
        frames_THWC = np.ascontiguousarray(frames_THWC[:, :, ::-1])
    return Media(_kind(sample), frames_THWC, tuple(index), _times(sample))
