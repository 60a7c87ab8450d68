"""Temporary folders that do not pile up when their process is killed."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = "lock"


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A folder of our own, removed at the end; those of this prefix that killed processes left are removed first.

    Who is alive is told by a lock, which dies with its process: a process id would mean another one in a container
    that shares the temporary directory.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*/{_LOCK}"):
        _remove_abandoned(left)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(lock: Path) -> None:
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
    except OSError:  # in use, gone meanwhile, or another user's
        return
