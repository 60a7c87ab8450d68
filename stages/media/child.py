"""A worker process that may hang, crash or eat memory without harm to its caller."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from stages.media.wire import NoAnswer, receive, send

GB = 1024**3
# Of glibc. By default each picture's memory goes back to the system and is faulted in again: 128 faults a frame of
# 256 x 192 in pass 1, a tenth of its time.
MALLOC = {
    "MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(4 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(16 * 2**20),
}  # fmt: skip


class ReadError(Exception):
    """A video could not be read; the text names the file, the cause and the remedy."""


class ReadTimeout(ReadError):
    """The child needed longer than its limit and was killed."""


class ReadCrash(ReadError):
    """The child died on its own, or lost its way: a signal, an error of ours that it did not expect, no answer."""


class ReadRefused(ReadError):
    """The decoder that was asked for is wrong about this file, or cannot read it; another one may be right."""


class ReadMemory(ReadError):
    """The child asked for more memory than its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one call may cost, and how long one child is kept."""

    timeout_s: float = 600.0  # wall clock of one call
    memory_gb: float = 2.0  # address space above what the child needs to start
    recycle_calls: int = 200
    recycle_rss_mb: float = 1024.0


class Child:
    """Calls named functions in a child process; after any accident the next call gets a new child."""

    def __init__(self, limits: Limits | None = None, command: Sequence[str] | None = None) -> None:
        self._limits = limits or Limits()
        self._command = tuple(command or (sys.executable, "-m", "stages.media.decode_child"))
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._calls = 0
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The child that the last call used, None where there is none."""
        return None if self._process is None else self._process.pid

    def call(self, function: str, subject: str, *arguments: Any) -> Any:
        """What `function(subject, *arguments)` returns in the child; `subject` names the file in errors."""
        with self._lock:
            process = self._ready()
            self._calls += 1
            timed_out = threading.Event()
            timer = threading.Timer(self._limits.timeout_s, _kill_late, (process, timed_out))
            timer.daemon = True  # an interrupt may come before it is cancelled; it must not hold up the exit
            try:
                timer.start()
                kind, value = _exchange(process, (function, subject, *arguments), self._limits)
            except (EOFError, OSError) as error:
                raise self._accident(subject, timed_out.is_set()) from error
            except NoAnswer as error:
                raise ReadCrash(f"{subject}: the decoder sent what is no answer; it was killed") from error
            finally:
                timer.cancel()
                if sys.exc_info()[0] is not None:  # also on Ctrl-C: half an answer must not reach the next call
                    self._stop()
            if kind == "ok":
                return value
            if kind == "memory":
                self._stop()
                raise ReadMemory(f"{subject}: needs more than {self._limits.memory_gb:g} GB to decode; raise the limit")
            raise ReadRefused(value) if kind == "refused" else ReadError(value)

    def close(self) -> None:
        """Ends the child; a later call would start another."""
        with self._lock:
            self._stop()

    def _ready(self) -> subprocess.Popen[bytes]:
        process = self._process
        if process is not None and (self._calls >= self._limits.recycle_calls or self._is_bloated(process)):
            self._stop()
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._process = self._start()
            self._calls = 0
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **MALLOC}
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _stop
        limits = [str(os.getpid()), str(int(self._limits.memory_gb * GB)), str(self._limits.timeout_s)]
        return subprocess.Popen(
            [*self._command, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment,
        )

    def _is_bloated(self, process: subprocess.Popen[bytes]) -> bool:
        statm = Path(f"/proc/{process.pid}/statm")
        if not statm.exists():
            return False
        resident_pages = int(statm.read_text().split()[1])
        return resident_pages * os.sysconf("SC_PAGE_SIZE") > self._limits.recycle_rss_mb * 1024**2

    def _accident(self, subject: str, timed_out: bool) -> ReadError:
        """What to raise when the child ended in the middle of a call."""
        if timed_out:
            return ReadTimeout(f"{subject}: no answer within {self._limits.timeout_s:g} s; the decoder was killed")
        assert self._process is not None
        assert self._stderr is not None
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return ReadCrash(f"{subject}: the decoder closed its pipe; it was killed")
        if code < 0:
            return ReadCrash(f"{subject}: the decoder died of {signal.Signals(-code).name}; re-encode the file")
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - 2000))
        said = self._stderr.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]
        return ReadCrash(f"{subject}: the decoder ended with exit code {code}: {said}")

    def _stop(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                _close(pipe)
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None


def _exchange(process: subprocess.Popen[bytes], request: tuple[Any, ...], limits: Limits) -> tuple[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    send(process.stdin, request)
    return receive(process.stdout, int(limits.memory_gb * GB))  # what its memory holds


def _kill_late(process: subprocess.Popen[bytes], timed_out: threading.Event) -> None:
    timed_out.set()
    process.kill()


def _close(pipe: IO[bytes] | None) -> None:
    """Closes a pipe whose other end may be gone, with bytes that were never taken."""
    if pipe is None:
        return
    try:
        pipe.close()
    except BrokenPipeError:
        return
