"""An image as a clip of one frame, so that image sets fit the shard schema.

The mapping: tick 0 is the image, the span is 0 <= t < 1 in a time base of one second, and the plan is that one tick.
Whether a row's medium is an image follows from the suffix of its uri; no column says it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import fsspec
from PIL import Image, UnidentifiedImageError

from schemas.pair import PairClip, PairSource
from stages.base import Resources, Stage
from stages.media.child import ReadError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def is_image(uri: str) -> bool:
    """Whether a row's medium is an image."""
    return Path(uri).suffix.lower() in IMAGE_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class PlanImages(Stage[PairSource, PairClip, None]):
    """Reads an image's bytes for its identity and its header for its size; no pixel is decoded."""

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=0.25, memory_gb=0.5)

    def process(self, _: None, sources: Sequence[PairSource], /) -> list[PairClip]:
        return [_clip(source) for source in sources]


def _clip(source: PairSource) -> PairClip:
    image_id = _image_id(source.location)
    return PairClip(
        uri=source.uri,
        location=source.location,
        span_index=0,
        video_id=image_id,
        clip_id=f"{image_id[:16]}-t0-1",
        start_tick=0,
        end_tick=1,
        time_base_num=1,
        time_base_den=1,
        frame_tick=(0,),
        store_width_px=0,
        store_height_px=0,
        texts=source.texts,
    )


def _image_id(location: str) -> str:
    """The hash of the bytes; raises ReadError where they are no image."""
    try:
        filesystem, path = fsspec.core.url_to_fs(location)
        with filesystem.open(path, "rb") as file:
            image_id = hashlib.sha256(file.read()).hexdigest()
            file.seek(0)
            with Image.open(file):
                return image_id
    except FileNotFoundError as error:
        raise ReadError(f"{location}: no such file; check the input and --videos") from error
    except UnidentifiedImageError as error:
        raise ReadError(f"{location}: is no image that can be read; download it again") from error
