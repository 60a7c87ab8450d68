"""A killed process leaves its folder to the next one, a living one keeps it."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.scratch import scratch_folder
from pipeline.storage import local_copy, place, staging

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pipeline.scratch import scratch_folder
with scratch_folder("utr-test-") as folder:
    (folder / "data").write_text("x")
    print(folder, flush=True)
    time.sleep(100)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_a_folder_outlives_neither_its_use_nor_its_killed_process() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    theirs = Path(holder.stdout.readline().strip())
    with scratch_folder("utr-test-") as ours:
        assert (theirs / "data").exists(), "taken from a living process"
    assert not ours.exists()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert theirs.exists()
    with scratch_folder("utr-other-"):
        assert theirs.exists(), "of another prefix"
    with scratch_folder("utr-test-"):
        assert not theirs.exists()


def test_what_is_written_for_a_store_leaves_no_folder_behind_and_takes_away_those_of_the_dead(tmp_path: Path) -> None:
    store = place("memory://scratch")
    (store / "one.arrow").write_bytes(b"1")
    for prefix, use in (("utr-seal-", staging), ("utr-copy-", local_copy)):
        dead = tmp_path / f"{prefix}dead"
        dead.mkdir()
        (dead / "lock").touch()
        with use(store) as folder:
            assert sorted(path.name for path in folder.iterdir()) == ["one.arrow"] * (use is local_copy)
            assert [path.name.startswith(prefix) for path in tmp_path.iterdir()] == [True], "the dead one is there"
        assert list(tmp_path.iterdir()) == []
