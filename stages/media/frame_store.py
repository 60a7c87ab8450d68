"""A bounded store of decoded frames on the local disk, shared by the processes of one machine."""

import hashlib
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from schemas.clip import DecodedClip
from stages.media.child import GB, Limits
from stages.media.decoders import PYAV, release
from stages.media.reader import Reader

ABANDONED_S = 600.0  # a file that is not finished after that never will be

STORE_DIR = str(Path(tempfile.gettempdir()) / f"utr-frames-{os.getuid()}")
STORE_GB = 4.0
PIXELS = 1  # raise it when decoding or resizing begins to give other pixels


class FrameStore:
    """Frames by decoder, video, ticks and size. Holds at most `max_bytes` (and what others write at
    this moment); the least recently used are removed first."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root, self._max_bytes = root, max_bytes
        root.mkdir(parents=True, exist_ok=True)

    def get(
        self, video_id: str, ticks: Sequence[int], width_px: int, height_px: int, decoder: str = PYAV
    ) -> np.ndarray | None:
        """The stored frames (T, height, width, 3), None where they are not (or no longer) here."""
        path = self._path(video_id, ticks, width_px, height_px, decoder)
        try:
            frames_THWC = np.load(path)
            os.utime(path)
        except FileNotFoundError:  # never stored, or evicted by another process at this moment
            return None
        except (ValueError, EOFError):  # torn by a power cut: no loss, it is decoded again
            path.unlink(missing_ok=True)
            return None
        return frames_THWC

    def put(self, video_id: str, ticks: Sequence[int], frames_THWC: np.ndarray, decoder: str = PYAV) -> None:
        """Stores frames, after making room; frames that alone exceed the bound are not kept."""
        n_frames, height_px, width_px, _ = frames_THWC.shape
        if n_frames != len(ticks):
            raise ValueError(f"{n_frames} frames for {len(ticks)} ticks")
        if frames_THWC.nbytes > self._max_bytes:
            return
        self._evict(self._max_bytes - frames_THWC.nbytes)
        path = self._path(video_id, ticks, width_px, height_px, decoder)
        with tempfile.NamedTemporaryFile(dir=self._root, prefix=".tmp-", delete=False) as file:
            try:
                np.save(file, frames_THWC)
                file.flush()
                Path(file.name).rename(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    def _path(self, video_id: str, ticks: Sequence[int], width_px: int, height_px: int, decoder: str) -> Path:
        text = f"{PIXELS}/{release(decoder)}/{video_id}/{width_px}x{height_px}/{','.join(map(str, ticks))}"
        return self._root / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"

    def _evict(self, max_bytes: int) -> None:
        """Removes the files that were not used for longest until `max_bytes` are left; others may remove them too."""
        files: list[tuple[int, int, Path]] = []
        for path in self._root.iterdir():
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            if path.suffix != ".npy" and time.time() - stat.st_mtime < ABANDONED_S:
                continue  # another process is writing it
            files.append((stat.st_mtime_ns, stat.st_size, path))
        held = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if held <= max_bytes:
                return
            path.unlink(missing_ok=True)
            held -= size


class ClipFrames:
    """What stages that look at pixels keep: a store and, where that misses, a decoder child."""

    def __init__(self, store_dir: str, store_gb: float, limits: Limits | None = None) -> None:
        self.reader = Reader(limits)
        self._store = FrameStore(Path(store_dir), int(store_gb * GB))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def load(self, clip: DecodedClip) -> np.ndarray:
        """All tracking frames: uint8 RGB (T, store_height_px, store_width_px, 3)."""
        size = clip.store_width_px, clip.store_height_px
        return self.fetch(clip.video_id, clip.location, clip.track_tick, *size, clip.decoder)

    def plan(self, clip: DecodedClip) -> np.ndarray:
        """The planned frames only: uint8 RGB (P, store_height_px, store_width_px, 3)."""
        return self.load(clip)[list(clip.plan_index)]

    def fetch(
        self,
        video_id: str,
        location: str,
        ticks: Sequence[int],
        width_px: int,
        height_px: int,
        decoder: str = PYAV,
    ) -> np.ndarray:
        """The frames from the store, or decoded now and stored."""
        stored_THWC = self._store.get(video_id, ticks, width_px, height_px, decoder)
        if stored_THWC is not None:
            return stored_THWC
        frames_THWC = self.reader.frames(location, ticks, width_px, height_px, decoder)
        self._store.put(video_id, ticks, frames_THWC, decoder)
        return frames_THWC

    def close(self) -> None:
        """Ends the decoder child; the store stays for others."""
        self.reader.close()
