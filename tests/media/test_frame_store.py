"""The store holds what was put, stays under its bound, forgets the least recently used."""

import os
from pathlib import Path

import numpy as np
import pytest

from stages.media.frame_store import FrameStore

SIZE = 4 * 8 * 16 * 3  # bytes of one entry below
HEADER = 128  # of a .npy file


def frames(value: int) -> np.ndarray:
    return np.full((4, 8, 16, 3), value, np.uint8)


def age(root: Path, seconds: int) -> None:
    """Makes every file look older, as time would."""
    for path in root.glob("*.npy"):
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - seconds * 10**9))


def test_gives_back_what_was_put(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, 10**6)
    store.put("v", (1, 2, 3, 4), frames(7))
    stored = store.get("v", (1, 2, 3, 4), 16, 8)
    assert stored is not None
    assert np.array_equal(stored, frames(7))


Key = tuple[str, tuple[int, ...], int, int]


@pytest.mark.parametrize("key", [("w", (1, 2, 3, 4), 16, 8), ("v", (1, 2, 3), 16, 8), ("v", (1, 2, 3, 4), 8, 16)])
def test_another_video_tick_or_size_is_another_entry(key: Key, tmp_path: Path) -> None:
    store = FrameStore(tmp_path, 10**6)
    store.put("v", (1, 2, 3, 4), frames(7))
    assert store.get(*key) is None


def test_bound_holds_and_the_least_recently_used_goes(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, 3 * (SIZE + HEADER))
    for number in range(3):
        store.put(str(number), range(4), frames(number))
        age(tmp_path, 10)
    assert store.get("0", range(4), 16, 8) is not None  # now the most recently used
    for number in (3, 4):
        store.put(str(number), range(4), frames(number))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * (SIZE + HEADER)
        age(tmp_path, 10)
    held = [number for number in range(5) if store.get(str(number), range(4), 16, 8) is not None]
    assert held == [0, 3, 4]


def test_another_process_may_evict(tmp_path: Path) -> None:
    ours, theirs = FrameStore(tmp_path, 10**6), FrameStore(tmp_path, SIZE + HEADER)
    ours.put("a", range(4), frames(1))
    age(tmp_path, 10)
    theirs.put("b", range(4), frames(2))
    assert ours.get("a", range(4), 16, 8) is None
    assert ours.get("b", range(4), 16, 8) is not None


def test_what_alone_exceeds_the_bound_is_not_kept(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, SIZE - 1)
    store.put("a", range(4), frames(1))
    assert store.get("a", range(4), 16, 8) is None
    assert list(tmp_path.iterdir()) == []


def test_wrong_count_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 frames for 3 ticks"):
        FrameStore(tmp_path, 10**6).put("a", range(3), frames(1))
