"""Pictures of samples: packed as JPEGs in clips/, or decoded from the films. Both give the planned frames."""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, Protocol

import fsspec
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.formats.read import locate
from pipeline.sources import SourceError
from pipeline.storage import store_errors
from pipeline.train.example import Media, Shape
from pipeline.train.mix import DataSet
from pipeline.train.pictures import Filmed, Unreadable, media_of, pictured, rgb, shape_of, size_of
from pipeline.train.row_groups import RowGroups
from stages.decode_clip import store_size
from stages.media.child import ReadError
from stages.media.facts import StreamFacts
from stages.media.reader import Reader
from stages.plan_images import is_image

FILM_SIDE_PX = 480  # of decoded frames: as the frame store holds them
KEPT_FACTS = 4096  # films whose size is known


class FrameSource(Protocol):
    """Pictures of the samples of one set. Methods raise Unreadable; without a medium they give None."""

    def shape(self, sample: Filmed, /) -> Shape | None:
        """What the whole plan looks like; no picture is decoded."""
        ...

    def media(self, sample: Filmed, index: Sequence[int], /) -> Media | None:
        """The planned frames with these 0-based numbers."""
        ...

    def close(self) -> None: ...


def frame_source(data_set: DataSet, frames: Literal["packed", "films"]) -> FrameSource:
    if frames == "packed":
        return PackedFrames(data_set)
    return FilmFrames(data_set.manifest.videos_root or "/")


class PackedFrames:
    """clips/*.parquet with `frames_jpeg`: a clip is one row group's read away, and no film is needed."""

    def __init__(self, data_set: DataSet) -> None:
        clips = [s for s in data_set.manifest.shards if s.table == "clips" and s.first_video_id is not None]
        self._folder = data_set.folder
        self._shards = sorted((s.last_video_id or "", s.first_video_id or "", s.path) for s in clips)
        self._rows = RowGroups(data_set.folder, ("clip_id", "frames_jpeg"))
        self._clip_ids: dict[str, pa.ChunkedArray] = {}  # of the files that were opened

    def shape(self, sample: Filmed) -> Shape | None:
        if not sample.uri:
            return None
        size = size_of(self._jpeg(sample)[0].as_py(), sample.clip_id)
        return shape_of(sample, size)

    def media(self, sample: Filmed, index: Sequence[int]) -> Media | None:
        if not sample.uri:
            return None
        packed = self._jpeg(sample)
        pictures = [rgb(packed[k].as_py(), f"frame {k} of {sample.clip_id}") for k in pictured(sample, index)]
        return media_of(sample, pictures, index)

    def close(self) -> None:
        self._rows.close()

    def _jpeg(self, sample: Filmed) -> pa.Array:
        """The packed frames of a sample's clip."""
        try:
            packed = self._find(sample)
        except (pa.ArrowException, *store_errors()) as error:
            raise Unreadable(f"clip {sample.clip_id}: {error}") from error
        if packed is None:
            raise Unreadable(f"clip {sample.clip_id} is not in clips/")
        if len(packed) != len(sample.frame_tick) or not len(packed):
            raise Unreadable(f"clip {sample.clip_id} has {len(packed)} frames, its plan {len(sample.frame_tick)}")
        return packed

    def _find(self, sample: Filmed) -> pa.Array | None:
        if not self._shards:
            raise SourceError(f"{self._folder} has no clips/: {_REPACK}")
        first = bisect_left(self._shards, (sample.video_id,))
        for _, lowest, shard in self._shards[first:]:
            if lowest > sample.video_id:
                return None
            if shard not in self._clip_ids:
                if "frames_jpeg" not in self._rows.names(shard):
                    raise SourceError(f"{self._folder}: clips/ has no frames: {_REPACK}")
                self._clip_ids[shard] = self._rows.column(shard, "clip_id")
            row = pc.index(self._clip_ids[shard], sample.clip_id).as_py()
            if row >= 0:
                return self._rows.row(shard, row)["frames_jpeg"][0].values
        return None


_REPACK = "build or import it with --pack-frames, or write data.frames: films"


class FilmFrames:
    """The films and image files themselves. Costs 0.2 to 25 CPU seconds a sample where packed frames cost 0.05."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._reader = Reader()
        self._facts = lru_cache(KEPT_FACTS)(self._probed)

    def shape(self, sample: Filmed) -> Shape | None:
        if not sample.uri:
            return None
        if is_image(sample.uri):
            return shape_of(sample, size_of(self._bytes(sample), sample.uri))
        width_px, height_px = self._film_size(sample)
        return shape_of(sample, (height_px, width_px))

    def media(self, sample: Filmed, index: Sequence[int]) -> Media | None:
        if not sample.uri:
            return None
        if is_image(sample.uri):
            return media_of(sample, [rgb(self._bytes(sample), sample.uri)], index)
        ticks = [sample.frame_tick[k] for k in pictured(sample, index)]
        once = sorted(set(ticks))  # a decoder goes forward, and shows a frame once
        size = self._film_size(sample)
        try:
            frames_THWC = self._reader.frames(locate(sample.uri, self._root), once, *size)
        except ReadError as error:
            raise Unreadable(str(error)) from error
        return media_of(sample, [frames_THWC[once.index(tick)] for tick in ticks], index)

    def close(self) -> None:
        self._reader.close()

    def _film_size(self, sample: Filmed) -> tuple[int, int]:
        location = locate(sample.uri, self._root)
        try:
            facts = self._facts(location)
        except ReadError as error:
            raise Unreadable(str(error)) from error
        if facts is None:
            raise Unreadable(f"{location}: no stream of moving pictures")
        if facts.video_id != sample.video_id:
            raise Unreadable(f"{location} is not the file that the set was made from")
        return store_size(facts.width_px, facts.height_px, FILM_SIDE_PX)

    def _probed(self, location: str) -> StreamFacts | None:
        return self._reader.probe(location)

    def _bytes(self, sample: Filmed) -> bytes:
        location = locate(sample.uri, self._root)
        try:
            filesystem, path = fsspec.core.url_to_fs(location)
            data = filesystem.cat_file(path)
        except store_errors() as error:
            raise Unreadable(f"{location}: {error}") from error
        if hashlib.sha256(data).hexdigest() != sample.video_id:
            raise Unreadable(f"{location} is not the file that the set was made from")
        return data
