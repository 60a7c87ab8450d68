"""Decode the planned frames of a span, or its image, once, and keep them as JPEGs until the set is sealed."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import fsspec
import pyarrow as pa
from PIL import Image, ImageOps

from schemas.pair import PairClip
from stages.base import Resources, Stage
from stages.media.child import Limits, ReadError
from stages.media.jpeg import jpeg
from stages.media.reader import Reader

IMAGE_SIDE_PX = 2304  # longest side of a packed image: six tiles of 384, more than which no checkpoint is shown
PICTURE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # all that PIL raises on bad bytes


@dataclass(frozen=True, kw_only=True)
class PackFrames(Stage[PairClip, PairClip, Reader]):
    """Passes spans on whose frames are in the folder. Another machine's folder is another: see `packed`."""

    folder: str
    quality: int = 90
    timeout_s: float = 600.0
    memory_gb: float = 2.0

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=0.5, memory_gb=1.0)
    operational: ClassVar[frozenset[str]] = frozenset({"folder", "timeout_s", "memory_gb"})

    def open(self) -> Reader:
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        return Reader(Limits(timeout_s=self.timeout_s, memory_gb=self.memory_gb))

    def close(self, reader: Reader) -> None:
        reader.close()

    def process(self, reader: Reader, clips: Sequence[PairClip], /) -> Sequence[PairClip]:
        for clip in clips:
            self._keep(clip, self._encoded(reader, clip))
        return clips

    def packed(self, reader: Reader, clip: PairClip) -> tuple[bytes, ...]:
        """The JPEGs of a span: from the folder, else decoded now. Raises ReadError."""
        try:
            with pa.OSFile(str(self._path(clip))) as file:
                return tuple(pa.ipc.open_file(file).read_all()["jpeg"].to_pylist())
        except (FileNotFoundError, pa.ArrowInvalid):  # made on another machine; torn by a power cut
            return self._encoded(reader, clip)

    def _encoded(self, reader: Reader, clip: PairClip) -> tuple[bytes, ...]:
        if not clip.store_width_px:
            return (_image(clip.location, self.quality),)
        size = clip.store_width_px, clip.store_height_px
        return tuple(jpeg(f, quality=self.quality) for f in reader.frames(clip.location, clip.frame_tick, *size))

    def _keep(self, clip: PairClip, frames: tuple[bytes, ...]) -> None:
        table = pa.table({"jpeg": pa.array(frames, pa.large_binary())})
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".tmp-", delete=False) as file:
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            file.flush()
            Path(file.name).rename(self._path(clip))

    def _path(self, clip: PairClip) -> Path:
        return Path(self.folder) / f"{clip.clip_id}.arrow"


def _image(location: str, quality: int) -> bytes:
    """An upright RGB JPEG: the file's own bytes where it is one already. Raises ReadError."""
    try:
        filesystem, path = fsspec.core.url_to_fs(location)
        data = filesystem.cat_file(path)
        with Image.open(BytesIO(data)) as image:
            is_ready = image.format == "JPEG" and image.mode == "RGB" and not image.getexif()
            image.load()  # what is cut off raises here
            if is_ready and max(image.size) <= IMAGE_SIDE_PX:
                return data
            upright = ImageOps.exif_transpose(image).convert("RGB")
            upright.thumbnail((IMAGE_SIDE_PX, IMAGE_SIDE_PX), Image.Resampling.BICUBIC)
            out = BytesIO()
            upright.save(out, "JPEG", quality=quality)
            return out.getvalue()
    except PICTURE_ERRORS as error:
        raise ReadError(f"{location}: {error}; download the image again") from error
