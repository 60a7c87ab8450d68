"""Which videos are done: one file each, whole or absent, under the fingerprint of the plan that made it."""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.collect import Finished
from pipeline.funnel import Funnel
from schemas.outcome import Outcome

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,180}")
_ARROW, _TMP, _META = ".arrow", ".tmp", b"utr"


class PlanChanged(RuntimeError):
    """The work folder belongs to another plan."""


class LedgerBusy(RuntimeError):
    """Another build works in this folder now."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A video is done when its file is there, can be read and names this plan.

    Of other files under videos/: what a killed commit left behind (`*.tmp`) and what cannot be read (`*.arrow`, torn)
    is removed on opening, and its video built again; a file of another plan does not count and is overwritten by a
    commit; whatever has another suffix is left alone.
    """

    work_dir: Path
    plan_fingerprint: str
    plan_lines: tuple[str, ...]

    @contextmanager
    def open(self) -> Iterator["Ledger"]:
        """Hold the folder for one build; raises LedgerBusy or PlanChanged, and then changes nothing."""
        self._videos.mkdir(parents=True, exist_ok=True)
        with _locked(self.work_dir / "lock"):
            self._claim()
            for path in self._videos.iterdir():
                if path.suffix == _TMP or (path.suffix == _ARROW and _meta(path) is None):
                    path.unlink()
            yield self

    def done(self) -> dict[str, str]:
        """The videos that were finished under this plan: their ids, and what was asked of them when they were."""
        found = ((path.stem, _meta(path)) for path in sorted(self._videos.glob(f"*{_ARROW}")))
        return {video_id: meta["asked"] for video_id, meta in found if meta and meta["plan"] == self.plan_fingerprint}

    def commit(self, video_id: str, video: Finished, *, asked: str) -> None:
        """Write a finished video: after this call it survives kill -9 and a power cut.

        `asked` names what the work was done on beside the bytes: uri and given texts may change while the bytes stay.
        """
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
        _write(self._path(video_id), sink.getvalue().to_pybytes())

    def read(self, video_id: str) -> Finished:
        """What was committed, value for value; raises KeyError where the video is not done."""
        path = self._path(video_id)
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
        return self.work_dir / "videos"

    def _path(self, video_id: str) -> Path:
        if not _ID.fullmatch(video_id):
            raise ValueError(f"{video_id!r} cannot name a file: letters, digits, '.', '_' and '-' only")
        return self._videos / f"{video_id}{_ARROW}"

    def _is_ours(self, path: Path) -> bool:
        meta = _meta(path)
        return meta is not None and meta["plan"] == self.plan_fingerprint

    def _claim(self) -> None:
        """Take an unused folder for this plan, or check that it is this plan's."""
        path = self.work_dir / "plan.json"
        if not path.exists():
            text = json.dumps({"fingerprint": self.plan_fingerprint, "lines": list(self.plan_lines)}, indent=1)
            _write(path, text.encode())
            return
        old = json.loads(path.read_text())
        if old["fingerprint"] != self.plan_fingerprint:
            raise PlanChanged(
                f"{self.work_dir} was begun with another recipe (plan {old['fingerprint']}, now "
                f"{self.plan_fingerprint}). What differs, old -> new:\n"
                + "\n".join(f"  {line}" for line in difference(old["lines"], self.plan_lines))
                + f"\nBuild with the old recipe, choose another --out, or delete {self.work_dir} to begin anew."
            )


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
def _locked(path: Path) -> Iterator[None]:
    """The lock dies with its process, whatever kills it, so a pid left in the file by a dead one is no obstacle."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise LedgerBusy(
                f"{path.parent} is in use by process {owner}. Wait for it, end it, or choose another --out."
            ) from error
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


def _write(path: Path, data: bytes) -> None:
    """The file is there whole or not at all, and stays there."""
    tmp = path.with_name(path.name + _TMP)
    with tmp.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    tmp.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
