"""CPU seconds and seconds on the wall of a piece of work, its child processes included."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import psutil

T = TypeVar("T")
SAMPLE_S = 0.2
GB = 1024**3


@dataclass(frozen=True, slots=True)
class Spent:
    cpu_s: float
    wall_s: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.cpu_s + other.cpu_s, self.wall_s + other.wall_s)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.cpu_s - other.cpu_s, self.wall_s - other.wall_s)

    @classmethod
    def middle(cls, several: Sequence["Spent"]) -> "Spent":
        """The median of each number."""
        return cls(median(s.cpu_s for s in several), median(s.wall_s for s in several))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command that had limits ended."""

    spent: Spent
    peak_gb: float  # resident, of all its processes together
    how: str  # "done" | "stopped after N s" | "stopped at N GiB" | "exit code N"
    said: str  # its last line of stdout


def measured(work: Callable[[], T]) -> tuple[T, Spent]:
    """What the work gives and costs. Children may live on; one that died must have been waited for."""
    began, before = time.monotonic(), _spent_s()
    result = work()
    return result, Spent(_spent_s() - before, time.monotonic() - began)


def watched(work: Callable[[], T]) -> tuple[T, Spent]:
    """As `measured`, where nobody waits for the dead, as under Ray: processes are looked at five times a second."""
    tree = _Tree(psutil.Process())
    began, before = time.monotonic(), tree.spent_s()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_S):
            tree.spent_s()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        result = work()
    finally:
        done.set()
        thread.join()
    return result, Spent(tree.spent_s() - before, time.monotonic() - began)


def limited(command: Sequence[str], *, timeout_s: float, memory_gb: float) -> Ended:
    """Runs a command until it ends or oversteps a limit; then it is killed with all its processes."""
    began, reaped = time.monotonic(), _reaped_s()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        tree = _Tree(psutil.Process(process.pid))
        how, cpu_s, peak_gb = "", 0.0, 0.0
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
        reader.start()
        while process.poll() is None and not how:
            cpu_s, peak_gb = tree.spent_s(), max(peak_gb, tree.resident_gb())
            if time.monotonic() - began > timeout_s:
                how = f"stopped after {timeout_s:g} s"
            elif peak_gb > memory_gb:
                how = f"stopped at {memory_gb:g} GiB"
            time.sleep(SAMPLE_S / 4)
        if how:
            tree.kill()
        code = process.wait()
        reader.join()
    wall_s = time.monotonic() - began
    lines = [line.strip() for line in said if line.strip()]
    how = how or ("done" if code == 0 else f"exit code {code}")
    # Both are lower bounds: what was waited for lacks orphans, what was seen lacks the last moment of each process.
    spent = Spent(max(cpu_s, _reaped_s() - reaped), wall_s)
    return Ended(spent=spent, peak_gb=peak_gb, how=how, said=lines[-1] if lines else "")


class _Tree:
    """A process and its descendants; of those that are gone, what was last seen."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._seen: dict[psutil.Process, float] = {}  # psutil tells processes by id and start
        self._lock = threading.Lock()

    def spent_s(self) -> float:
        with self._lock:
            for process, times in self._each(psutil.Process.cpu_times):
                self._seen[process] = times.user + times.system
            return sum(self._seen.values())

    def resident_gb(self) -> float:
        return sum(memory.rss for _, memory in self._each(psutil.Process.memory_info)) / GB

    def kill(self) -> None:
        for process in [*self._root.children(recursive=True), self._root]:
            if process.is_running():
                process.kill()

    def _each(self, ask: Callable[[psutil.Process], Any]) -> list[tuple[psutil.Process, Any]]:
        found = []
        try:
            processes = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return found
        for process in processes:
            try:
                found.append((process, ask(process)))
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found


def _spent_s() -> float:
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in psutil.Process().children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return total


def _reaped_s() -> float:
    own = os.times()
    return own.children_user + own.children_system
