"""Where data lie: folders of this machine, and stores that fsspec knows, by URL.

What is written is there whole or not at all. On a disk that takes another name, fsync and a rename; a store shows an
object when its PUT has ended, and nothing is renamed there.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from upath import UPath

from pipeline.scratch import scratch_folder

Place = Path | UPath  # a path of this machine, or s3://bucket/folder
TMP = ".tmp"


class NoStore(ValueError):
    """A URL that nothing here can open; the message names the package that is missing."""


class PublishError(RuntimeError):
    """The data set could not be written; the message names the path and the remedy."""


def place(text: str | Path) -> Place:
    """A path as it is, or a URL as a path of its store; raises NoStore. Addresses and credentials are fsspec's."""
    if isinstance(text, Path):
        return text
    text = text.removeprefix("file://")
    if "://" not in text:
        return Path(text)
    try:
        found = UPath(text.rstrip("/"))
        found.fs.invalidate_cache()  # a command sees what was written before it began
    except (ImportError, ValueError) as error:
        extra = " (pip install 'utr-engine[s3]')" if text.startswith(("s3://", "s3a://")) else ""
        raise NoStore(f"{text}: {error}{extra}") from error
    return found


def is_there(path: Place) -> bool:
    """Whether something lies there. `exists` and `is_file` of stores take every error for a no."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def write(to: Place, data: bytes) -> None:
    """Puts a file in its place; it survives kill -9 and a power cut from then on."""
    if not isinstance(to, Path):
        to.fs.pipe_file(to.path, data)
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    tmp = to.with_name(to.name + TMP)
    try:
        with tmp.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        tmp.rename(to)
    except OSError:
        tmp.unlink(missing_ok=True)  # a full disk needs the room
        raise
    settle(to.parent)


def take(file: Path, to: Place) -> None:
    """Moves a local file that is written and synced to its place; `settle` its folder when all are there."""
    if isinstance(to, Path):
        to.parent.mkdir(exist_ok=True)
        file.rename(to)
    else:
        to.fs.put_file(str(file), to.path)
        file.unlink()


def settle(folder: Place) -> None:
    """What was moved in this folder, or removed, survives a power cut."""
    if isinstance(folder, Path):
        fsync(folder)


def fsync(path: Path) -> None:
    """The file or folder survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def staging(out: Place) -> Iterator[Path]:
    """An empty local folder to write in: beside `out`, where a rename is enough; for a store a temporary one."""
    if not isinstance(out, Path):
        with scratch_folder("utr-seal-") as temp:
            yield _inside(temp)
        return
    folder = out / "_work" / "seal"
    with writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not any(folder.parent.iterdir()):  # sealed without a ledger
        folder.parent.rmdir()


@contextmanager
def local_copy(folder: Place) -> Iterator[Path]:
    """The folder itself, made where it is not there; of one in a store its files, in a temporary folder."""
    if isinstance(folder, Path):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with scratch_folder("utr-copy-") as temp:
        copy = _inside(temp)
        with writing(folder):
            if files := folder.fs.find(folder.path, maxdepth=1):
                folder.fs.get(files, [str(copy / PurePosixPath(file).name) for file in files])
        yield copy


def _inside(temp: Path) -> Path:
    """An empty folder in a scratch folder, which holds its lock."""
    folder = temp / "files"
    folder.mkdir()
    return folder


@contextmanager
def writing(path: Place) -> Iterator[None]:
    """Turns what the system or the store says about a write into an error that names the path."""
    try:
        yield
    except store_errors() as error:
        remedy = "Free space" if isinstance(path, Path) else "Check address, credentials and rights"
        raise PublishError(f"cannot write {path}: {error}. {remedy}, or choose another --out.") from error


def store_errors() -> tuple[type[Exception], ...]:
    """What disks and stores raise. botocore's errors are no OSErrors, and are only raised where it is loaded."""
    botocore = sys.modules.get("botocore.exceptions")
    return (OSError, botocore.BotoCoreError) if botocore else (OSError,)
