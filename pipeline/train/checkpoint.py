"""Checkpoints that are whole or are none, and the newest of them again.

    checkpoints/step-00000100.partial/   being written, by all ranks
    checkpoints/step-00000100/           committed: COMMITTED.json has all sizes and hashes, and is written last
    URI/step-00000100/                   the same in a store, which has no rename: COMMITTED.json is put there last

`step-N` is the model after N updates; the next step is N. All methods are collective.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch.distributed as dist

from pipeline.ledger import PlanChanged, difference
from pipeline.storage import Place, fsync, place, write, writing
from pipeline.train.engine import World
from pipeline.train.recipe import Saving

COMMITTED, PARTIAL = "COMMITTED.json", ".partial"
STEP = re.compile(r"step-(\d{8})")


class TornCheckpoint(RuntimeError):
    """Files of a committed checkpoint, or of all of them, are not what was written."""


class NotShared(RuntimeError):
    """Ranks see different files in the run's folder."""


@dataclass(frozen=True, slots=True)
class Committed:
    folder: Path
    step: int
    world: int  # ranks that wrote it
    files: Mapping[str, tuple[int, str]]  # bytes and sha256, by name

    @classmethod
    def read(cls, folder: Path, lines: tuple[str, ...]) -> "Committed":
        """What a folder says of itself; raises PlanChanged where another run wrote it, and TornCheckpoint."""
        told = _told((folder / COMMITTED).read_bytes())
        if tuple(told["lines"]) != lines:
            differs = "\n".join(f"  {line}" for line in difference(told["lines"], list(lines)))
            raise PlanChanged(
                f"{folder} is of another run. What differs, old -> new:\n{differs}\nGo back to the old recipe and "
                "data, or choose another --out."
            )
        return cls(folder, told["step"], told["world"], {name: tuple(facts) for name, facts in told["files"].items()})

    def damage(self, names: list[str]) -> list[str]:
        """What is wrong with these files, in words."""
        found = []
        for name in names:
            path, (size, sha256) = self.folder / name, self.files[name]
            if not path.is_file() or path.stat().st_size != size:
                held = path.stat().st_size if path.is_file() else "no"
                found.append(f"{name} has {held} bytes, {size} were written")
            elif hash_of(path) != sha256:
                found.append(f"{name} has other bytes than were written")
        return found


class Checkpoints:
    """Those of one run."""

    def __init__(self, run: Path, saving: Saving, lines: tuple[str, ...], world: World) -> None:
        self.root, self._keep, self._lines, self.world = run / "checkpoints", saving.keep, lines, world
        self._store: Place | None = place(saving.uri) if saving.uri else None

    def newest(self) -> Committed | None:
        """The newest that is whole, fetched where only the store has a whole one; None where there is none.

        A damaged one is passed over with a warning; raises TornCheckpoint where all are damaged, PlanChanged where one
        is of another run.
        """
        stored = _steps(self._store) if self._store is not None else []
        here, there = self._told_by_first((_steps(self.root), stored))
        torn = []
        for step in sorted({*here, *there}, reverse=True):
            found = self._checked(step, fetch=step not in here)
            if isinstance(found, str) and step in here and step in there:
                warnings.warn(f"damaged, the store's copy is taken: {found}", stacklevel=2)
                found = self._checked(step, fetch=True)
            if isinstance(found, Committed):
                return found
            torn.append(found)
            warnings.warn(f"damaged, an older checkpoint is taken: {found}", stacklevel=2)
        if torn:
            torn.append(f"No checkpoint is whole: remove {self.root} to train from step 0.")
            raise TornCheckpoint("\n".join(torn))
        return None

    def save(self, engine: Any, step: int) -> None:
        """Commits the model after so many updates, copies it to the store, and leaves the newest K."""
        final = self.root / _name(step)
        partial = final.with_name(final.name + PARTIAL)
        with writing(final):
            if self.world.is_first:
                shutil.rmtree(partial, ignore_errors=True)
            dist.barrier()
            engine.save_checkpoint(str(self.root), partial.name, client_state={"iteration": step}, save_latest=False)
            files = self._settled(partial)
            if self.world.is_first:
                facts = {"step": step, "world": self.world.size, "lines": self._lines, "files": files}
                write(partial / COMMITTED, json.dumps(facts, indent=1).encode())
                _remove(final)  # one that was passed over because it was damaged
                partial.rename(final)
                fsync(self.root)
            dist.barrier()
        if self._store is not None:
            with writing(self._store):
                self._copy(final, self._store / final.name, files)
        if self.world.is_first:
            self._prune(step)

    def _checked(self, step: int, *, fetch: bool) -> Committed | str:
        """One of ours that is whole, as all ranks see it; else what is wrong with it."""
        folder, found = self.root / _name(step), None
        try:
            if fetch:
                self._fetch(step)
            found = Committed.read(folder, self._lines)
            own = found.damage(self._own(found.files))
        except TornCheckpoint as error:
            own = [str(error)]
        damage = "; ".join(dict.fromkeys(line for lines in self._from_all(own) for line in lines))
        return found if found and not damage else f"{folder}: {damage}"

    def _settled(self, folder: Path) -> dict[str, tuple[int, str]]:
        """Size and hash of all files, which are on the disk: each rank sees to a share of them."""
        names = sorted(path.name for path in folder.iterdir())
        own = {}
        for name in names[self.world.rank :: self.world.size]:
            fsync(folder / name)
            own[name] = ((folder / name).stat().st_size, hash_of(folder / name))
        everyone = self._from_all((names, own))
        if any(theirs != names for theirs, _ in everyone):
            raise NotShared(f"ranks see different files in {folder}: the run's folder must be one that all nodes share")
        return {name: facts for _, theirs in everyone for name, facts in theirs.items()}

    def _copy(self, folder: Path, to: Place, files: Mapping[str, Any]) -> None:
        for name in self._own(files):
            _put(folder / name, to / name)
        dist.barrier()
        if self.world.is_first:
            _put(folder / COMMITTED, to / COMMITTED)

    def _fetch(self, step: int) -> None:
        """Puts a checkpoint of the store in the place of ours."""
        assert self._store is not None
        final = self.root / _name(step)
        theirs, partial = self._store / final.name, final.with_name(final.name + PARTIAL)
        marker = (theirs / COMMITTED).read_bytes()
        if self.world.is_first:
            shutil.rmtree(partial, ignore_errors=True)  # a killed run may have left files that this one lacks
            partial.mkdir(parents=True)
        dist.barrier()
        for name in self._own(_told(marker)["files"]):
            with suppress(FileNotFoundError):  # counts as damage
                _get(theirs / name, partial / name)
        dist.barrier()
        if self.world.is_first:
            write(partial / COMMITTED, marker)
            _remove(final)
            partial.rename(final)
        dist.barrier()

    def _prune(self, step: int) -> None:
        """Removes old checkpoints, and what killed runs left of others."""
        for where in (self.root, *([self._store] if self._store is not None else [])):
            kept = {_name(s) for s in sorted(_steps(where))[-self._keep :]} | {_name(step)}
            for path in [path for path in where.iterdir() if STEP.match(path.name)]:
                if path.name not in kept:
                    _remove(path)

    def _own(self, names: Mapping[str, Any]) -> list[str]:
        """The share of the files that this rank sees to."""
        return sorted(names)[self.world.rank :: self.world.size]

    def _told_by_first(self, value: Any) -> Any:
        told = [value]
        dist.broadcast_object_list(told, src=0)
        return told[0]

    def _from_all(self, value: Any) -> list[Any]:
        told: list[Any] = [None] * self.world.size
        dist.all_gather_object(told, value)
        return told


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _told(marker: bytes) -> dict[str, Any]:
    """What COMMITTED.json says; raises TornCheckpoint where it was cut off."""
    try:
        told = json.loads(marker)
        return {key: told[key] for key in ("step", "world", "lines", "files")}
    except (ValueError, TypeError, KeyError) as error:
        raise TornCheckpoint(f"{COMMITTED} cannot be read: {error!r}") from error


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _steps(where: Place) -> list[int]:
    """Of committed checkpoints."""
    if isinstance(where, Path):
        found = [path.parent.name for path in where.glob(f"step-*/{COMMITTED}")]
    else:
        where.fs.invalidate_cache()
        found = [PurePosixPath(str(path)).parent.name for path in where.fs.glob(f"{where.path}/step-*/{COMMITTED}")]
    return [int(match[1]) for name in found if (match := STEP.fullmatch(name))]


def _put(file: Path, to: Place) -> None:
    if isinstance(to, Path):
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)
        fsync(to)
    else:
        to.fs.put_file(os.fspath(file), to.path)


def _get(file: Place, to: Path) -> None:
    if isinstance(file, Path):
        shutil.copyfile(file, to)
    else:
        file.fs.get_file(file.path, os.fspath(to))


def _remove(folder: Place) -> None:
    """It is no checkpoint from the first moment on."""
    (folder / COMMITTED).unlink(missing_ok=True)
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.fs.rm(folder.path, recursive=True)
