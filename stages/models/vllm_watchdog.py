"""Notices that an engine died or hangs while somebody waits for it: vLLM 0.32's own client then waits for ever."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psutil

EVERY_S = 0.2


def alive(process: psutil.Process) -> bool:
    """Whether it runs; one that ended and was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(processes: Sequence[psutil.Process]) -> None:
    """Ends those that still run."""
    for process in processes:
        if alive(process):
            process.kill()


class Watchdog:
    """While `waiting`: calls `tell` where a process has ended, and ends all of them when the time is over."""

    def __init__(self, processes: Sequence[psutil.Process], limit_s: float, tell: Callable[[], None]) -> None:
        self._processes, self._limit_s, self._tell = processes, limit_s, tell
        self._until: float | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="vllm-watchdog", daemon=True).start()

    @contextmanager
    def waiting(self, times: int = 1) -> Iterator[None]:
        """The time in which an answer is due; `times` the limit for so many, one after the other."""
        self._until = time.monotonic() + times * self._limit_s
        try:
            yield
        finally:
            self._until = None

    def close(self) -> None:
        """Watches no longer."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(EVERY_S):
            until = self._until
            if until is not None and (time.monotonic() > until or not all(map(alive, self._processes))):
                kill(self._processes)
                self._tell()
                return
