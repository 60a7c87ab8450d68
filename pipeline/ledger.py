"""Which videos are done: one file each, whole or absent, under the fingerprint of the plan that made it."""

import fcntl
import json
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from pipeline.collect import Finished
from pipeline.funnel import Funnel
from pipeline.storage import TMP, Place, is_there, local_copy, write, writing
from schemas.outcome import Outcome

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,180}")
_ARROW, _META = ".arrow", b"utr"


class PlanChanged(RuntimeError):
    """The work folder belongs to another plan."""


class LedgerBusy(RuntimeError):
    """Another build works in this folder now."""


class TakenOver(RuntimeError):
    """Another build was begun in this folder of a store, and has it now."""


def _locked_by_us() -> None:
    """A lock on a disk is ours until we let it go."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A video is done when its file is there, can be read and names this plan.

    Of other files under videos/: what a killed commit left behind (`*.tmp`) and what cannot be read (`*.arrow`, torn)
    is removed on opening, and its video built again; a file of another plan does not count and is overwritten by a
    commit; whatever has another suffix is left alone. Of a ledger in a store a copy is read: one request a video.
    """

    work_dir: Place
    plan_fingerprint: str
    plan_lines: tuple[str, ...]
    check: Callable[[], None] = _locked_by_us  # of an open ledger: raises TakenOver
    copy: Path | None = None  # of videos/, while open

    @contextmanager
    def open(self) -> Iterator["Ledger"]:
        """Hold the folder for one build; raises LedgerBusy or PlanChanged, and then changes nothing; PublishError."""
        self._is_claimed()
        with _held(self.work_dir) as check:
            self._claim()
            with local_copy(self.work_dir / "videos") as videos:
                for path in videos.iterdir():
                    if path.suffix == TMP or (path.suffix == _ARROW and _meta(path) is None):
                        (self.work_dir / "videos" / path.name).unlink()
                        path.unlink(missing_ok=True)
                yield replace(self, check=check, copy=videos)

    def done(self) -> dict[str, str]:
        """The videos that were finished under this plan: their ids, and what was asked of them when they were."""
        found = ((path.stem, _meta(path)) for path in sorted(self._videos.glob(f"*{_ARROW}")))
        return {video_id: meta["asked"] for video_id, meta in found if meta and meta["plan"] == self.plan_fingerprint}

    def commit(self, video_id: str, video: Finished, *, asked: str) -> None:
        """Write a finished video: after this call it survives kill -9 and a power cut.

        `asked` names what the work was done on beside the bytes: uri and given texts may change while the bytes stay.
        Raises PublishError where it cannot be written, TakenOver where the folder is another build's.
        """
        name = _file_name(video_id)
        self.check()
        meta = {
            "plan": self.plan_fingerprint,
            "asked": asked,
            "source_uri": video.source_uri,
            "outcomes": [outcome.to_dict() for outcome in video.outcomes],
            "funnel": video.funnel.to_dict(),
        }
        schema_meta = {**(video.rows.schema.metadata or {}), _META: json.dumps(meta).encode()}
        table = video.rows.replace_schema_metadata(schema_meta)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        data = sink.getvalue().to_pybytes()
        for path in dict.fromkeys((self.work_dir / "videos" / name, self._videos / name)):
            with writing(path):
                write(path, data)

    def read(self, video_id: str) -> Finished:
        """What was committed, value for value; raises KeyError where the video is not done."""
        path = self._videos / _file_name(video_id)
        if not path.exists() or not self._is_ours(path):
            raise KeyError(f"{video_id} is not done in {self.work_dir}")
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        kept = dict(table.schema.metadata)
        meta = json.loads(kept.pop(_META))
        return Finished(
            source_uri=meta["source_uri"],
            rows=table.replace_schema_metadata(kept),
            outcomes=[Outcome(**values) for values in meta["outcomes"]],
            funnel=Funnel.from_dict(meta["funnel"]),
        )

    @property
    def _videos(self) -> Path:
        """Where committed videos are read."""
        if self.copy is None:
            raise ValueError(f"the ledger of {self.work_dir} is not open")
        return self.copy

    def _is_ours(self, path: Path) -> bool:
        meta = _meta(path)
        return meta is not None and meta["plan"] == self.plan_fingerprint

    def _claim(self) -> None:
        """Take an unused folder for this plan."""
        if self._is_claimed():
            return
        path = self.work_dir / "plan.json"
        text = json.dumps({"fingerprint": self.plan_fingerprint, "lines": list(self.plan_lines)}, indent=1)
        with writing(path):
            write(path, text.encode())

    def _is_claimed(self) -> bool:
        """Whether this plan has the folder; raises PlanChanged where another has it."""
        path = self.work_dir / "plan.json"
        if not is_there(path):
            return False
        old = json.loads(path.read_text())
        if old["fingerprint"] != self.plan_fingerprint:
            raise PlanChanged(
                f"{self.work_dir} was begun with another recipe (plan {old['fingerprint']}, now "
                f"{self.plan_fingerprint}). What differs, old -> new:\n"
                + "\n".join(f"  {line}" for line in difference(old["lines"], self.plan_lines))
                + f"\nBuild with the old recipe, choose another --out, or delete {self.work_dir} to begin anew."
            )
        return True


def _file_name(video_id: str) -> str:
    if not _ID.fullmatch(video_id):
        raise ValueError(f"{video_id!r} cannot name a file: letters, digits, '.', '_' and '-' only")
    return f"{video_id}{_ARROW}"


def difference(old: list[str] | tuple[str, ...], new: list[str] | tuple[str, ...]) -> list[str]:
    """Lines "name: old -> new" of what differs between two lists of "name = value"."""
    before, after = (dict(line.split(" = ", 1) for line in lines) for lines in (old, new))
    names = dict.fromkeys([*before, *after])
    lines = [
        f"{name}: {before.get(name, '(absent)')} -> {after.get(name, '(absent)')}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    return lines or ["the order of the stages"]


@contextmanager
def _held(folder: Place) -> Iterator[Callable[[], None]]:
    """Holds a folder for one build; yields the check that it still does."""
    if isinstance(folder, Path):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / "lock"):
            yield _locked_by_us
        return
    # A store has no lock that dies with its process. The newest build has the folder; an older one ends when it looks.
    us = f"process {os.getpid()} on {socket.gethostname()} ({uuid.uuid4().hex})"
    lock = folder / "lock"

    def check() -> None:
        with writing(lock):
            lock.fs.invalidate_cache()
            owner = lock.read_text()
        if owner != us:
            raise TakenOver(f"{folder} was taken over by {owner}. What is finished is kept; wait for that build.")

    with writing(lock):
        write(lock, us.encode())
    yield check


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The lock dies with its process, whatever kills it, so a pid left in the file by a dead one is no obstacle."""
    with ExitStack() as stack:
        with writing(path):
            file = stack.enter_context(path.open("a+"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise LedgerBusy(
                f"{path.parent} is in use by process {owner}. Wait for it, end it, or choose another --out."
            ) from error
        with writing(path):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield
        file.truncate(0)


def _meta(path: Path) -> dict | None:
    """What a video's file says about itself; None where it is torn or not one of ours."""
    try:
        with pa.memory_map(str(path)) as source:
            metadata = pa.ipc.open_file(source).schema.metadata or {}
            return json.loads(metadata[_META])
    except (pa.ArrowInvalid, KeyError, ValueError):
        return None
