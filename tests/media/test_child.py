"""A decoder child may hang, crash and eat: the caller gets a named error and the next call a new child."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stages.media.child import Child, Limits, ReadCrash, ReadError, ReadMemory, ReadTimeout

HOSTILE = (sys.executable, "-m", "tests.media.hostile_child")


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child(Limits(timeout_s=20), HOSTILE)
    yield child
    child.close()


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_slow_call_is_killed_and_named() -> None:
    child = Child(Limits(timeout_s=2), HOSTILE)
    assert child.call("nap", "a.mp4", 0.0) == "a.mp4"
    pid = child.pid
    began = time.monotonic()
    with pytest.raises(ReadTimeout, match=r"a\.mp4: no answer within 2 s"):
        child.call("nap", "a.mp4", 60.0)
    assert time.monotonic() - began < 5
    assert pid is not None
    assert not is_alive(pid)
    assert child.call("nap", "b.mp4", 0.0) == "b.mp4"
    child.close()


def test_hang_in_c_is_killed() -> None:
    child = Child(Limits(timeout_s=2), HOSTILE)
    with pytest.raises(ReadTimeout):
        child.call("hang_in_c", "a.mp4", 60)
    child.close()


def test_crash_names_the_signal(child: Child) -> None:
    with pytest.raises(ReadCrash, match=r"a\.mp4: the decoder died of SIGSEGV"):
        child.call("crash", "a.mp4")
    assert child.call("nap", "b.mp4", 0.0) == "b.mp4"


def test_bug_in_the_child_shows_its_last_words(child: Child) -> None:
    with pytest.raises(ReadCrash, match=r"a\.mp4: .*exit code 1.*a bug of ours"):
        child.call("stumble", "a.mp4")


def test_memory_limit() -> None:
    child = Child(Limits(timeout_s=20, memory_gb=0.25), HOSTILE)
    assert child.call("eat", "a.mp4", 100) == 1
    with pytest.raises(ReadMemory, match=r"a\.mp4: needs more than 0\.25 GB"):
        child.call("eat", "a.mp4", 400)
    assert child.call("eat", "b.mp4", 100) == 1
    child.close()


def test_a_leak_ends_at_the_limit_and_the_next_file_is_unharmed() -> None:
    child = Child(Limits(timeout_s=60, memory_gb=0.25, recycle_rss_mb=10_000), HOSTILE)
    assert [child.call("leak", "a.mp4", 80) for _ in range(2)] == [80, 160]
    with pytest.raises(ReadMemory, match=r"a\.mp4: needs more than 0\.25 GB"):
        child.call("leak", "a.mp4", 100)
    assert child.call("leak", "b.mp4", 50) == 50
    child.close()


def test_leaked_files_and_threads_go_with_the_child() -> None:
    child = Child(Limits(timeout_s=60, recycle_calls=2), HOSTILE)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert [child.call("leak_handles", "a.mp4", 50) for _ in range(4)] == [50, 100, 50, 100]
    child.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("lie", ["garble", "boast"])
def test_what_is_no_answer_is_named(lie: str, child: Child) -> None:
    with pytest.raises(ReadCrash, match=r"a\.mp4: the decoder sent what is no answer; it was killed"):
        child.call(lie, "a.mp4")
    assert child.call("nap", "b.mp4", 0.0) == "b.mp4"


def test_a_child_that_dies_between_two_calls_is_replaced(child: Child) -> None:
    child.call("nap", "a.mp4", 0.0)
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)  # a zombie's threads may live on for a moment
    assert child.call("nap", "b.mp4", 0.0) == "b.mp4"
    assert child.pid != first


def test_error_of_the_child_keeps_the_child(child: Child) -> None:
    with pytest.raises(ReadError, match=r"a\.mp4: refused") as caught:
        child.call("refuse", "a.mp4")
    assert type(caught.value) is ReadError
    pid = child.pid
    child.call("nap", "b.mp4", 0.0)
    assert child.pid == pid


def test_recycled_after_calls() -> None:
    child = Child(Limits(timeout_s=20, recycle_calls=2), HOSTILE)
    pids = []
    for _ in range(4):
        child.call("nap", "a.mp4", 0.0)
        pids.append(child.pid)
    child.close()
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert not any(is_alive(pid) for pid in pids if pid)


def test_recycled_when_bloated() -> None:
    child = Child(Limits(timeout_s=20, recycle_rss_mb=10), HOSTILE)
    child.call("nap", "a.mp4", 0.0)
    first = child.pid
    child.call("nap", "a.mp4", 0.0)
    assert child.pid != first
    child.close()


def test_stray_output_does_not_reach_the_answers(child: Child) -> None:
    assert child.call("shout", "a.mp4") == "a.mp4"


def test_large_arrays_come_through_writable(child: Child) -> None:
    array = child.call("big", "a.mp4", 20)
    assert array.nbytes == 20 * 2**20
    assert np.array_equal(array[-3:], np.arange(5 * 2**20 - 3, 5 * 2**20))
    array[0] = 1


def test_close_ends_the_child(child: Child) -> None:
    child.call("nap", "a.mp4", 0.0)
    pid = child.pid
    child.close()
    assert pid is not None
    assert not is_alive(pid)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_child_ends_when_its_parent_is_killed(busy: bool, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"""
        import sys, threading
        from pathlib import Path
        from stages.media.child import Child, Limits
        child = Child(Limits(timeout_s=60), {HOSTILE!r})
        child.call("nap", "a", 0.0)
        Path({str(note)!r}).write_text(str(child.pid))
        child.call("nap", "a", 50.0) if {busy} else threading.Event().wait(50)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=Path(__file__).parents[2])
    assert wait_until(lambda: note.exists() and note.read_text() != "", 20)
    pid = int(note.read_text())
    assert is_alive(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert wait_until(lambda: not is_alive(pid), 5)


def test_works_from_any_directory(child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert child.call("nap", "a.mp4", 0.0) == "a.mp4"
