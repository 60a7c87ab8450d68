"""A checkpoint is whole or none, whenever its writer was killed, and belongs to one run."""

import json
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from pipeline.ledger import PlanChanged
from pipeline.storage import place
from pipeline.train.checkpoint import COMMITTED, Checkpoints, Committed, TornCheckpoint
from pipeline.train.engine import World
from pipeline.train.recipe import Saving

LINES = ("seed = 1", "optim.lr = 0.1")
FILES = ("model.pt", "optim_0.pt", "optim_1.pt")


class Engine:
    """Writes what it is at; may be killed after a number of files."""

    def __init__(self, kill_after: int | None = None) -> None:
        self.kill_after = kill_after

    def save_checkpoint(self, root: str, tag: str, *, client_state: dict[str, Any], save_latest: bool) -> None:
        folder = Path(root, tag)
        folder.mkdir(parents=True)
        for k, name in enumerate(FILES):
            if k == self.kill_after:
                (folder / name).write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            (folder / name).write_bytes(f"{name} after {client_state['iteration']}".encode() * 100)


@pytest.fixture
def alone() -> Iterator[World]:
    ours = not dist.is_initialized()  # another test may have trained in this process
    if ours:
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    yield World(0, 1, torch.device("cpu"))
    if ours:
        dist.destroy_process_group()


def of(
    run: Path, world: World, *, keep: int = 2, uri: str | None = None, lines: tuple[str, ...] = LINES
) -> Checkpoints:
    return Checkpoints(run, Saving(keep=keep, uri=uri), lines, world)


def names(folder: Any) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def newest(saved: Checkpoints) -> Committed:
    found = saved.newest()
    assert found is not None
    return found


def test_commits_what_was_written_and_keeps_the_newest(tmp_path: Path, alone: World):
    saved = of(tmp_path, alone)
    assert saved.newest() is None
    for step in (10, 20, 30):
        saved.save(Engine(), step)
    assert names(saved.root) == ["step-00000020", "step-00000030"]
    found = newest(saved)
    assert (found.step, found.world, sorted(found.files)) == (30, 1, list(FILES))
    assert found.files["model.pt"][0] == len("model.pt after 30") * 100


@pytest.mark.parametrize("kill_after", [0, 1, 2])
def test_a_save_killed_within_is_none(tmp_path: Path, alone: World, kill_after: int):
    """kill -9 while a file is half written; the next run goes on before it, and saves over it."""
    saved = of(tmp_path, alone)
    saved.save(Engine(), 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: the child only writes
        pid = os.fork()
    if not pid:
        Engine(kill_after).save_checkpoint(
            str(saved.root), "step-00000020.partial", client_state={"iteration": 20}, save_latest=False
        )
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    assert "step-00000020.partial" in names(saved.root)
    assert newest(saved).step == 10
    saved.save(Engine(), 20)
    assert names(saved.root) == ["step-00000010", "step-00000020"]
    assert newest(saved).step == 20


def test_all_files_but_the_last_rename_is_none(tmp_path: Path, alone: World):
    saved = of(tmp_path, alone)
    saved.save(Engine(), 10)
    saved.save(Engine(), 20)
    (saved.root / "step-00000020").rename(saved.root / "step-00000020.partial")
    assert newest(saved).step == 10


@pytest.mark.parametrize("how", ["shorter", "changed", "gone"])
def test_a_damaged_one_is_passed_over_and_said(tmp_path: Path, alone: World, how: str):
    saved = of(tmp_path, alone)
    saved.save(Engine(), 10)
    saved.save(Engine(), 20)
    file = saved.root / "step-00000020" / "optim_1.pt"
    data = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(data[:-1] if how == "shorter" else b"?" + data[1:])
    with pytest.warns(UserWarning, match=r"step-00000020: optim_1.pt has"):
        assert newest(saved).step == 10
    saved.save(Engine(), 20)  # where training comes again
    assert newest(saved).step == 20


def test_no_whole_one_is_an_error_not_a_start_from_nothing(tmp_path: Path, alone: World):
    saved = of(tmp_path, alone)
    saved.save(Engine(), 10)
    (saved.root / "step-00000010" / "model.pt").unlink()
    told = r"(?s)model.pt has no bytes.*to train from step 0"
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(TornCheckpoint, match=told):
        saved.newest()


def test_another_run_is_refused_by_what_differs(tmp_path: Path, alone: World):
    of(tmp_path, alone).save(Engine(), 10)
    with pytest.raises(PlanChanged, match=r"optim.lr: 0.1 -> 0.2"):
        of(tmp_path, alone, lines=("seed = 1", "optim.lr = 0.2")).newest()


@pytest.mark.parametrize("store", ["memory", "folder"])
def test_a_store_has_the_same_and_gives_it_back(tmp_path: Path, alone: World, store: str):
    uri = f"memory://runs-{tmp_path.name}/a" if store == "memory" else str(tmp_path / "there" / "a")
    saved = of(tmp_path / "run", alone, uri=uri)
    for step in (10, 20, 30):
        saved.save(Engine(), step)
    there = place(uri)
    assert names(there) == ["step-00000020", "step-00000030"]
    elsewhere = of(tmp_path / "new", alone, uri=uri)  # another machine, an empty disk
    found = newest(elsewhere)
    assert (found.step, found.folder) == (30, tmp_path / "new" / "checkpoints" / "step-00000030")
    assert (found.folder / "model.pt").read_bytes() == (saved.root / "step-00000030" / "model.pt").read_bytes()


def test_what_was_not_wholly_copied_is_none(tmp_path: Path, alone: World):
    """The marker goes there last: a copy that was killed has none."""
    uri = f"memory://runs-{tmp_path.name}/b"
    saved = of(tmp_path / "run", alone, uri=uri)
    saved.save(Engine(), 10)
    saved.save(Engine(), 20)
    (place(uri) / "step-00000020" / COMMITTED).unlink()
    assert newest(of(tmp_path / "new", alone, uri=uri)).step == 10
    saved.save(Engine(), 30)
    assert names(place(uri)) == ["step-00000010", "step-00000030"]


@pytest.mark.parametrize("name", ["model.pt", COMMITTED])
def test_a_damaged_one_is_fetched_again_where_the_store_has_it(tmp_path: Path, alone: World, name: str):
    saved = of(tmp_path / "run", alone, uri=f"memory://runs-{tmp_path.name}/c")
    for step in (10, 20):
        saved.save(Engine(), step)
    file = saved.root / "step-00000020" / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    (file.parent / "left_over.pt").write_bytes(b"of nothing")
    with pytest.warns(UserWarning, match=rf"the store's copy is taken: \S*step-00000020: {name}"):
        assert newest(saved).step == 20
    assert file.read_bytes() == whole
    assert names(file.parent) == sorted([*FILES, COMMITTED])


@pytest.mark.parametrize("how", ["a file is gone", "the marker is torn"])
def test_a_damaged_copy_in_the_store_is_passed_over(tmp_path: Path, alone: World, how: str):
    uri = f"memory://runs-{tmp_path.name}/d"
    saved = of(tmp_path / "run", alone, uri=uri)
    for step in (10, 20):
        saved.save(Engine(), step)
    copy = place(uri) / "step-00000020"
    if how == "a file is gone":
        (copy / "model.pt").unlink()
    else:
        (copy / COMMITTED).write_bytes((copy / COMMITTED).read_bytes()[:-9])
    with pytest.warns(UserWarning, match="model.pt has no bytes" if "gone" in how else f"{COMMITTED} cannot be read"):
        assert newest(of(tmp_path / "new", alone, uri=uri)).step == 10


def test_a_torn_marker_is_damage(tmp_path: Path, alone: World):
    saved = of(tmp_path, alone)
    saved.save(Engine(), 10)
    saved.save(Engine(), 20)
    marker = saved.root / "step-00000020" / COMMITTED
    for torn in (marker.read_bytes()[:-9], b"", b"{}", b"null"):
        marker.write_bytes(torn)
        with pytest.warns(UserWarning, match=f"an older checkpoint is taken: .*{COMMITTED} cannot be read"):
            assert newest(saved).step == 10


def test_what_a_killed_fetch_left_is_no_part_of_the_next(tmp_path: Path, alone: World):
    uri = f"memory://runs-{tmp_path.name}/e"
    of(tmp_path / "run", alone, uri=uri).save(Engine(), 10)
    elsewhere = of(tmp_path / "new", alone, uri=uri)
    partial = elsewhere.root / "step-00000010.partial"
    partial.mkdir(parents=True)
    (partial / "optim_7.pt").write_bytes(b"of another number of ranks")
    assert names(newest(elsewhere).folder) == sorted([*FILES, COMMITTED])


def test_the_marker_is_the_last_thing_written(tmp_path: Path, alone: World):
    saved = of(tmp_path, alone)
    saved.save(Engine(), 10)
    folder = saved.root / "step-00000010"
    told = json.loads((folder / COMMITTED).read_text())
    assert set(names(folder)) == {*told["files"], COMMITTED}
    assert all((folder / COMMITTED).stat().st_mtime_ns >= (folder / name).stat().st_mtime_ns for name in told["files"])
